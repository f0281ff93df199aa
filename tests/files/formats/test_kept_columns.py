"""Columns that are kept beside merged rows: whose values, and what is refused."""

import h5py
import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest

import jatlas
from jatlas.cli.commands import main
from jatlas.files import AtlasFile, Beside, Reading, Recipe, read_beside, readers
from jatlas.files.formats.faults import BadFile

N = 12
X = np.random.default_rng(0).normal(size=(N, 4)).astype(np.float32)
IDS = np.array([f"d{n}" for n in range(N)])
MERGE = ["--ids", "doc", "--embeddings", "x", "--coordinates", "relative"]
MERGE += ["--anchors", "shared:5"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path, rows, x=X, **others):
    """A Parquet file of some of the samples."""
    table = {"doc": IDS[rows], "x": list(x[rows]), **others}
    parquet.write_table(arrow.table(table), path)


@pytest.mark.parametrize("kind", ["parquet", "npz", "folder"])
def test_a_row_that_is_left_out_gives_no_value(folder, capsys, kind):
    # In a the rows of d3 and of d9 are invalid, and b has another title for them.
    bad, titles = X.copy(), np.array([f"a{n}" for n in range(N)])
    bad[3], bad[9] = np.nan, 0
    rows = np.arange(N)
    if kind == "npz":
        np.savez("a.npz", doc=IDS, x=bad, title=titles)
        first = "a.npz"
    elif kind == "parquet":
        write("a.parquet", rows, bad, title=titles)
        first = "a.parquet"
    else:
        first = "parts"
        (folder / first).mkdir()
        for k, some in enumerate([rows[:7], rows[7:]]):
            write(f"parts/p{k}.parquet", some, bad, title=titles[some])
    write("b.parquet", rows[:9], X**3, title=[f"b{n}" for n in range(9)])
    out = ["--drop-invalid", "--keep", "title", "--out", "o.parquet"]
    assert main(["merge", first, "b.parquet", *MERGE, *out]) == 0, capsys.readouterr()
    table = parquet.read_table("o.parquet")
    kept = dict(zip(table["doc"].to_pylist(), table["title"].to_pylist(), strict=True))
    wanted = {f"d{n}": f"b{n}" if n == 3 else f"a{n}" for n in range(N) if n != 9}
    assert kept == wanted
    reading = Reading(drop_invalid=True)
    beside = read_beside([first], IDS[[3, 0, 9]], ["title"], ids="doc", reading=reading)
    assert beside.columns["title"].to_pylist() == [None, "a0", None]


def test_a_part_or_a_chart_without_the_column_gives_nulls(folder, capsys):
    (folder / "parts").mkdir()
    write("parts/p0.parquet", np.r_[0:4])
    write("parts/p1.parquet", np.r_[4:10], title=arrow.array(list("efghij")))
    write("b.parquet", np.r_[2:12], X**3, title=[f"b{n}" for n in range(2, 12)])
    write("c.parquet", np.r_[0:12], X**2)
    charts = ["c.parquet", "parts", "b.parquet"]
    beside = read_beside(charts, IDS, ["title"], ids="doc")
    wanted = [None, None, "b2", "b3", *"efghij", "b10", "b11"]
    assert beside.columns["title"].to_pylist() == wanted
    for files in (["c.parquet", "parts"], ["parts"]):
        beside = read_beside(files, IDS, ["title"], ids="doc")
        wanted = [None] * 4 + [*"efghij", None, None]
        assert beside.columns["title"].to_pylist() == wanted
    with pytest.raises(ValueError, match=r"no file has .* \['doc', 'title', 'x'\]\.$"):
        read_beside(["parts", "c.parquet"], IDS, ["other"], ids="doc")


def test_types_of_several_files(folder):
    names = arrow.array(["owl", "kea"] * 6)
    write("a.parquet", np.r_[0:6], v=names[:6].dictionary_encode())
    write("b.parquet", np.r_[4:12], v=names[:8].dictionary_encode())
    write("c.parquet", np.r_[0:12], v=names)
    write("d.parquet", np.r_[0:12], v=np.arange(12))
    for files in (["a.parquet", "b.parquet"], ["a.parquet", "c.parquet"]):
        beside = read_beside(files, IDS, ["v"], ids="doc")
        assert beside.columns["v"].to_pylist() == ["owl", "kea"] * 6
    with pytest.raises(ValueError, match=r"string in a.* and int64 in d.parquet"):
        read_beside(["a.parquet", "d.parquet"], IDS, ["v"], ids="doc")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("titel", "--keep titel: no file has such a column; they have ['doc', 'odd'"),
        ("charts", "--keep charts: the atlas has a column of that name"),
        ("doc", "--keep doc: it is the column of ids"),
        ("x", "--keep x: its shape is (12, 4), and the file has 12 rows"),
        ("short", "--keep short: its shape is (3,), and the file has 12 rows"),
        ("odd", "--keep odd: its values are complex128, which no column"),
    ],
)
def test_a_wrong_name_is_refused_before_the_merge(capsys, monkeypatch, name, message):
    odd = {"odd": np.ones(N, complex), "short": np.arange(3)}
    np.savez("a.npz", doc=IDS, x=X, title=IDS, **odd)
    np.savez("b.npz", doc=IDS, x=X**3)

    def merged(*_, **__):
        raise AssertionError("the merge has begun")

    monkeypatch.setattr("jatlas.cli.commands.merge_files", merged)
    keep = ["--keep", "title", name, "--out", "o.parquet"]
    assert main(["merge", "a.npz", "b.npz", *MERGE, *keep]) == 2
    assert message in capsys.readouterr().err


def test_files_without_columns_are_named(capsys):
    with h5py.File("a.h5", "w") as file:
        file["doc"], file["x"], file["title"] = IDS.tolist(), X, IDS.tolist()
    write("b.parquet", np.arange(N), X**3, title=IDS)
    with pytest.raises(
        ValueError,
        match=r"columns are kept from tables .* and .npz only, not from a.h5",
    ):
        read_beside(["a.h5"], IDS, ["title"], ids="doc")
    with pytest.raises(ValueError, match=r"they have .* and .npz only, not from a.h5"):
        read_beside(["a.h5", "b.parquet"], IDS, ["other"], ids="doc")
    keep = ["--keep", "title", "--out", "o.parquet"]
    assert main(["merge", "a.h5", "b.parquet", *MERGE, *keep]) == 0
    assert "get none from a.h5" in capsys.readouterr().out


def test_ids_whose_name_an_atlas_has(capsys):
    np.savez("a.npz", charts=IDS, id=np.arange(N), x=X)
    with pytest.raises(ValueError, match=r"--keep id: .* 'charts' is a column of the"):
        read_beside(["a.npz"], IDS, ["id"], ids="charts")
    assert read_beside(["a.npz"], IDS, ids="charts").id_name == "id"


@pytest.fixture
def atlas():
    recipe = Recipe(np.array([7]), (np.ones((1, 3)),), charts=("birds",))
    rows = np.array([[1.0], [0.3]]), np.array([1, 1]), np.full(2, np.nan)
    return AtlasFile(np.array([7, 8]), *rows, recipe)


@pytest.mark.parametrize(
    ("beside", "message"),
    [
        (Beside("id", {"title": arrow.array(["a"])}), "'title' has 1 values, and .* 2"),
        (Beside("id", {"id": arrow.array([1, 2])}), "'id' has the name of that of the"),
        (Beside("doc", {"doc": arrow.array([1, 2])}), "'doc' has the name of that"),
        (Beside("id", {"charts": arrow.array([1, 2])}), "has a column 'charts'"),
        (Beside("members", {}), "has a column 'members'"),
        (Beside("", {}), "must be text, got ''"),
        (Beside("id", {"odd": [1, "a"]}), "'odd' must be values that pyarrow.array"),
        (Beside("id", {"odd": 5}), "'odd' must be values that pyarrow.array takes"),
        ({"title": [1, 2]}, "must be a jatlas.files.Beside, .* got dict"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_stands_beside_is_checked(folder, atlas, beside, message):
    with pytest.raises(ValueError, match=message):
        jatlas.save("atlas.parquet", atlas, beside=beside)
    assert list(folder.iterdir()) == []


def test_lists_and_arrays_stand_beside_too(atlas):
    columns = {"title": ["owl", None], "score": np.array([1, 2], ">i4")}
    jatlas.save("atlas.parquet", atlas, beside=Beside("doc", columns))
    table = parquet.read_table("atlas.parquet")
    assert table["title"].to_pylist() == ["owl", None]
    assert table["score"].to_pylist() == [1, 2]
    assert jatlas.load("atlas.parquet").ids.tolist() == [7, 8]


def test_a_file_is_opened_once(monkeypatch, capsys):
    write("a.parquet", np.arange(N), title=IDS)
    write("b.parquet", np.arange(N), X**3, title=IDS)
    opened = []
    inner = readers._opened

    def counted(path, *others):
        opened.append(path.name)
        return inner(path, *others)

    monkeypatch.setattr(readers, "_opened", counted)
    keep = ["--keep", "title", "--out", "o.parquet"]
    assert main(["merge", "a.parquet", "b.parquet", *MERGE, *keep]) == 0
    assert opened == ["a.parquet", "b.parquet"]
    one = ["o.parquet", "a.parquet", *MERGE[:4], "--chart", "a"]
    for command in (["project", *one], ["add", *one]):
        opened.clear()
        code = main([*command, "--out", "new.parquet"])
        assert opened.count("a.parquet") == 1, command
        error = capsys.readouterr().err
        assert code == 0 or "all of its samples are in the atlas already" in error


def test_values_that_do_not_fit_one_type_are_refused_by_file(
    tmp_path, capsys, monkeypatch
):
    for name, values in (("a", [2**53 + 1, 1]), ("b", [0.5, 1.5])):
        columns = {"id": [name, "c"], "e": [[1.0, 2.0], [2.0, 1.0]], "n": values}
        parquet.write_table(arrow.table(columns), tmp_path / f"{name}.parquet")
    files = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    with pytest.raises(BadFile, match=r"a\.parquet: --keep n: .*int64.*double"):
        read_beside(files, np.array(["a", "b", "c"]), ["n"])

    def merged(*_, **__):
        raise AssertionError("the merge has begun")

    monkeypatch.setattr("jatlas.cli.commands.merge_files", merged)
    command = ["merge", *map(str, files), "--keep", "n", "--out", "o.parquet"]
    assert main(command) == 2
    assert "a.parquet: --keep n: " in capsys.readouterr().err


def test_ids_of_another_type_find_nothing_and_are_refused(tmp_path):
    table = arrow.table({"id": ["0", "1"], "e": [[1.0], [2.0]], "n": [1, 2]})
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="id_type"):
        read_beside([tmp_path / "a.parquet"], np.arange(2), ["n"])


def test_one_name_is_no_list_of_letters(folder):
    np.savez("letters.npz", id=[1, 2], x=np.eye(2), n=[3, 4])
    with pytest.raises(ValueError, match=r"for one give \['n'\]"):
        read_beside(["letters.npz"], np.array([1]), "n")
