"""Charts in many files: which files are parts, null parts, and faults by part."""

import gzip
from pathlib import Path

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest

from jatlas.files.coordinates import relative_rows
from jatlas.files.formats.places import chart_name
from jatlas.files.merging import merge_files
from jatlas.files.readers import (
    OPENERS,
    Reading,
    file_hash,
    open_embeddings,
    read_embeddings,
)
from jatlas.files.recipe import Recipe

N, D = 9, 3
X = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
IDS = np.array([f"d{n}" for n in range(N)])
HALVES = slice(0, 4), slice(4, N)
DROP = Reading(drop_invalid=True)


@pytest.mark.parametrize("ends", ["id.npy", "ids.npy", "id.txt", "key.npy", "key.txt"])
def test_a_folder_of_npy(tmp_path, ends):
    for k, rows in enumerate(HALVES):
        np.save(tmp_path / f"part-{k}.npy", X[rows])
        if ends.endswith("npy"):
            np.save(tmp_path / f"part-{k}.{ends}", IDS[rows])
        else:
            (tmp_path / f"part-{k}.{ends}").write_text("\n".join(IDS[rows]))
    ids = "key" if ends.startswith("key") else None
    for path in (tmp_path, tmp_path / "*", tmp_path / "*.npy"):
        found, x = read_embeddings(str(path), ids=ids)
        assert found.tolist() == IDS.tolist()
        np.testing.assert_array_equal(x, X)
    before = file_hash(tmp_path)
    np.save(tmp_path / "part-0.npy", X[:4] + 1)
    assert file_hash(tmp_path) != before


def test_a_part_whose_name_looks_like_ids(tmp_path):
    np.save(tmp_path / "id.npy", X[:4])  # the ids of no other part
    np.save(tmp_path / "id.id.npy", IDS[:4])
    np.save(tmp_path / "x.id.npy", X[4:])
    np.save(tmp_path / "x.id.ids.npy", IDS[4:])
    assert read_embeddings(tmp_path)[0].tolist() == IDS.tolist()


def test_a_folder_of_packed_word2vec(tmp_path):
    for k, rows in enumerate(HALVES):
        pairs = zip(IDS[rows], X[rows].tolist(), strict=True)
        lines = [f"{word} {' '.join(map(str, x))}" for word, x in pairs]
        with gzip.open(tmp_path / f"{k}.vec.gz", "wt") as file:
            file.write("\n".join(lines))
    ids, x = read_embeddings(tmp_path)
    assert ids.tolist() == IDS.tolist()
    np.testing.assert_array_equal(x, X)


def test_short_names(tmp_path, monkeypatch):
    (tmp_path / "birds" / "parts.v1").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "birds")
    for path, name in {
        ".": "birds",
        "parts.v1": "parts.v1",
        "parts.v1/..": "birds",
        "a.b.npz": "a.b",
        "words.VEC.GZ": "words",
        "parts.parquet": "parts",
        "*.npz": "birds",
        "parts.v1/**/*.parquet": "parts.v1",
        "emb.v2-*.parquet": "emb.v2",
        "/": "/",
    }.items():
        assert chart_name(Path(path), OPENERS) == name
    for k, rows in enumerate(HALVES):
        np.savez(f"parts.v1/{k}.npz", id=IDS[rows], x=X[rows])
    lines = []
    atlas = merge_files(["parts.v1"], anchors="shared:4", say=lines.append)
    assert atlas.recipe.charts == ("parts.v1",)
    monkeypatch.chdir("parts.v1")
    atlas = merge_files(["."], anchors="shared:4", say=lines.append)
    assert atlas.recipe.charts == ("parts.v1",)
    assert any("\n    0 parts.v1 " in text for text in lines[1:])
