"""Rows that are zero are refused, or left out where that is asked for."""

import re

import numpy as np
import pytest

from jatlas.cli.commands import main
from jatlas.files import (
    Reading,
    add_file,
    compare_files,
    evaluate_files,
    merge_files,
    merge_to_folder,
    project_file,
    translate_file,
)
from jatlas.files.formats.sources import batches
from jatlas.files.readers import open_embeddings, read_embeddings
from jatlas.merging.anchors import choose_anchors

N, A = 120, 16
DROP = {"reading": Reading(drop_invalid=True)}
KINDS = ["relative", "nystroem", "consensus", "procrustes"]


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Two charts of 120 samples; in b, as its encoder failed, ten rows are zero."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    first = rng.normal(size=(N, 5))
    second = first[:, 1:] + 0.1 * rng.normal(size=(N, 4))
    np.savez("whole.npz", id=np.arange(N), x=np.float32(second))
    zero = rng.permutation(N)[:10]
    second[zero] = 0
    for name, x in (("a", first), ("b", second)):
        np.savez(f"{name}.npz", id=np.arange(N), x=np.float32(x))
    return np.isin(np.arange(N), zero)


def options(kind):
    anchors = {"anchors": f"shared:{A}"} if kind in ("relative", "nystroem") else {}
    return {"coordinates": kind, "seed": 3, **anchors}


def refusal(zero):
    """What is said of file b."""
    rows = np.flatnonzero(zero).tolist()
    return (
        f"b.npz: only zeros in row {rows[0]}; rows {rows}, ids {rows}. Leave them out "
        "(Reading(drop_invalid=True), --drop-invalid): the samples are then absent."
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_merge_refuses_them_or_leaves_them_out(files, kind):
    pair, refused = ["a.npz", "b.npz"], re.escape(refusal(files))
    for merged in (merge_files, lambda *x, **y: merge_to_folder("atlas", *x, **y)):
        with pytest.raises(ValueError, match=refused):
            merged(pair, **options(kind))
    with pytest.raises(ValueError, match=refused):
        evaluate_files(pair, **options(kind))
    atlas = merge_files(pair, **DROP, **options(kind))
    np.testing.assert_array_equal(atlas.presence[:, 1], ~files)
    merge_to_folder("atlas", pair, **DROP, **options(kind))


@pytest.mark.parametrize("kind", ["relative", "consensus"])
def test_an_atlas_that_grows_refuses_them_too(files, kind):
    atlas = merge_files(["a.npz"], **options("relative"))
    if kind == "consensus":
        atlas = merge_files(["a.npz", "whole.npz"], **options(kind))
    refused = re.escape(refusal(files))
    chart = {"chart": "whole"} if kind == "consensus" else {}
    with pytest.raises(ValueError, match=refused):
        add_file(atlas, "b.npz")
    with pytest.raises(ValueError, match=refused):
        project_file(atlas.recipe, "b.npz", chart=chart.get("chart"))
    left = project_file(atlas.recipe, "b.npz", chart="whole", **DROP) if chart else None
    assert left is None or left.ids.tolist() == np.flatnonzero(~files).tolist()


def test_what_compares_and_translates_refuses_them_too(files):
    refused = re.escape(refusal(files))
    with pytest.raises(ValueError, match=refused):
        compare_files(["a.npz", "b.npz"], permutations=3)
    with pytest.raises(ValueError, match=refused):
        translate_file("b.npz", to="a.npz")
    assert translate_file("b.npz", to="a.npz", **DROP).ids.size == N - 10


@pytest.mark.parametrize(
    "command",
    [
        ["merge", "a.npz", "b.npz", "--out", "x.parquet"],
        ["merge", "a.npz", "b.npz", "--out", "x/"],
        ["evaluate", "a.npz", "b.npz", "--out", "x.json"],
        ["compare", "a.npz", "b.npz", "--measures", "cka-linear", "--out", "x.json"],
        ["add", "atlas.parquet", "b.npz", "--out", "x.parquet"],
        ["project", "atlas.parquet", "b.npz", "--out", "x.parquet"],
    ],
    ids=lambda command: " ".join(command[::4]),
)
def test_a_command_says_so_in_a_line_and_writes_nothing(
    files, tmp_path, capsys, command
):
    if "atlas.parquet" in command:
        assert (
            main(["merge", "a.npz", "--anchors", "shared:16", "--out", *command[1:2]])
            == 0
        )
        capsys.readouterr()
    before = sorted(tmp_path.rglob("*"))
    assert main(command) == 2
    assert capsys.readouterr().err == f"error: {refusal(files)}\n"
    assert sorted(tmp_path.rglob("*")) == before


def test_anchors_are_drawn_among_samples_that_are_left(files):
    pair, drawn = ["a.npz", "b.npz"], choose_anchors(3, ~files, A)
    atlas = merge_files(pair, **DROP, **options("relative"))
    np.testing.assert_array_equal(atlas.recipe.anchor_ids, drawn)
    with pytest.raises(
        ValueError, match="cannot choose 111 anchors from a pool of 110"
    ):
        merge_files(pair, anchors="shared:111", **DROP)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_that_float32_has_as_zero_are_zero(tmp_path, dtype):
    rows = np.full((6, 300), 1e-44, dtype)
    rows[1, 7:] = rows[2] = rows[4] = 0
    rows[3] = 1e30
    rows[4, 5] = 1e-46  # which is 0 in float32
    np.savez(tmp_path / "x.npz", id=np.arange(6), x=rows)
    source = open_embeddings(tmp_path / "x.npz")
    for read_as in (np.float32, np.float64):
        with pytest.raises(ValueError, match=r"only zeros in row 2; rows \[2, 4\]"):
            list(batches(source, 10, read_as))
    left = open_embeddings(tmp_path / "x.npz", **DROP)
    assert left.ids.tolist() == [0, 1, 3, 5]
    assert sum(len(x) for _, x in batches(left, 10)) == 4


def test_arrays_in_python_can_have_them(files):
    ids, rows = read_embeddings("b.npz")
    assert (~rows.any(axis=1)).tolist() == files[ids].tolist()
    assert len(read_embeddings("b.npz", **DROP)[0]) == N - 10
