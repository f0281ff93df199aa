"""Files at addresses of fsspec: read as those on this machine are, in blocks."""

import gzip
import io

import fsspec
import h5py
import numpy as np
import pyarrow as arrow
import pyarrow.feather
import pyarrow.parquet as parquet
import pytest
from safetensors.numpy import save_file

from jatlas.files.formats import places
from jatlas.files.formats.sources import batches
from jatlas.files.merging import merge_files
from jatlas.files.readers import open_embeddings, read_embeddings

N, D = 40, 3
IDS = [f"größe{n}" for n in range(N)]
X = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
TEXT = "\n".join(
    f"{w} {' '.join(map(repr, x.tolist()))}" for w, x in zip(IDS, X, strict=True)
)


@pytest.fixture
def bucket(tmp_path):
    """A file of each kind in memory; all are also on this machine."""
    np.savez(tmp_path / "a.npz", id=IDS, x=X)
    np.savez_compressed(tmp_path / "packed.npz", id=IDS, x=X)
    np.save(tmp_path / "a.npy", X)
    (tmp_path / "a.id.txt").write_text("\n".join(IDS), encoding="utf-8")
    coded = np.strings.encode(np.array(IDS), "utf-8")
    coded = coded.view(np.uint8).reshape(N, -1)
    save_file({"id": coded, "x": X}, tmp_path / "a.safetensors")
    table = arrow.table({"id": IDS, "x": list(X)})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=7)
    pyarrow.feather.write_feather(table, tmp_path / "a.feather", chunksize=9)
    (tmp_path / "a.vec").write_text(TEXT, encoding="utf-8")
    (tmp_path / "a.vec.gz").write_bytes(gzip.compress(TEXT.encode()))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["id"], file["g/x"] = IDS, X
    memory = fsspec.filesystem("memory")
    for path in tmp_path.iterdir():
        memory.pipe(f"/bucket/{path.name}", path.read_bytes())
    for k in range(2):
        part = io.BytesIO()
        parquet.write_table(table.slice(20 * k, 20), part)
        memory.pipe(f"/bucket/parts/{k}.parquet", part.getvalue())
    yield "memory://bucket"
    memory.rm("/bucket", recursive=True)


KINDS = "a.npz packed.npz a.npy a.safetensors a.parquet a.feather a.vec a.vec.gz a.h5"
KINDS += " parts parts/*.parquet"


@pytest.mark.parametrize("name", KINDS.split())
def test_what_is_read_from_an_address(bucket, name):
    address = f"{bucket}/{name}"
    ids, rows = read_embeddings(address)
    assert ids.tolist() == IDS
    np.testing.assert_array_equal(rows, X)
    source = open_embeddings(address)
    parts = [part for _, part in batches(source, 6)]
    np.testing.assert_array_equal(np.concatenate(parts), X)
    assert max(map(len, parts)) <= 6
    assert str(source.path) == address


def test_a_file_that_is_opened_twice_is_read_from_two_places(bucket, tmp_path):
    path = places.place(f"{bucket}/a.parquet")
    content = (tmp_path / "a.parquet").read_bytes()
    with path.open() as first, path.open() as second:
        pieces = [(first.read(7), second.read(7)) for _ in range(3)]
    assert pieces == [(content[k : k + 7],) * 2 for k in (0, 7, 14)]


def test_same_merge_as_on_this_machine(bucket, tmp_path):
    y = {"id": IDS[5:], "x": X[5:] ** 2}
    np.savez(tmp_path / "b.npz", **y)
    here = merge_files([tmp_path / "a.parquet", tmp_path / "b.npz"], anchors="shared:9")
    there = merge_files([f"{bucket}/a.parquet", tmp_path / "b.npz"], anchors="shared:9")
    np.testing.assert_array_equal(there.merged, here.merged)
    assert there.recipe.charts == here.recipe.charts == ("a", "b")
    assert there.recipe.hashes == here.recipe.hashes


def test_faults_name_the_address(bucket):
    with pytest.raises(FileNotFoundError, match=r"memory://bucket/none.npz"):
        read_embeddings(f"{bucket}/none.npz")
    memory = fsspec.filesystem("memory")
    for name in ("a.npz", "a.npy", "a.safetensors", "a.parquet", "a.feather", "a.h5"):
        whole = memory.cat_file(f"/bucket/{name}")
        memory.pipe(f"/bucket/{name}", whole[:-9])
        with pytest.raises(ValueError, match=rf"memory://bucket/{name}: "):
            read_embeddings(f"{bucket}/{name}")
    memory.pipe("/bucket/a.csv", b"1,2")
    with pytest.raises(ValueError, match=r"unknown kind of file '.csv'"):
        read_embeddings(f"{bucket}/a.csv")
