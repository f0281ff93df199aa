"""Fifty files that are not what they should be, and what is to be said of each."""

import json
from pathlib import Path

import h5py
import numpy as np
import pyarrow as arrow
import pyarrow.ipc
import pyarrow.parquet as parquet
from safetensors.numpy import save_file

IDS = np.arange(4)
X = np.arange(12, dtype=np.float32).reshape(4, 3)
LISTS = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]


def with_value(value, row, dtype=np.float32):
    x = X.astype(dtype)
    x[row, 1] = value
    return x


def npz(**arrays):
    """An .npz; `id` and `x` unless others are given, and None for none."""
    arrays = {k: x for k, x in ({"id": IDS, "x": X} | arrays).items() if x is not None}

    def write(folder: Path) -> Path:
        np.savez(folder / "bad.npz", **arrays)
        return folder / "bad.npz"

    return write


def npy(x=X, ids=IDS, text=None, pickled=False):
    def write(folder: Path) -> Path:
        np.save(folder / "bad.npy", x, allow_pickle=pickled)
        if ids is not None:
            np.save(folder / "bad.id.npy", ids, allow_pickle=True)
        if text is not None:
            (folder / "bad.id.txt").write_bytes(text)
        return folder / "bad.npy"

    return write


def pq(**columns):
    columns = {"id": IDS} | columns

    def write(folder: Path) -> Path:
        parquet.write_table(arrow.table(columns), folder / "bad.parquet")
        return folder / "bad.parquet"

    return write


def tensors(**arrays):
    def write(folder: Path) -> Path:
        save_file({"id": IDS, "x": X} | arrays, folder / "bad.safetensors")
        return folder / "bad.safetensors"

    return write


def hdf5(**arrays):
    def write(folder: Path) -> Path:
        with h5py.File(folder / "bad.h5", "w") as file:
            for name, x in ({"id": IDS, "x": X} | arrays).items():
                file[name] = x
        return folder / "bad.h5"

    return write


def dataset(folder: Path, lists=LISTS, **state) -> Path:
    """A folder as `Dataset.save_to_disk` writes it."""
    folder = folder / "bad"
    folder.mkdir()
    table = arrow.table({"id": ["a", "b", "c", "d"], "x": lists})
    with arrow.ipc.new_stream(folder / "data-00000-of-00001.arrow", table.schema) as to:
        to.write_table(table)
    names = [{"filename": "data-00000-of-00001.arrow"}]
    state = {"_data_files": names, "_indices_data_files": None} | state
    (folder / "state.json").write_text(json.dumps(state))
    return folder


def state(**changes):
    return lambda folder: dataset(folder, **changes)


def splits(folder: Path) -> Path:
    folder = folder / "bad"
    folder.mkdir()
    (folder / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    return folder


def no_state(folder: Path) -> Path:
    (folder / "bad").mkdir()
    return folder / "bad"


def lance(folder: Path) -> Path:
    (folder / "bad" / "_versions").mkdir(parents=True)
    return folder / "bad"


def cut_stream(folder: Path) -> Path:
    file = dataset(folder) / "data-00000-of-00001.arrow"
    file.write_bytes(file.read_bytes()[:-60])
    return file.parent


def cut(write, keep):
    """The file with its first bytes only: so many, or without so many of the last."""

    def cut_off(folder: Path) -> Path:
        path = write(folder)
        path.write_bytes(path.read_bytes()[:keep])
        return path

    return cut_off


def holding(name, data):
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return write


def text_ids(*ids):
    return np.array(ids)


def fixed(values, width=3):
    return arrow.FixedSizeListArray.from_arrays(arrow.array(values), width)


class Trap:
    """Unpickled, it would leave a file behind."""

    def __reduce__(self):
        return open, ("a_pickle_was_run", "w")


TRAP = np.array([Trap()] * 4, object)
HOLE = [*LISTS[:2], [5.0, None], *LISTS[3:]]

BAD = {
    # what no format can mend
    "unknown": (holding("bad.csv", b"1,2"), r"unknown kind of file '.csv'; known"),
    "empty-npz": (holding("bad.npz", b""), "it is empty, 0 bytes"),
    "empty-npy": (holding("bad.npy", b""), "it is empty, 0 bytes"),
    "empty-parquet": (holding("bad.parquet", b""), "it is empty, 0 bytes"),
    "empty-safetensors": (holding("bad.safetensors", b""), "it is empty, 0 bytes"),
    "empty-hdf5": (holding("bad.h5", b""), "it is empty, 0 bytes"),
    "text-npz": (holding("bad.npz", b"hello"), "not a zip file"),
    "text-npy": (npy(text=b"x", ids=None, x=X[:0]), "1 ids and 0 embeddings"),
    "text-parquet": (holding("bad.parquet", b"hello, world"), "(?i)parquet"),
    "text-safetensors": (holding("bad.safetensors", b"hello"), "it is cut off, or no"),
    "text-hdf5": (holding("bad.h5", b"hello"), "(?i)unable to .*open file"),
    "cut-npz": (cut(npz(), -30), "not a zip file"),
    "cut-npy": (cut(npy(), -4), "(?i)mmap|length"),
    "cut-parquet": (cut(pq(x=LISTS), -9), "(?i)parquet"),
    "cut-safetensors": (cut(tensors(), -4), "it is cut off or changed: 80 bytes"),
    "cut-hdf5": (cut(hdf5(), -40), "truncated file"),
    "cut-dataset": (cut_stream, r"arrow: "),
    # pickles
    "pickle-ids-npz": (npz(id=TRAP), "id holds Python objects, a pickle"),
    "pickle-rows-npz": (npz(x=TRAP), "x holds Python objects, a pickle"),
    "pickle-other-npz": (npz(z=TRAP), "z holds Python objects, a pickle"),
    "pickle-npy": (npy(x=TRAP, pickled=True), "holds Python objects, a pickle"),
    "pickle-ids-npy": (npy(ids=TRAP), r"bad.id.npy holds Python objects"),
    # ids
    "no-ids-npz": (npz(id=None, y=IDS), r"no ids 'id or ids' in it, but \['x', 'y'\]"),
    "no-ids-npy": (npy(ids=None), r"no room for ids; put them into one of .*bad.id"),
    "few-ids": (npz(id=IDS[:3]), "3 ids and 4 embeddings"),
    "repeated-ids": (npz(id=IDS // 2), r"2 occur more .*: \[0, 1\].*rows 0 and 1"),
    "repeated-text": (npz(id=text_ids(*"abcb")), r"\['b'\].*rows 1 and 3"),
    "ids-of-floats": (npz(id=IDS + 0.5), "must be a vector of integers or of text"),
    "ids-of-truths": (npz(id=IDS > 1), "must be a vector of integers or of text"),
    "ids-in-a-matrix": (npz(id=X.astype(int)), "must be a vector of integers or of"),
    "ids-too-large": (npz(id=np.array([2**63, 1, 2, 3], "u8")), r"above 2\^63 - 1"),
    "ids-not-utf8": (npz(id=np.array([b"a", b"\xff", b"", b"d"])), "row 1 is not"),
    "ids-not-utf8-npy": (npy(ids=None, text=b"a\n\xff\nc\nd"), "utf-8"),
    "id-missing": (pq(id=["a", None, "c", "d"], x=LISTS), "no id in row 1 of"),
    "ids-of-dates": (pq(id=arrow.array(IDS, "timestamp[s]"), x=LISTS), "timestamp"),
    # rows
    "nan-npz": (npz(x=with_value(np.nan, 2)), r"row 2; rows \[2\], ids \[2\]"),
    "infinite-npz": (npz(x=with_value(-np.inf, 3)), "infinity or more.* in row 3"),
    "too-large": (npz(x=with_value(1e300, 1, "f8")), "more than float32.* row 1"),
    "nan-parquet": (pq(x=[[0.0], [np.nan], [1.0], [2.0]]), "NaN.* in row 1"),
    "nan-columns": (pq(a=X[:, 0], b=with_value(np.nan, 3)[:, 1]), "NaN.* in row 3"),
    "nan-safetensors": (tensors(x=with_value(np.nan, 0)), "NaN.* in row 0"),
    "nan-hdf5": (hdf5(x=with_value(np.nan, 1)), "NaN.* in row 1"),
    "nan-dataset": (state(lists=[[1.0], [2.0], [np.nan], [3.0]]), "NaN.* in row 2"),
    "ragged": (pq(x=[*LISTS[:3], [1.0]]), "list in row 3 of column 'x' has 1 numbers"),
    "list-missing": (pq(x=[*LISTS[:2], None, LISTS[0]]), "nothing in row 2 of column"),
    "number-missing": (pq(x=HOLE), "a number is missing.* in row 2"),
    "fixed-missing": (pq(x=fixed([1.0] * 7 + [None] + [1.0] * 4)), "missing.* row 2"),
    "empty-lists": (pq(x=arrow.array([[]] * 4, arrow.list_(arrow.float32()))), "row 0"),
    "cell-missing": (pq(a=X[:, 0], b=[1.0, None, 2.0, 3.0]), "nothing in row 1 of"),
    "no-floats": (pq(a=IDS, b=["a"] * 4), r"no column of \['id', 'a', 'b'\] holds"),
    "two-lists": (pq(a=LISTS, b=LISTS), r"which of \['a', 'b'\] are the embeddings"),
    "no-rows-parquet": (pq(id=IDS[:0], a=X[:0, 0]), "it has no rows"),
    "no-rows-npz": (npz(id=IDS[:0], x=X[:0]), r"no rows: its embeddings are \(0, 3\)"),
    "no-width": (npz(x=X[:, :0]), r"no rows: its embeddings are \(4, 0\)"),
    "two-matrices": (npz(y=X), r"which of \['x', 'y'\] are the embeddings"),
    "no-matrix": (npz(x=X[0]), r"which of \['x'\] are the embeddings, a matrix"),
    "integers": (npz(x=X.astype(int)), r"int64\(4, 3\); expected a matrix of float"),
    "integers-hdf5": (hdf5(x=X.astype(int)), r"int64\(4, 3\); expected a matrix of"),
    # folders
    "splits": (splits, "several splits; give one: .*bad/train"),
    "no-state": (no_state, "not of `datasets`: there is no state.json"),
    "lance": (lance, "a Lance table: write its `to_arrow\\(\\)` with pyarrow"),
    "shuffled": (state(_indices_data_files=[{}]), "flatten_indices"),
    "no-data-files": (state(_data_files=[]), "it has no data files"),
}  # fmt: skip
