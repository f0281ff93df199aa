"""Names one a file, converted ids and dropped rows, in every command and function."""

import sys

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest

import jatlas.files
from jatlas.cli.commands import main
from jatlas.files import ConsensusMaps, Reading, Recipe, project_file
from jatlas.files.formats.faults import Missing
from jatlas.files.kinds.linked_rows import linked_rows
from jatlas.files.readers import open_embeddings, read_embeddings

N = 110
X = np.random.default_rng(0).normal(size=(N, 3)).astype(np.float32)
BAD = "row 7; rows [7], ids ['7']. Leave them out (Reading(drop_invalid=True), "


@pytest.fixture
def charts(tmp_path, monkeypatch):
    """Two charts with names of their own, ids of two types, and a bad row each."""
    monkeypatch.chdir(tmp_path)
    x, y = X.copy(), X[:, ::-1] ** 3
    x[7, 1], y[8] = np.nan, 0
    np.savez("a.npz", key=np.arange(N).astype(str), x=x, other=x[:, :2])
    table = arrow.table({"name": np.arange(N), "y": list(y), "z": list(y)})
    parquet.write_table(table, "b.parquet")
    return ["a.npz", "b.parquet"]


NAMES = ["--ids", "key", "name", "--embeddings", "x", "y", "--id-type", "text"]
DROP = ["--drop-invalid"]
SHARED = ["--coordinates", "relative", "--anchors", "shared:9"]
EACH = {
    "merge": [*SHARED, "--out", "atlas.parquet"],
    "evaluate": [*SHARED, "--out", "scores.json"],
    "compare": ["--measures", "cka-linear", "--permutations", "9"],
}


@pytest.mark.parametrize("command", EACH)
def test_two_files_each_with_its_names(charts, capsys, tmp_path, command):
    before = sorted(tmp_path.iterdir())
    arguments = [command, *charts, *NAMES, *EACH[command]]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert f"error: a.npz: NaN, infinity or more than float32 holds in {BAD}" in error
    assert "--drop-invalid" in error
    assert sorted(tmp_path.iterdir()) == before
    assert main([*arguments, *DROP]) == 0
    text = capsys.readouterr().out
    for name, row in (("a.npz", 7), ("b.parquet", 8)):
        assert f"{name}: 1 of its {N} rows are null, NaN, infinite or zero and" in text
        assert f"left out, ids ['{row}']" in text
    assert main([*arguments, "--ids", "key", "name", "id"]) == 2
    assert "ids (--ids) has 3 names" in capsys.readouterr().err


def test_a_file_with_the_usual_names(charts, capsys):
    x = X.copy()
    x[8] = 0
    words = [f"{n} {a} {b} {c}" for n, (a, b, c) in enumerate(x.tolist())]
    with open("w.vec", "w") as file:
        file.write("\n".join(words))
    compare = ["compare", "w.vec", charts[0], *EACH["compare"], *DROP]
    assert main([*compare, "--ids", "key", "--embeddings", "-", "x"]) == 2
    assert "give one name a file, None (-) for this one" in capsys.readouterr().err
    assert main([*compare, "--ids", "-", "key", "--embeddings", "-", "x"]) == 0
    assert f"{N - 2} samples in common" in capsys.readouterr().out


def test_one_file_and_the_columns_of_the_atlas(charts, capsys):
    keep = ["--embeddings", "x", "y", "--keep", "z"]
    merge = ["merge", *charts, *NAMES, *EACH["merge"], *DROP]
    assert main([*merge, *keep]) == 0
    new = X[:, :2] + 1
    new[3] = np.inf
    parquet.write_table(
        arrow.table({"doc": np.arange(N).astype(str), "c": list(new), "z": list(new)}),
        "c.parquet",
    )
    one = ["c.parquet", "--ids", "doc", "--embeddings", "c", "--out", "out.parquet"]
    for command in ("add", "project"):
        assert main([command, "atlas.parquet", *one]) == 2
        assert "c.parquet: NaN" in capsys.readouterr().err
        assert main([command, "atlas.parquet", *one, *DROP]) == 0
        assert "ids ['3']" in capsys.readouterr().out
        written = parquet.read_table("out.parquet")
        assert written.column_names[0] == {"add": "key", "project": "doc"}[command]
        assert ("z" in written.column_names) == (command == "add")
    assert main(["neighbors", "out.parquet", "5", "-k", "2"]) == 0


def test_the_same_in_python(charts):
    names = {"ids": ["key", "name"], "embeddings": ("x", "y")}
    reading = Reading(id_type="integers", drop_invalid=True)
    atlas = jatlas.merge_files(charts, anchors="shared:9", **names, reading=reading)
    assert atlas.ids.dtype == np.int64
    assert atlas.count[atlas.ids == 7].tolist() == [1]
    assert atlas.count[atlas.ids == 9].tolist() == [2]
    with pytest.raises(ValueError, match="different ids"):
        jatlas.merge_files(charts, anchors="shared:9", **names)
    only = jatlas.files.project_file(
        atlas.recipe, charts[0], chart="a", ids="key", embeddings="x", reading=reading
    )
    assert only.ids.size == N - 1
    np.testing.assert_array_equal(only.ids, np.delete(np.arange(N), 7))


@pytest.mark.parametrize(
    ("command", "out"),
    [
        ("merge", "parts/part-0.parquet"),
        ("merge", "parts/atlas.parquet"),
        ("evaluate", "parts/deep/scores.json"),
    ],
)
def test_nothing_is_written_into_an_input(charts, capsys, tmp_path, command, out):
    (tmp_path / "parts").mkdir()
    (tmp_path / "b.parquet").rename(tmp_path / "parts" / "part-0.parquet")
    inputs = ["parts"] if command == "evaluate" else ["parts/*.parquet", "parts"]
    for given in inputs:
        arguments = [command, charts[0], given, *NAMES, *SHARED, *DROP, "--out", out]
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert f"{out} would be written over {given}, an input" in error
    assert len(list((tmp_path / "parts").iterdir())) == 1


@pytest.mark.parametrize(
    ("given", "out"),
    [
        ("parts/**/*.parquet", "parts/b/c/atlas.parquet"),
        ("parts/**/*.parquet", "parts/atlas.parquet"),
        ("**/*.parquet", "atlas.parquet"),
        ("parts/b/../**/*.parquet", "parts/b/atlas.parquet"),
        ("link/*/*.parquet", "parts/b/atlas.parquet"),
        ("parts/[ab]/*", "parts/b/atlas.parquet"),
    ],
)
def test_no_pattern_fits_what_is_written(charts, capsys, tmp_path, given, out):
    (tmp_path / "parts" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "parts")
    (tmp_path / "b.parquet").rename(tmp_path / "parts" / "b" / "part-0.parquet")
    merge = ["merge", charts[0], given, *NAMES, *SHARED, *DROP]
    assert main([*merge, "--out", out]) == 2
    error = capsys.readouterr().err
    assert f"{out} would be written over {given}, an input" in error
    if given == "parts/**/*.parquet":
        assert main([*merge, "--out", "partly/b/atlas.parquet"]) == 0


def test_no_viewer_file_takes_the_place_of_the_atlas(charts, capsys, tmp_path):
    merge = ["merge", *charts, *NAMES, *EACH["merge"], *DROP]
    assert main(merge) == 0
    before = (tmp_path / "atlas.parquet").read_bytes()
    view = ["view", "atlas.parquet", "--export", "embedding-atlas", "--out"]
    assert main([*view, "."]) == 2
    assert "atlas.parquet would be written over atlas" in capsys.readouterr().err
    assert (tmp_path / "atlas.parquet").read_bytes() == before
    assert main([*view, "viewer"]) == 0


FLOATS = {
    "npz": lambda ids: np.savez("f.npz", id=ids, x=X),
    "parquet": lambda ids: parquet.write_table(
        arrow.table({"id": ids, "x": list(X)}), "f.parquet"
    ),
}


@pytest.mark.parametrize("end", FLOATS)
def test_whole_numbers_in_floats(charts, end):
    ids = np.arange(N, dtype=np.float64)
    FLOATS[end](ids)
    for kind, wanted in (("text", list(map(str, range(N)))), ("integers", range(N))):
        lines = []
        found, _ = read_embeddings(
            f"f.{end}", reading=Reading(id_type=kind), say=lines.append
        )
        assert found.tolist() == list(wanted)
        assert f"whole numbers in float64, and are read as {kind}" in lines[-1]
    with pytest.raises(ValueError, match=r"got float64.*--id-type"):
        read_embeddings(f"f.{end}")
    for wrong in (2.5, np.nan, np.inf, 2.0**53 + 2):
        FLOATS[end](np.where(ids == 4, wrong, ids))
        for kind in ("text", "integers"):
            with pytest.raises(ValueError, match=r"row 4 is .* in float64: expected a"):
                read_embeddings(f"f.{end}", reading=Reading(id_type=kind))
    FLOATS["npz"](ids + 1j)
    with pytest.raises(ValueError, match="integers or of text, got complex128"):
        read_embeddings("f.npz", reading=Reading(id_type="text"))


@pytest.mark.parametrize("kind", ["relative", "consensus"])
def test_near_ids_of_queries(charts, kind):
    names = np.array(["kea", "größe"])
    recipe = Recipe(names, (X[:2],))
    if kind == "consensus":
        fitted = (np.zeros(3),), np.ones(1), (np.eye(3, dtype=np.float32),), np.ones(3)
        maps = ConsensusMaps(*fitted, 1.0, 1.0, (names,), (X[:2],))
        recipe = Recipe(names[:0], (X[:0],), consensus=maps)
    np.savez("new.npz", id=["kea ", "gro\u0308ße", "new"], x=X[:3])
    lines = []
    project_file(recipe, "new.npz", chart=0, say=lines.append)
    near = "warning: 4 ids differ by blanks at their ends or by the Unicode"
    assert lines[0].startswith(near)


def test_rows_of_linked_samples_that_are_all_the_same(charts):
    same = X.copy()
    same[:100] = 1
    np.savez("p.npz", id=np.arange(N), x=same)
    linked = np.arange(N) < 100
    with pytest.raises(ValueError, match=r"p.npz: all of its rows of samples that ano"):
        linked_rows(open_embeddings("p.npz"), np.arange(N), linked, N, lambda _: None)


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(Missing, match=r"s3://b/x.npz takes .*fsspec.*'jatlas\[remote"):
        read_embeddings("s3://b/x.npz")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("nowhere://b/x.npz", "nowhere://b/x.npz: Protocol not known: nowhere"),
        ("s3://b/x.npz", "s3://b/x.npz: .*s3fs"),
    ],
)
def test_an_address_without_its_package(capsys, monkeypatch, address, message):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises((ValueError, ImportError), match=message):
        read_embeddings(address)
    assert main(["compare", address, address]) == 2
    assert address in capsys.readouterr().err
