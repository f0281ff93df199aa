"""Charts in many files: which files are parts, null parts, and faults by part."""

import gzip
from pathlib import Path

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
from pyarrow import feather

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


def write(path, rows, column):
    parquet.write_table(arrow.table({"id": IDS[rows], "x": column}), path)


LISTS = arrow.list_(arrow.float32())
NULLS = {
    "typed": arrow.array([None] * 4, LISTS),
    "untyped": arrow.nulls(4),
    "empty": arrow.array([[]] * 4, LISTS),
    "fixed": arrow.array([None] * 4, arrow.list_(arrow.float32(), D)),
    "nested": arrow.array([[[]], [], None, [None]], arrow.list_(LISTS)),
}


@pytest.mark.parametrize("kind", NULLS)
@pytest.mark.parametrize("null_first", [True, False])
def test_a_part_without_numbers_is_left_out(tmp_path, kind, null_first):
    inner = list(X[4:]) if kind != "nested" else [[x] for x in X[4:]]
    parts = [(slice(0, 4), NULLS[kind]), (slice(4, N), inner)]
    for k, (rows, column) in enumerate(parts if null_first else parts[::-1]):
        write(tmp_path / f"p{k}.parquet", rows, column)
    lines = []
    ids, x = read_embeddings(tmp_path, reading=DROP, say=lines.append)
    assert ids.tolist() == IDS[4:].tolist()
    np.testing.assert_array_equal(x, X[4:])
    assert f"4 of its {N} rows are null" in lines[-1]
    one = tmp_path / f"p{int(not null_first)}.parquet"
    with pytest.raises(ValueError, match=rf"{one.name}: .*--drop-invalid"):
        read_embeddings(tmp_path)
    with pytest.raises(ValueError, match=rf"{one.name}: all of its 4 rows are null"):
        read_embeddings(one, reading=DROP)


def test_empty_lists_are_left_out(tmp_path):
    lists = [[], [1.0, 2.0], [], None, [3.0, 4.0]]
    write(tmp_path / "a.parquet", slice(0, 5), lists)
    lines = []
    ids, x = read_embeddings(tmp_path / "a.parquet", reading=DROP, say=lines.append)
    assert (ids.tolist(), x.tolist()) == (["d1", "d4"], [[1.0, 2.0], [3.0, 4.0]])
    assert "3 of its 5 rows are null" in lines[-1]
    with pytest.raises(ValueError, match=r"row 0 of .*'d0'.*--drop-invalid"):
        read_embeddings(tmp_path / "a.parquet")


def test_a_column_without_values_beside_others(tmp_path):
    table = {"id": IDS, "note": arrow.nulls(N), "f0": X[:, 0], "f1": X[:, 1]}
    parquet.write_table(arrow.table(table), tmp_path / "a.parquet")
    _, x = read_embeddings(tmp_path / "a.parquet", reading=DROP)
    np.testing.assert_array_equal(x, X[:, :2])
    table = {"id": IDS, "embedding": arrow.nulls(N), "tokens": list(X)}
    parquet.write_table(arrow.table(table), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"'embedding' has no value in any row"):
        read_embeddings(tmp_path / "a.parquet")


def test_faults_name_the_part_and_its_row(tmp_path):
    bad = X.copy()
    bad[[2, 5, 6]] = np.nan
    for k, rows in enumerate(HALVES):
        np.savez(tmp_path / f"p{k}.npz", id=IDS[rows], x=bad[rows])
    with pytest.raises(ValueError, match=r"p0.npz: NaN.* row 2; rows \[2\], .*'d2'\]"):
        read_embeddings(tmp_path)
    np.savez(tmp_path / "p0.npz", id=IDS[:4], x=X[:4])
    with pytest.raises(ValueError, match=r"p1.npz: NaN.* 1; rows \[1, 2\], .*'d6'\]"):
        read_embeddings(tmp_path)
    np.savez(tmp_path / "p1.npz", id=IDS[[4, 5, 1, 7, 8]], x=X[4:])
    twice = r"'d1'\] \(the first in rows 1 of .*p0.npz and 2 of .*p1.npz\)"
    with pytest.raises(ValueError, match=twice):
        read_embeddings(tmp_path)
    # What is left out does not shift the numbers of rows.
    bad = X[[4, 5, 4, 5, 8]]
    bad[0] = 0
    np.savez(tmp_path / "p1.npz", id=IDS[[4, 5, 1, 7, 8]], x=bad)
    with pytest.raises(ValueError, match=twice):
        read_embeddings(tmp_path, reading=DROP)


def test_too_large_similarities_name_the_part(tmp_path):
    large = X.copy()
    large[6] = 3e38
    for k, rows in enumerate(HALVES):
        np.savez(tmp_path / f"p{k}.npz", id=IDS[rows], x=large[rows])
    recipe = Recipe(IDS[:2], (1e9 * X[:2],), similarity="inner")
    with pytest.raises(ValueError, match=r"p1.npz: .* row 2 are too large.*'d6'"):
        list(relative_rows(recipe, 0, open_embeddings(tmp_path), 16))


def test_a_null_row_names_the_part(tmp_path):
    write(tmp_path / "p0.parquet", HALVES[0], list(X[:4]))
    write(tmp_path / "p1.parquet", HALVES[1], [*X[4:7], None, X[8]])
    with pytest.raises(ValueError, match=r"p1.parquet: there is nothing in row 3 .*d7"):
        read_embeddings(tmp_path)


@pytest.mark.parametrize("kind", ["lists", "fixed", "wide", "feather"])
def test_a_part_without_rows_is_passed_over(tmp_path, kind):
    lists = arrow.list_(arrow.float32(), D if kind == "fixed" else -1)
    columns = {"e": arrow.array(X.tolist(), lists)}
    if kind == "wide":
        columns = {f"e_{k}": X[:, k] for k in range(D)}
    table = arrow.table({"id": IDS, **columns})
    write = feather.write_feather if kind == "feather" else parquet.write_table
    ending = "feather" if kind == "feather" else "parquet"
    for k, rows in enumerate([slice(0, 0), *HALVES]):
        write(table.take(np.arange(N)[rows]), tmp_path / f"part-{k}.{ending}")
    ids, x = read_embeddings(tmp_path)
    np.testing.assert_array_equal(ids, IDS)
    np.testing.assert_array_equal(x, X)
    for k in (1, 2):
        write(table.slice(0, 0), tmp_path / f"part-{k}.{ending}")
    with pytest.raises(ValueError, match="none of its 3 parts has a row"):
        read_embeddings(tmp_path)
    with pytest.raises(ValueError, match=r"part-0.* no rows"):
        read_embeddings(tmp_path / f"part-0.{ending}")
