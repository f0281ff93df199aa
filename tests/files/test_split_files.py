"""One large file as several tasks: each reads its rows, and the atlas is the same."""

import pickle
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pyarrow as arrow
import pyarrow.feather as feather
import pyarrow.ipc as ipc
import pyarrow.parquet as parquet
import pytest
from safetensors.numpy import save_file

from jatlas.files import Reading
from jatlas.files.folders import merging, pieces, tasks
from jatlas.files.formats import atlas_table
from jatlas.files.formats.columns import tables
from jatlas.files.formats.sources import batches
from jatlas.files.readers import open_embeddings

N, A, WIDTH, BATCH = 61, 6, 5, 8
RNG = np.random.default_rng(0)
IDS = RNG.permutation(N)
X = RNG.normal(size=(N, WIDTH)).astype(np.float32)


def _table() -> arrow.Table:
    return arrow.table(
        {"id": IDS, "x": arrow.array(list(X), arrow.list_(arrow.float32()))}
    )


def _stream(path: Path) -> None:
    with ipc.new_stream(path, _table().schema) as stream:
        stream.write_table(_table(), max_chunksize=9)


def _npy(path: Path, order: str = "C") -> None:
    np.save(path, np.array(X, order=order))  # type: ignore[call-overload]
    np.save(path.with_suffix(".id.npy"), IDS)


def _npz_by_column(path: Path) -> None:
    np.savez(path, id=IDS, x=np.asfortranarray(X))


def _hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["id"], file["x"] = IDS, X


WRITERS = {
    "x.npz": lambda path: np.savez(path, id=IDS, x=X),
    "turned.npz": _npz_by_column,
    "x.npy": _npy,
    "turned.npy": partial(_npy, order="F"),
    "x.safetensors": lambda path: save_file({"id": IDS, "x": X}, str(path)),
    "x.parquet": lambda path: parquet.write_table(_table(), path, row_group_size=7),
    "x.arrow": _stream,
    "x.feather": lambda path: feather.write_feather(_table(), path, chunksize=10),
    "x.h5": _hdf5,
}
# Each reading of these is of all rows, which is one task.
WHOLE = {
    "packed.npz": lambda path: np.savez_compressed(path, id=IDS, x=X),
    "x.vec": lambda path: path.write_text(
        "".join(
            f"{n} {' '.join(map(repr, x.tolist()))}\n"
            for n, x in zip(IDS, X, strict=True)
        )
    ),
}


def elsewhere(done, function, given, sizes, advance):
    """Tasks as another process does them: in any order, and through pickles."""
    results = {}
    for k in np.random.default_rng(1).permutation(len(given)).tolist():
        task, do = pickle.loads(pickle.dumps((given[k], function)))
        done.append(task)
        results[k] = pickle.loads(pickle.dumps(do(task, lambda rows: None)))
        advance(sizes[k])
    return [results[k] for k in range(len(given))]


@pytest.fixture
def small(monkeypatch):
    """Small tasks and parts, and what the tasks were."""
    monkeypatch.setattr(pieces, "_TASK", 4 * WIDTH * 2 * BATCH)
    monkeypatch.setattr(atlas_table, "GROUP", 4 * A * 2 * BATCH)
    done: list[tasks.Piece | tasks.Part] = []
    run = partial(elsewhere, done)
    monkeypatch.setattr(
        merging,
        "_runner",
        lambda workers, *_: nullcontext(merging._here if workers is None else run),
    )
    return done


def merged(folder, files, **options):
    written = merging.merge_to_folder(
        folder, files, anchors=f"shared:{A}", batch_size=BATCH, **options
    )
    return {file.name: file.read_bytes() for file in written.files}


@pytest.mark.parametrize("name", [*WRITERS, *WHOLE])
@pytest.mark.parametrize("drop_invalid", [False, True])
def test_tasks_of_rows_write_the_bytes_of_one_machine(
    tmp_path, small, name, drop_invalid
):
    (WRITERS | WHOLE)[name](tmp_path / name)
    text = name == "x.vec"
    other = IDS[::-1].astype(str) if text else IDS[::-1]
    np.savez(tmp_path / "other.npz", id=other, x=RNG.normal(size=(N, 2)) + 1)
    files = [tmp_path / name, tmp_path / "other.npz"]
    reading = Reading(drop_invalid=drop_invalid)
    split = merged(tmp_path / "split", files, workers=2, reading=reading)
    read = [task for task in small if isinstance(task, tasks.Piece)]
    of_file = sorted((p.first, p.stop - p.start) for p in read if p.chart == 0)
    expected = [(k, min(16, N - k)) for k in range(0, N, 16)]
    assert of_file == ([(0, N)] if name in WHOLE else expected)
    assert split == merged(tmp_path / "one", files, reading=reading)


def test_a_large_part_of_a_folder_is_split_too(tmp_path, small):
    (tmp_path / "b").mkdir()
    for k, rows in enumerate((slice(0, 40), slice(40, N))):
        np.savez(tmp_path / f"b/{k}.npz", id=IDS[rows], x=X[rows])
    np.savez(tmp_path / "a.npz", id=IDS, x=X[:, ::-1] ** 2)
    files = [tmp_path / "a.npz", tmp_path / "b"]
    split = merged(tmp_path / "split", files, workers=2)
    read = [task for task in small if isinstance(task, tasks.Piece) and task.chart]
    bounds = sorted((Path(p.path).name, p.first, p.start, p.stop) for p in read)
    assert bounds == [
        ("0.npz", 0, 0, 16),
        ("0.npz", 16, 16, 32),
        ("0.npz", 32, 32, 40),
        ("1.npz", 0, 40, 56),
        ("1.npz", 16, 56, N),
    ]
    assert split == merged(tmp_path / "one", files)


@pytest.mark.parametrize("name", WRITERS)
def test_rows_between_are_those_and_no_others(tmp_path, name):
    WRITERS[name](tmp_path / name)
    between = open_embeddings(tmp_path / name).rows.between
    assert between is not None
    for start, stop in ((0, N), (0, 1), (3, 20), (7, 14), (60, N), (5, 5)):
        parts = list(between(start, stop, 4))
        assert all(0 < len(part) <= 4 for part in parts)
        np.testing.assert_array_equal(np.concatenate([X[:0], *parts]), X[start:stop])


def test_a_group_of_parquet_that_is_large_is_read_in_one_task(tmp_path, monkeypatch):
    # Each reading decodes a group from its start.
    WRITERS["x.parquet"](tmp_path / "x.parquet")
    monkeypatch.setattr(tables, "_GROUP", 7 * WIDTH * 4)
    assert open_embeddings(tmp_path / "x.parquet").rows.between is not None
    monkeypatch.setattr(tables, "_GROUP", 7 * WIDTH * 4 - 1)
    assert open_embeddings(tmp_path / "x.parquet").rows.between is None


@pytest.mark.parametrize("name", ["x.parquet", "x.arrow"])
def test_a_file_that_grew_after_it_was_opened_is_not_cut_to_what_it_was(
    tmp_path, name, monkeypatch
):
    WRITERS[name](tmp_path / name)
    source = open_embeddings(tmp_path / name)
    longer = arrow.concat_tables([_table(), _table()])
    monkeypatch.setitem(globals(), "_table", lambda: longer)
    WRITERS[name](tmp_path / name)
    with pytest.raises(ValueError, match=f"{name}.* {N}"):
        list(batches(source, BATCH))


def test_a_row_that_has_no_coordinates_has_its_number_in_the_file(tmp_path, small):
    large = X.copy()
    large[37] = 3e38
    np.savez(tmp_path / "a.npz", id=IDS, x=large)
    np.savez(tmp_path / "b.npz", id=IDS, x=X[:, :3])
    np.save(tmp_path / "anchors.npy", IDS[:A])
    files = [tmp_path / "a.npz", tmp_path / "b.npz"]
    for workers in (None, 2):
        with pytest.raises(ValueError, match=r"a\.npz: the inner .* of row 37 are"):
            merging.merge_to_folder(
                tmp_path / "atlas",
                files,
                workers=workers,
                anchors=tmp_path / "anchors.npy",
                similarity="inner",
                batch_size=BATCH,
            )
    assert not (tmp_path / "atlas").exists()


def test_a_file_that_was_changed_meanwhile_is_named(tmp_path, small, monkeypatch):
    np.savez(tmp_path / "a.npz", id=IDS, x=X)
    np.savez(tmp_path / "b.npz", id=IDS, x=X[:, :3])
    planned = merging.pieces_of

    def and_then(*arguments):
        made = planned(*arguments)
        np.savez(tmp_path / "a.npz", id=IDS[:50], x=X[:50])
        return made

    monkeypatch.setattr(merging, "pieces_of", and_then)
    files = [tmp_path / "a.npz", tmp_path / "b.npz"]
    with pytest.raises(ValueError, match=r"a\.npz: it has 50 rows, and had 61: it was"):
        merged(tmp_path / "atlas", files, workers=2)
    assert not (tmp_path / "atlas").exists()
