"""Atlases in folders of Parquet parts: the merge of files, never in memory."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest

from jatlas.cli.commands import main
from jatlas.files import AtlasFile, Beside, Reading
from jatlas.files.folders import layout, tasks
from jatlas.files.folders.merging import merge_to_folder
from jatlas.files.formats import atlas_table
from jatlas.files.formats.atlas_table import RewrittenTable
from jatlas.files.formats.whole import hidden_name
from jatlas.files.merging import merge_files
from jatlas.files.projecting import project_file
from jatlas.files.storage import load, load_recipe, save

N, A, BATCH, WIDTH = 60, 6, 8, 5
KINDS = {
    "relative": {"coordinates": "relative", "anchors": f"shared:{A}"},
    "nystroem": {
        "coordinates": "nystroem",
        "anchors": f"shared:{A}",
        "whiten": True,
    },
    "consensus": {"coordinates": "consensus", "ridge": 1.0, "power": 1.0},
}
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    """Parts of two batches, so that there are several."""
    monkeypatch.setattr(atlas_table, "GROUP", 4 * A * 2 * BATCH)


def write_charts(folder):
    """Two charts, one of them in parts; some rows are not valid."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(N, 4))
    ids = np.array([f"s{n:02d}" for n in rng.permutation(N)])
    x, y = (
        np.tanh(z @ rng.normal(size=(4, WIDTH))).astype(np.float32) for _ in range(2)
    )
    np.savez(folder / "a.npz", id=ids[:50], x=x[:50])
    (folder / "b").mkdir()
    y[20:30] = np.nan  # all of a part, and one row of another
    y[35] = 0
    for number, rows in enumerate((np.r_[10:20], np.r_[20:30], np.r_[59:29:-1])):
        lists = arrow.array(list(y[rows]), arrow.list_(arrow.float32()))
        table = arrow.table({"id": ids[rows], "x": lists, "n": rows})
        parquet.write_table(table, folder / f"b/{number}.parquet", row_group_size=7)
    return [folder / "a.npz", folder / "b"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_charts(tmp_path_factory.mktemp("files"))


def options(kind="relative"):
    return {**KINDS[kind], "batch_size": BATCH, "reading": Reading(drop_invalid=True)}


def leaves(value):
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, tuple):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]


def assert_equal(ours, theirs):
    pairs = zip(leaves(ours), leaves(theirs), strict=True)
    for x, y in pairs:
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("kind", KINDS)
def test_the_parts_are_the_merge_bit_for_bit(files, tmp_path, kind, monkeypatch):
    sizes = []
    room = tasks.empty_running

    def noted(size, width):
        sizes.append(size)
        return room(size, width)

    monkeypatch.setattr(tasks, "empty_running", noted)
    progress = []
    done = merge_to_folder(
        tmp_path / "atlas",
        files,
        progress=lambda *counts: progress.append(counts),
        **options(kind),
    )
    atlas = merge_files(files, **options(kind))
    assert_equal(load(tmp_path / "atlas"), atlas)
    assert_equal(load_recipe(tmp_path / "atlas"), atlas.recipe)
    assert max(sizes) < N / 2  # no more of the atlas is in memory
    assert len(sizes) == len(done.files) - 1 > 2
    assert progress[-1][0] == progress[-1][1]
    several = atlas.disagreement[atlas.count > 1]
    assert (done.samples, done.several) == (atlas.ids.size, several.size)
    np.testing.assert_allclose(
        [done.disagreement, done.most], [several.mean(), several.max()], rtol=1e-5
    )
    assert sorted(tmp_path.iterdir()) == [tmp_path / "atlas"]
    assert sorted(done.files) == sorted((tmp_path / "atlas").iterdir())


@pytest.fixture(scope="module")
def folder(files, tmp_path_factory):
    """An atlas of the command, with a column that is kept."""
    out = tmp_path_factory.mktemp("atlases") / "atlas"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atlas_table, "GROUP", 4 * A * 2 * BATCH)
        assert main([*command(files), "--keep", "n", "--out", f"{out}/"]) == 0
    return out


def command(files):
    few = ["--coordinates", "relative", "--anchors", f"shared:{A}", "--drop-invalid"]
    return ["merge", *map(str, files), *few, "--batch-size", str(BATCH)]


def test_every_command_takes_the_folder(folder, files, tmp_path, capsys):
    whole = tmp_path / "whole.parquet"
    assert main([*command(files), "--keep", "n", "--out", str(whole)]) == 0
    assert_equal(load(folder), load(whole))
    parts = parquet.read_table(folder)
    nan = ["disagreement"]  # some of it
    assert parts.drop_columns(nan).equals(parquet.read_table(whole).drop_columns(nan))
    np.savez(tmp_path / "c.npz", **late(files))
    path, new = str(tmp_path / "c.npz"), str(tmp_path / "new.parquet")
    for atlas, out in ((folder, tmp_path / "grown"), (whole, tmp_path / "g.parquet")):
        assert main(["add", str(atlas), path, "--out", str(out)]) == 0
    assert_equal(load(tmp_path / "grown"), load(tmp_path / "g.parquet"))
    kept = [
        parquet.read_table(tmp_path / x, columns=["n"]) for x in ("grown", "g.parquet")
    ]
    assert kept[0].equals(kept[1])
    project = ["project", str(folder), str(files[0]), "--chart", "a", "--out", new]
    assert main(project) == 0
    assert_equal(load(new), project_file(load_recipe(whole), files[0], chart="a"))
    capsys.readouterr()
    assert main(["neighbors", str(folder), "s07", "-k", "2"]) == 0
    assert capsys.readouterr().out.count("\n") == 4
    view = ["view", str(folder), "--export", "projector", "--out", str(tmp_path / "v")]
    assert main(view) == 0


def late(files):
    """One more chart of all samples of the first, as arrays."""
    with np.load(files[0]) as arrays:
        x = arrays["x"][:, ::-1] + arrays["x"] ** 2
        return {"id": arrays["id"], "x": x, "n": np.arange(len(x))}


def test_an_atlas_in_memory_is_saved_in_parts(files, tmp_path):
    atlas = merge_files(files, **options())
    columns = Beside("name", {"title": list(map(str, range(atlas.ids.size)))})
    written = save(tmp_path / "out", atlas, beside=columns)
    assert len(written) > 3
    assert_equal(load(tmp_path / "out"), atlas._replace(id_name="name"))
    first = load(written[1])  # a part is an atlas by itself
    np.testing.assert_array_equal(first.merged, atlas.merged[: first.ids.size])
    titles = [parquet.read_table(part).column("title") for part in written[1:]]
    assert [t for part in titles for t in part.to_pylist()] == columns.columns["title"]


def test_a_part_that_is_missing_or_changed_is_noticed(folder, files, tmp_path):
    copy = tmp_path / "copy"
    assert save(copy, load(folder))
    first, second, *_ = layout.part_paths(copy)
    table = parquet.read_table(second)
    parquet.write_table(table.replace_schema_metadata(), second)
    assert_equal(load(copy), load(folder))  # it says the same
    turned = table.take(np.arange(table.num_rows)[::-1])
    parquet.write_table(turned.replace_schema_metadata(), second)
    with pytest.warns(RewrittenTable, match="copy: it was written anew"):
        assert sorted(load(copy).ids) == sorted(load(folder).ids)
    os.rename(second, tmp_path / "second")
    with pytest.raises(ValueError, match=r"copy: its \d parts are not those that"):
        load(copy)
    with pytest.raises(ValueError, match="copy: its"):
        load_recipe(copy)
    os.rename(first, second)
    with pytest.raises(ValueError, match="copy: its"):
        load(copy)
    (copy / "_recipe.safetensors").unlink()
    with pytest.raises(ValueError, match=r"copy: .* there is no _recipe\.safetensors"):
        load(copy)


def refused(capsys, out, files, message, *more):
    before = {path: path.stat().st_mtime_ns for path in out.parent.rglob("*")}
    assert main([*command(files), "--out", f"{out}/", *more]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err
    after = {path: path.stat().st_mtime_ns for path in out.parent.rglob("*")}
    assert after == before


def test_a_folder_that_is_no_atlas_is_left_alone(files, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    refused(capsys, out, files, "holds no atlas, or other files too (notes.txt)")
    (out / "_recipe.safetensors").write_bytes(b"1")
    refused(capsys, out, files, "(notes.txt)")
    refused(capsys, out / "notes.txt", files, "it is a file, and no folder")
    refused(capsys, out / "notes.txt/x", files, "it is a file, and no folder")
    refused(capsys, files[1], files, "holds no atlas")
    refused(capsys, files[1] / "out", files, "would be written over")
    save(tmp_path / "atlas", merge_files(files, **options()))
    part = tmp_path / "atlas/part-00000.parquet"
    refused(capsys, tmp_path / "atlas", [*files, part], "would be written over")


def test_an_atlas_is_replaced_once_the_new_one_is_whole(
    files, tmp_path, capsys, monkeypatch
):
    out = tmp_path / "out"
    out.mkdir()  # an empty one is no loss
    assert main([*command(files), "--out", str(out)]) == 0
    old = load(out)
    with monkeypatch.context() as patch:
        fails = OSError(28, "No space left on device", None)
        patch.setattr(tasks, "write_part", lambda *_: (_ for _ in ()).throw(fails))
        refused(capsys, out, files, "No space left on device")
    with monkeypatch.context() as patch:
        stop = KeyboardInterrupt()
        patch.setattr(tasks, "disagreement", lambda *_: (_ for _ in ()).throw(stop))
        assert main([*command(files), "--out", str(out)]) == 130
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda *_: (_ for _ in ()).throw(fails))
        refused(capsys, out, files, f"No space left on device: '{out}/")
    assert_equal(load(out), old)
    assert sorted(tmp_path.iterdir()) == [out]
    assert main([*command(files), "--seed", "1", "--out", str(out)]) == 0
    assert load(out).recipe.anchor_ids.tolist() != old.recipe.anchor_ids.tolist()
    assert sorted(tmp_path.iterdir()) == [out]


def test_options_of_folders(files, tmp_path, capsys):
    for more in (["--workers", "2"], ["--scheduler", "tcp://127.0.0.1:1"]):
        out = "--out", str(tmp_path / "x.parquet")
        assert main([*command(files), *out, *more]) == 2
        assert "let --out be a folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from jatlas.files.folders import tasks
from jatlas.cli.commands import main
write, left = tasks.write_part, [2]
def write_part(*part):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return write(*part)
tasks.write_part = write_part
from jatlas.files.formats import atlas_table
atlas_table.GROUP = int(sys.argv[1])
main(sys.argv[2:])
"""


@pytest.mark.slow
def test_a_kill_leaves_nothing_under_the_name(files, tmp_path):
    arguments = [*command(files), "--out", str(tmp_path / "atlas")]
    run = subprocess.run(
        [sys.executable, "-c", KILLED, str(4 * A * 2 * BATCH), *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
    )
    assert run.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".atlas.")
    assert left.name.endswith(".part")
    assert main(arguments) == 0  # the next takes it away
    assert [path.name for path in tmp_path.iterdir()] == ["atlas"]


def test_the_only_copy_of_an_atlas_is_not_taken_away(files, tmp_path):
    atlas = merge_files(files, **options())
    save(tmp_path / "atlas", atlas)
    # As a kill leaves it between two names.
    (tmp_path / "atlas").rename(tmp_path / f"{hidden_name(Path('atlas'))}abcd_123.old")
    (tmp_path / "atlas").mkdir()
    (tmp_path / "atlas" / "other").touch()
    with pytest.raises(ValueError, match="holds no atlas"):
        save(tmp_path / "atlas", atlas)
    assert_equal(load(tmp_path / f"{hidden_name(Path('atlas'))}abcd_123.old"), atlas)
    (tmp_path / "atlas" / "other").unlink()
    backup = tmp_path / ".atlas.20261129.old"  # a user's
    backup.mkdir()
    save(tmp_path / "atlas", atlas)
    assert set(tmp_path.iterdir()) == {tmp_path / "atlas", backup}


def test_an_atlas_of_another_width_of_numbers_comes_back(tmp_path, files):
    atlas: AtlasFile = merge_files(files, **options())
    wide = atlas._replace(merged=atlas.merged.astype(np.float64), presence=None)
    save(tmp_path / "wide", wide)
    assert load(tmp_path / "wide").merged.dtype == np.float64
    assert_equal(load(tmp_path / "wide"), wide)
