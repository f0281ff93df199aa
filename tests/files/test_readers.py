"""Every format against its own package, and fifty files that are refused."""

import importlib
import json
import re

import h5py
import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
from bad_files import BAD, dataset
from safetensors.numpy import save_file

from jatlas.files.formats.faults import Missing
from jatlas.files.formats.sources import batches
from jatlas.files.readers import (
    Reading,
    file_hash,
    open_embeddings,
    read_embeddings,
)

N, D = 7, 3
NAMES = [f"größe {n}" for n in range(N)]


def lists_of(kind, x, width=D):
    values = arrow.array(x.ravel())
    if kind == "fixed":
        return arrow.FixedSizeListArray.from_arrays(values, width)
    return arrow.array(x.tolist(), arrow.list_(values.type))


def write_npz(path, ids, x):
    np.savez(path, id=ids, label=np.zeros(N, int), x=x)


def write_compressed(path, ids, x):
    np.savez_compressed(path, ids=ids, embeddings=x, other=x[:, :2])


def write_npy(path, ids, x):
    np.save(path, x)
    np.save(path.with_suffix(".id.npy"), ids)


def write_lists(path, ids, x):
    table = arrow.table({"x": lists_of("ragged", x), "id": ids, "label": [1.5] * N})
    parquet.write_table(table, path, row_group_size=3)


def write_fixed(path, ids, x):
    table = arrow.table({"ids": ids, "x": lists_of("fixed", x)})
    parquet.write_table(table, path, row_group_size=2)


def write_columns(path, ids, x):
    columns = {f"d{i}": x[:, i] for i in range(D)}
    table = arrow.table({"label": np.arange(N)} | columns | {"id": ids})
    parquet.write_table(table, path)


def write_safetensors(path, ids, x):
    if np.asarray(ids).dtype.kind == "U":
        rows = np.array([name.encode() for name in ids])
        ids = rows.view(np.uint8).reshape(N, -1)
    save_file({"ids": np.asarray(ids), "x": x}, path)


def write_hdf5(path, ids, x):
    with h5py.File(path, "w") as file:
        file["id"] = ids.tolist() if np.asarray(ids).dtype.kind == "U" else ids
        file.create_dataset("x", data=x, chunks=(2, D))
        file.create_group("more")


FORMATS = {
    "a.npz": write_npz,
    "compressed.npz": write_compressed,
    "a.npy": write_npy,
    "lists.parquet": write_lists,
    "fixed.PARQUET": write_fixed,
    "columns.parquet": write_columns,
    "a.safetensors": write_safetensors,
    "a.h5": write_hdf5,
}
each_format = pytest.mark.parametrize(("name", "write"), FORMATS.items(), ids=FORMATS)


def rows(dtype=np.float32):
    return np.random.default_rng(0).normal(size=(N, D)).astype(dtype)


@each_format
@pytest.mark.parametrize("ids", [np.array(NAMES), np.arange(N, dtype=np.int16) - 3])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_what_is_read_is_what_was_written(tmp_path, name, write, ids, dtype):
    write(tmp_path / name, ids, rows(dtype))
    found, x = read_embeddings(tmp_path / name)
    assert found.tolist() == ids.tolist()
    assert found.dtype.kind == ids.dtype.kind
    assert x.dtype == dtype
    np.testing.assert_array_equal(x, rows(dtype))


@each_format
def test_rows_come_some_at_a_time_in_float32(tmp_path, name, write):
    write(tmp_path / name, np.arange(N), rows(np.float64))
    source = open_embeddings(tmp_path / name)
    parts = list(batches(source, 2))
    assert max(len(x) for _, x in parts) == 2
    assert [start for start, _ in parts] == [
        sum(len(x) for _, x in parts[:k]) for k in range(len(parts))
    ]
    x = np.concatenate([x for _, x in parts])
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, rows(np.float64).astype(np.float32))


def test_parquet_is_not_read_whole_to_give_some_rows(tmp_path):
    x = np.random.default_rng(0).normal(size=(4000, 256))
    table = arrow.table({"id": np.arange(4000), "x": lists_of("fixed", x, 256)})
    parquet.write_table(table, tmp_path / "x.parquet", row_group_size=500)
    del table
    source, before = (
        open_embeddings(tmp_path / "x.parquet"),
        arrow.total_allocated_bytes(),
    )
    most = max(arrow.total_allocated_bytes() - before for _ in batches(source, 100))
    assert most < x.nbytes / 2


@pytest.mark.parametrize("name", ["a.npz", "a.npy", "a.safetensors"])
def test_what_can_be_mapped_is_mapped(tmp_path, name):
    FORMATS[name](tmp_path / name, np.arange(N), rows())
    _, x = read_embeddings(tmp_path / name)
    while isinstance(x, np.ndarray) and not isinstance(x, np.memmap):
        x = x.base
    assert isinstance(x, np.memmap)


def test_columns_first_array_is_mapped_in_its_order(tmp_path):
    write_npz(tmp_path / "a.npz", np.arange(N), np.asfortranarray(rows()))
    np.testing.assert_array_equal(read_embeddings(tmp_path / "a.npz")[1], rows())


def test_names_say_which_arrays_are_meant(tmp_path):
    np.savez(tmp_path / "a.npz", name=NAMES, first=rows(), second=2 * rows())
    found, x = read_embeddings(tmp_path / "a.npz", ids="name", embeddings="second")
    assert found.tolist() == NAMES
    np.testing.assert_array_equal(x, 2 * rows())
    with pytest.raises(ValueError, match="there is no 'third' in it"):
        read_embeddings(tmp_path / "a.npz", ids="name", embeddings="third")
    columns = {"id": NAMES, "a": lists_of("fixed", rows()), "b": [1.0] * N}
    parquet.write_table(arrow.table(columns), tmp_path / "a.parquet")
    assert read_embeddings(tmp_path / "a.parquet")[1].shape == (N, D)
    assert read_embeddings(tmp_path / "a.parquet", embeddings="b")[1].shape == (N, 1)
    with pytest.raises(ValueError, match="no column 'c' in it, but"):
        read_embeddings(tmp_path / "a.parquet", embeddings="c")


def test_the_ids_of_an_npy_may_be_lines_of_text_anywhere(tmp_path):
    np.save(tmp_path / "a.npy", rows())
    (tmp_path / "who.txt").write_text("\n".join(NAMES), encoding="utf-8")
    found, _ = read_embeddings(tmp_path / "a.npy", ids=str(tmp_path / "who.txt"))
    assert found.tolist() == NAMES
    (tmp_path / "a.who.txt").write_text("\n".join(NAMES) + "\n", encoding="utf-8")
    assert read_embeddings(tmp_path / "a.npy", ids="who")[0].tolist() == NAMES


def test_a_mark_before_lines_of_text_is_no_part_of_the_first_id(tmp_path):
    np.save(tmp_path / "a.npy", rows())
    lines = "\n".join(NAMES)
    (tmp_path / "a.id.txt").write_text(lines, encoding="utf-8-sig")
    assert read_embeddings(tmp_path / "a.npy")[0].tolist() == NAMES


def test_a_folder_of_datasets_is_read_without_the_package(tmp_path):
    found, x = read_embeddings(dataset(tmp_path))
    assert found.tolist() == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(x, np.arange(1.0, 9.0).reshape(4, 2))


def test_a_folder_that_datasets_wrote_is_read(tmp_path):
    datasets = pytest.importorskip("datasets")
    columns = {"id": NAMES, "x": rows(np.float64).tolist()}
    datasets.Dataset.from_dict(columns).save_to_disk(tmp_path / "d", num_shards=2)
    found, x = read_embeddings(tmp_path / "d")
    assert found.tolist() == NAMES
    np.testing.assert_array_equal(x, rows(np.float64))


def test_a_folder_leads_to_no_file_outside_of_it(tmp_path):
    folder = dataset(tmp_path)
    state = json.loads((folder / "state.json").read_text())
    (folder / "data-00000-of-00001.arrow").rename(tmp_path / "other.arrow")
    state["_data_files"] = [{"filename": "../other.arrow"}]
    (folder / "state.json").write_text(json.dumps(state))
    with pytest.raises(FileNotFoundError, match=r"bad/other\.arrow"):
        read_embeddings(folder)


@pytest.mark.parametrize(
    ("ids", "kind", "wanted"),
    [
        (np.arange(-2, 5) * 11, "text", ["-22", "-11", "0", "11", "22", "33", "44"]),
        (np.array([*"123456", "-70"]), "integers", [1, 2, 3, 4, 5, 6, -70]),
        (np.array(NAMES), "text", NAMES),
    ],
)  # fmt: skip
def test_ids_are_converted_when_that_is_asked_for(tmp_path, ids, kind, wanted):
    write_npz(tmp_path / "a.npz", ids, rows())
    read, _ = read_embeddings(tmp_path / "a.npz", reading=Reading(id_type=kind))
    assert read.tolist() == wanted


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.array([*"123456", "x"]), "some ids are no integers: .*'x'"),
        (np.array([*"123456", "07"]), r"\['07'\] would not be the same"),
        (np.array([*"123456", "9" * 30]), "some ids are no integers"),
    ],
)
def test_text_that_is_no_integer_is_not_converted(tmp_path, ids, message):
    write_npz(tmp_path / "a.npz", ids, rows())
    with pytest.raises(ValueError, match=message):
        read_embeddings(tmp_path / "a.npz", reading=Reading(id_type="integers"))


@pytest.mark.parametrize(("write", "message"), BAD.values(), ids=BAD)
def test_a_bad_file_is_named_with_what_is_wrong(tmp_path, monkeypatch, write, message):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match=message) as caught:  # noqa: PT012
        source = open_embeddings(path)
        list(batches(source, 2))
    assert str(caught.value).startswith(f"{path}")
    assert sorted(tmp_path.iterdir()) == before  # no pickle was run


def test_fifty_files_are_refused():
    assert len(BAD) >= 50


def test_a_flipped_bit_does_not_pass_in_what_is_compressed(tmp_path):
    path = tmp_path / "compressed.npz"
    write_compressed(path, np.arange(N), rows())
    data = bytearray(path.read_bytes())
    place = data.index(b"embeddings.npy") + 100
    data[place] ^= 255
    path.write_bytes(data)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        read_embeddings(path)


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_flipped_bit_does_not_pass_in_rows_that_are_mapped(tmp_path, order):
    # So many that what zipfile itself reads of them, with the head, is not all.
    x = np.asarray(np.tile(rows(), (1000, 1)), order=order)
    path = tmp_path / "a.npz"
    np.savez(path, id=np.arange(len(x)), x=x)
    np.testing.assert_array_equal(np.concatenate([b for _, b in parts_of(path)]), x)
    data = bytearray(path.read_bytes())
    place = data.index(x.tobytes(order)) + x.nbytes // 2
    data[place] ^= 1  # of the numbers, and still a finite one
    path.write_bytes(data)
    for read in (parts_of, read_embeddings):
        with pytest.raises(ValueError, match=r"x\.npy was changed after it was") as one:
            read(path)
        assert str(one.value).startswith(f"{path}: ")


def parts_of(path):
    return list(batches(open_embeddings(path), 999))


@pytest.mark.parametrize(
    ("name", "package"), [("a.parquet", "pyarrow"), ("a.h5", "h5py")]
)
def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch, name, package):
    def missing(module):
        raise ImportError(module)

    (tmp_path / name).write_bytes(b"1")
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(Missing, match=rf"{package}, which.*pip install 'jatlas\[files"):
        read_embeddings(tmp_path / name)


def test_no_file_is_an_error_of_the_system(tmp_path):
    for name in ("a.npz", "a.parquet", "folder"):
        with pytest.raises(FileNotFoundError):
            read_embeddings(tmp_path / name)


def test_the_hash_is_that_of_the_bytes(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert file_hash(tmp_path / "x").startswith("ba7816bf8f01cfea414140de5dae2223b003")
    folder = dataset(tmp_path)
    (one,) = folder.glob("*.arrow")
    assert file_hash(folder) == file_hash(one)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("x.csv", "Read it with pandas, and write it with `to_parquet`"),
        ("x.pt", r"It is a pickle, which could run code: save its arrays as \.npz"),
        ("glove.txt", r"If it is GloVe's or word2vec's, .* name it \.vec"),
        ("x.bin", "Convert it to one of these"),
    ],
)
def test_what_to_do_with_a_file_of_another_kind_is_said(tmp_path, name, hint):
    (tmp_path / name).write_bytes(b"1,2")
    with pytest.raises(ValueError, match=rf"unknown kind of file .* {hint}"):
        read_embeddings(tmp_path / name)


def test_an_empty_path_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="the path of a file is empty: name one"):
        read_embeddings("")
