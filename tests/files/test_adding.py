"""A chart that joins an atlas from a file, against the merge of all files at once."""

import subprocess
import sys

import numpy as np
import pytest

from jatlas.cli.commands import main
from jatlas.files.adding import add_file, grown_atlas
from jatlas.files.merging import merge_files
from jatlas.files.readers import open_embeddings
from jatlas.files.reports import quiet
from jatlas.files.storage import load, save

N, BATCH = 30, 16
HELD = slice(0, 24), slice(3, 27), slice(6, 30)
WIDTHS = 5, 3, 5
ANCHORS = np.arange(8, 22, 2)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Three charts of one set of samples; the last is the only one to have some."""
    folder, rng = tmp_path_factory.mktemp("charts"), np.random.default_rng(0)
    z = rng.normal(size=(N, 4))
    paths = [folder / f"{name}.npz" for name in "abc"]
    for path, width, held in zip(paths, WIDTHS, HELD, strict=True):
        x = np.tanh(z @ rng.normal(size=(4, width)))[held]
        order = rng.permutation(len(x))
        np.savez(path, id=np.arange(N)[held][order], x=x[order].astype(np.float32))
    np.save(folder / "anchors.npy", ANCHORS)
    return paths


def merged(files, **options):
    anchors = str(files[0].parent / "anchors.npy")
    return merge_files(files, anchors=anchors, batch_size=BATCH, **options)


@pytest.mark.parametrize("whiten", [False, True])
def test_to_add_a_chart_is_to_merge_all_files_again(files, whiten):
    wanted = merged(files, whiten=whiten)
    grown = merged(files[:1], whiten=whiten)
    for file in files[1:]:
        grown = add_file(grown, file, batch_size=BATCH)
    np.testing.assert_array_equal(grown.ids, wanted.ids)
    np.testing.assert_array_equal(grown.count, wanted.count)
    np.testing.assert_allclose(grown.merged, wanted.merged, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(grown.disagreement, wanted.disagreement, rtol=1e-5)
    assert grown.recipe.charts == wanted.recipe.charts == ("a", "b", "c")
    assert grown.recipe.hashes == wanted.recipe.hashes
    for name in ("anchors", "transforms"):
        ours, theirs = (getattr(atlas.recipe, name) for atlas in (grown, wanted))
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            for x, y in zip(one, other, strict=True):
                np.testing.assert_array_equal(x, y)


def test_in_place_gives_the_same_and_else_the_atlas_stays(files):
    atlas = merged(files[:2])
    before = atlas.merged.copy()
    wanted = add_file(atlas, files[2], batch_size=BATCH)
    np.testing.assert_array_equal(atlas.merged, before)
    source = open_embeddings(files[2])
    grown = grown_atlas(atlas, source, None, BATCH, quiet, None, in_place=True)
    assert len(atlas.merged) == 0  # moved, and not copied
    for ours, theirs in zip(grown[:4], wanted[:4], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_mean_by_numpy_is_what_is_added_to(files):
    grown = add_file(merged(files[:2]), files[2], batch_size=BATCH)
    relative = np.full((3, N, ANCHORS.size), np.nan)
    for m, file in enumerate(files):
        with np.load(file) as arrays:
            x = arrays["x"].astype(np.float64)
            x /= np.linalg.norm(x, axis=1, keepdims=True)
            places = {name: row for row, name in enumerate(arrays["id"].tolist())}
            relative[m, arrays["id"]] = x @ x[[places[a] for a in ANCHORS]].T
    relative = relative[:, grown.ids]
    np.testing.assert_allclose(grown.merged, np.nanmean(relative, axis=0), atol=1e-6)
    several = grown.count > 1
    variance = np.nanvar(relative[:, several], axis=0).mean(axis=1)
    np.testing.assert_allclose(grown.disagreement[several], variance**0.5, rtol=1e-4)


@pytest.mark.parametrize("end", [".safetensors", ".parquet"])
def test_the_command_grows_an_atlas_from_file_to_file(files, tmp_path, capsys, end):
    save(tmp_path / f"x{end}", merged(files[:2]))
    out = tmp_path / "grown.safetensors"
    few = ["--batch-size", f"{BATCH}", "--out", str(out)]
    assert main(["add", str(tmp_path / f"x{end}"), str(files[2]), *few]) == 0
    text = capsys.readouterr().out
    assert "a new chart, 2: 24 samples, 3 of them new" in text
    assert "24 samples are in several charts, which disagree by" in text
    np.testing.assert_array_equal(load(out).merged, merged(files).merged)


def refused(capsys, folder, arguments, message):
    before = sorted(folder.iterdir())
    assert main([str(argument) for argument in arguments]) == 2
    assert message in capsys.readouterr().err
    assert sorted(folder.iterdir()) == before


def test_what_cannot_join_is_refused(files, tmp_path, capsys):
    path, other = tmp_path / "x.safetensors", tmp_path / "other.npz"
    save(path, merged(files[:1]))
    out = ["--out", tmp_path / "y.safetensors"]
    np.savez(other, id=ANCHORS[1:], x=np.eye(ANCHORS.size - 1))
    refused(capsys, tmp_path, ["add", path, other, *out], "1 anchors are not in")
    np.savez(other, id=ANCHORS.astype(str), x=np.eye(ANCHORS.size))
    refused(capsys, tmp_path, ["add", path, other, *out], "are different ids")
    refused(capsys, tmp_path, ["add", path, files[0], *out], "a chart joins once")
    over = ["--out", path]
    refused(capsys, tmp_path, ["add", path, files[1], *over], "would be written over")
    refused(capsys, tmp_path, ["add", path, files[1], *over], "To replace the input, ")


def test_nystroem_coordinates_are_not_added_to(files):
    with pytest.raises(
        ValueError, match=r"in Nystroem coordinates, .* merge all files"
    ):
        add_file(merged(files[:2], coordinates="nystroem"), files[2])


# In a process of its own: of one that had more before, the peak is not seen.
GROWS = """
import re
import numpy as np
from jatlas.files.recipe import AtlasFile, Recipe
from jatlas.files.sums import running_of

def peak():
    with open("/proc/self/status") as file:
        return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", file.read())[1])

rows = np.ones((2**18, 128), np.float32)  # 128 MiB
rows[:, 0] = np.arange(len(rows))
recipe = Recipe(np.arange(128), (np.ones((128, 2), np.float32),))
ids, count = np.arange(len(rows)), np.ones(len(rows), np.int32)
atlas = AtlasFile(ids, rows, count, np.full(len(rows), np.nan), recipe)
before = peak()
state = running_of(atlas, len(rows) + 10, in_place=True)
above = peak() - before
np.testing.assert_array_equal(state.merged[: 2**18, 0], ids)
assert (state.merged[: 2**18, 1:] == 1).all()
assert not state.merged[2**18 :].any()
assert atlas.merged.shape == (0, 128)
more = np.resize(count, 2**18 + 10), np.full(2**18 + 10, np.nan)
whole = AtlasFile(np.arange(2**18 + 10), state.merged, *more, recipe)
assert running_of(whole, 2**18 + 10, in_place=True).merged is state.merged
print(above)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak")
def test_an_atlas_grows_without_being_in_memory_twice():
    command = [sys.executable, "-c", GROWS]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) < 4 * 128 * 2**18 // 2
