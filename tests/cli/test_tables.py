"""What stands in a written table: kept columns, the id's name, one recipe."""

import numpy as np
import pyarrow as arrow
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet as parquet
import pytest

from jatlas.cli.commands import main
from jatlas.cli.printing import say_neighbors
from jatlas.files import Beside, add_file, merge_files, project_file, read_beside
from jatlas.files.formats.atlas_table import RewrittenTable
from jatlas.files.kinds.nearest import Neighbor
from jatlas.files.readers import read_embeddings
from jatlas.files.storage import load, load_recipe, save

N = 12
X = np.random.default_rng(0).normal(size=(N, 4)).astype(np.float32)
IDS = np.array([f"d{n}" for n in range(N)])


@pytest.fixture
def charts(tmp_path):
    """Two charts: in the first 0 to 9, in the second 4 to 11, with other columns."""
    a, b = slice(0, 10), slice(4, 12)
    first = {"doc": IDS[a], "x": list(X[a]), "title": [f"A{n}" for n in range(10)]}
    second = {"doc": IDS[b], "x": list(X[b] ** 3), "title": [f"B{n}" for n in range(8)]}
    second |= {"score": np.arange(8, dtype=np.int16)}
    parquet.write_table(arrow.table(first), tmp_path / "a.parquet")
    parquet.write_table(arrow.table(second), tmp_path / "b.parquet")
    return [str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet")]


def test_columns_are_kept_and_the_id_has_its_name(charts, tmp_path, capsys):
    out = tmp_path / "new" / "folder" / "atlas.parquet"
    merge = ["merge", *charts, "--ids", "doc", "--anchors", "shared:5"]
    merge += ["--embeddings", "x", "x", "--out", str(out)]
    assert main([*merge, "--keep", "title", "score"]) == 0, capsys.readouterr()
    table = parquet.read_table(out)
    assert table.column_names == [
        *("doc", "atlas", "charts", "disagreement"),
        *("members", "title", "score"),
    ]
    assert table["doc"].to_pylist() == IDS.tolist()
    assert table["title"].to_pylist() == [f"A{n}" for n in range(10)] + ["B6", "B7"]
    assert table["score"].to_pylist() == [None] * 4 + list(range(8))
    assert load(out).ids.tolist() == IDS.tolist()
    assert read_embeddings(out)[0].tolist() == IDS.tolist()

    # Another tool keeps the columns, and not what the table says of them.
    parquet.write_table(table.replace_schema_metadata(None), out)
    with pytest.warns(RewrittenTable):
        assert load(out).ids.tolist() == IDS.tolist()

    assert main([*merge, "--keep", "author"]) == 2
    error = capsys.readouterr().err
    assert "--keep author: no file has such a column; they have" in error
    assert main([*merge, "--keep", "charts"]) == 2
    assert "--keep charts: the atlas has a column of that name" in (
        capsys.readouterr().err
    )
    assert main([*merge[:-1], "x.safetensors", "--keep", "title"]) == 2
    assert "--keep takes an --out that ends in .parquet" in capsys.readouterr().err


@pytest.mark.parametrize("out", ["x.parquet", "x/"])
def test_the_id_keeps_its_name_in_python_too(charts, tmp_path, out):
    names = {"ids": "doc", "embeddings": "x"}
    atlas = merge_files(charts, anchors="shared:5", **names)
    new = project_file(atlas.recipe, charts[1], chart="b", **names)
    np.savez(tmp_path / "c.npz", key=IDS, x=X**2)
    grown = add_file(atlas, tmp_path / "c.npz", ids="key", embeddings="x")
    for one in (atlas, new, grown):
        save(f"{tmp_path}/{out}", one)
        files = [*tmp_path.glob(out), *tmp_path.glob("x/*.parquet")]
        (table,) = (file for file in files if file.is_file())
        assert parquet.read_schema(table).names[0] == "doc"
        assert load(f"{tmp_path}/{out}").id_name == "doc"
    save(tmp_path / "y.parquet", atlas, beside=Beside("key"))
    assert parquet.read_schema(tmp_path / "y.parquet").names[0] == "key"


def test_an_id_named_as_a_column_of_the_atlas_is_named_id(tmp_path):
    np.savez(tmp_path / "a.npz", members=IDS, x=X)
    files = [tmp_path / "a.npz"]
    atlas = merge_files(files, anchors="shared:5", ids="members", embeddings="x")
    save(tmp_path / "x.parquet", atlas)
    assert parquet.read_schema(tmp_path / "x.parquet").names[0] == "id"


def test_columns_are_kept_of_projected_samples(charts, tmp_path, capsys):
    files = ["--ids", "doc", "--embeddings", "x"]
    merge = ["merge", *charts, *files, "--anchors", "shared:5", "--out"]
    assert main([*merge, str(tmp_path / "atlas.parquet")]) == 0
    out = tmp_path / "new.parquet"
    project = ["project", str(tmp_path / "atlas.parquet"), charts[1], *files]
    project += ["--chart", "b", "--keep", "title", "score", "--out"]
    assert main([*project, str(out)]) == 0, capsys.readouterr()
    table = parquet.read_table(out)
    assert table.column_names[-2:] == ["title", "score"]
    assert table["title"].to_pylist() == [f"B{n}" for n in range(8)]
    capsys.readouterr()
    assert main([*project, str(tmp_path / "new.safetensors")]) == 2
    assert "--keep takes an --out that ends in .parquet" in capsys.readouterr().err
    assert main([*project[:-2], "author", "--out", str(out)]) == 2
    assert "--keep author: no file has such a column" in capsys.readouterr().err


@pytest.mark.parametrize("out", ["atlas.parquet", "atlas/", "atlas.safetensors"])
def test_neighbors_are_shown_with_the_kept_columns(charts, tmp_path, capsys, out):
    out = f"{tmp_path}/{out}"
    merge = ["merge", *charts, "--ids", "doc", "--anchors", "shared:5", "--out", out]
    merge += ["--embeddings", "x", "x"]
    plain = out.endswith(".safetensors")
    assert main([*merge, *([] if plain else ["--keep", "title", "score"])]) == 0
    capsys.readouterr()
    assert main(["neighbors", out, "d5", "-k", str(N)]) == 0
    head, *rows = capsys.readouterr().out.splitlines()[1:]
    assert head.split()[3:] == ([] if plain else ["title", "score"])
    shown = {row.split()[0]: row.split() for row in rows}
    assert shown.keys() == {f"d{n}" for n in range(N)} - {"d5"}
    if not plain:
        assert shown["d11"][-2:] == ["B7", "7"]
        assert shown["d0"][-1] == "A0"  # the other file has no such sample


def test_a_long_value_is_cut_in_what_is_shown(capsys):
    near = [Neighbor(7, 0.5, ("a",)), Neighbor(8, 0.6, ())]
    say_neighbors(1, near, {"text": ["two\nlines " + "x" * 90, None]})
    long, missing = capsys.readouterr().out.splitlines()[2:]
    assert long.endswith(" two lines " + "x" * 27 + "...")
    assert missing.split() == ["8", "0.6000"]


def test_columns_are_kept_from_every_kind_of_table(tmp_path):
    table = arrow.table({"doc": IDS, "x": list(X), "title": IDS})
    pyarrow.feather.write_feather(table, tmp_path / "a.feather", chunksize=5)
    with pyarrow.ipc.new_stream(tmp_path / "a.arrow", table.schema) as stream:
        stream.write_table(table, max_chunksize=7)
    np.savez(tmp_path / "a.npz", doc=IDS, x=X, title=IDS)
    (tmp_path / "parts").mkdir()
    for k in range(2):
        part = table.slice(6 * k, 6)
        parquet.write_table(part, tmp_path / "parts" / f"{k}.parquet")
    wanted = IDS[[3, 11, 0]]
    for name in ("a.feather", "a.arrow", "a.npz", "parts"):
        beside = read_beside([tmp_path / name], wanted, ["title"], ids="doc")
        assert beside.id_name == "doc"
        assert beside.columns["title"].to_pylist() == wanted.tolist()
        with pytest.raises(ValueError, match="--keep doc: it is the column of ids"):
            read_beside([tmp_path / name], wanted, ["doc"], ids="doc")
        with pytest.raises(ValueError, match=r"--keep y: no file .* 'title', 'x'"):
            read_beside([tmp_path / name], wanted, ["y"], ids="doc")


def test_a_recipe_is_written_once(charts, tmp_path, capsys):
    atlas, new = tmp_path / "atlas.parquet", tmp_path / "more" / "new.parquet"
    files = ["--ids", "doc", "--embeddings", "x"]
    merge = ["merge", *charts, *files, "--anchors", "shared:5", "--out", str(atlas)]
    assert main(merge) == 0
    project = ["project", str(atlas), charts[1], *files, "--chart", "b"]
    assert main([*project, "--out", str(new)]) == 0
    assert capsys.readouterr().out.endswith(f"wrote {new}\n")
    assert [path.name for path in new.parent.iterdir()] == ["new.parquet"]
    assert load(new).ids.tolist() == IDS[4:].tolist()
    np.testing.assert_array_equal(
        load_recipe(new).anchors[1], load_recipe(atlas).anchors[1]
    )
    again = ["project", str(new), charts[0], *files, "--chart", "a"]
    assert main([*again, "--out", str(tmp_path / "again.parquet")]) == 0
    assert load(tmp_path / "again.parquet").ids.tolist() == IDS[:10].tolist()
    # What would take the place of an input's recipe is not written.
    add = ["add", str(new), charts[0], *files, "--chart", "a", "--out", str(atlas)]
    assert main(add) == 2
    assert "over" in capsys.readouterr().err
    assert load(new).ids.tolist() == IDS[4:].tolist()
    # Another merge in the place of the first is another recipe.
    assert main([*merge, "--seed", "7"]) == 0
    with pytest.raises(ValueError, match=r"new.parquet: .* recipe of another atlas"):
        load(new)


def test_ids_that_differ_by_their_unicode_form(charts, tmp_path, capsys):
    np.savez(
        tmp_path / "x.npz", doc=[*IDS, "gro\u0308ße", "kea"], x=X[[*range(N), 0, 1]]
    )
    np.savez(
        tmp_path / "y.npz", doc=[*IDS, "größe", "kea "], x=X[[*range(N), 2, 3]] ** 3
    )
    paths = [str(tmp_path / "x.npz"), str(tmp_path / "y.npz")]
    out = [
        "--anchors",
        "shared:5",
        "--ids",
        "doc",
        "--out",
        str(tmp_path / "o.parquet"),
    ]
    assert main(["merge", *paths, *out]) == 0
    text = capsys.readouterr().out
    assert "warning: 4 ids differ by blanks at their ends or by the Unicode" in text
    assert r"'gr\xf6\xdfe', 'gro\u0308\xdfe'" in text
