"""The commands on files: against the functions on arrays, and every way to go wrong."""

import os
import re
import shutil
import subprocess
import sys
from functools import partial
from importlib.metadata import entry_points

import jax
import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
from bad_files import BAD
from safetensors.numpy import load_file, save_file

from jatlas.cli import viewing
from jatlas.cli.commands import main
from jatlas.files import readers
from jatlas.files.adding import add_file
from jatlas.files.comparison import comparing
from jatlas.files.comparison import measures as comparing_measures
from jatlas.files.comparison.comparing import MEASURES, compare_files
from jatlas.files.formats import atlas_table
from jatlas.files.formats.atlas_tensors import recipe_writer
from jatlas.files.formats.whole import write_whole
from jatlas.files.merging import merge_files
from jatlas.files.projecting import project_file
from jatlas.files.readers import Reading, open_embeddings
from jatlas.files.storage import load, save
from jatlas.merging.anchors import choose_anchors
from jatlas.merging.assembly import anchor_rows, assemble
from jatlas.merging.product import merge
from jatlas.metrics.alignment import cka

N, A, BATCH = 40, 6, 16
WIDTHS = 5, 3, 5
HELD = slice(0, 30), slice(5, 35), slice(10, 40)
IDS = np.array([f"s{n:02d}" for n in np.random.default_rng(9).permutation(N)])
options = partial(dict, anchors=f"shared:{A}", batch_size=BATCH)


def spaces():
    """Three charts of one set of samples, none of which has all."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(N, 4))
    maps = [rng.normal(size=(4, width)) for width in WIDTHS]
    return [np.tanh(z @ w).astype(np.float32) for w in maps]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    a, b, c = ((IDS[held], x[held]) for held, x in zip(HELD, spaces(), strict=True))
    np.savez(folder / "a.npz", id=a[0], x=a[1])
    lists = arrow.FixedSizeListArray.from_arrays(b[1].ravel(), WIDTHS[1])
    table = arrow.table({"id": b[0], "x": lists})
    parquet.write_table(table, folder / "b.parquet", row_group_size=7)
    coded = np.array([name.encode() for name in c[0]]).view(np.uint8).reshape(-1, 3)
    save_file({"id": coded, "x": c[1]}, folder / "c.safetensors")
    np.savez(folder / "all_c.npz", id=IDS, x=spaces()[2])
    return folder


@pytest.fixture(scope="module")
def files(folder):
    return [folder / name for name in ("a.npz", "b.parquet", "c.safetensors")]


@pytest.fixture(scope="module")
def atlas(files):
    return merge_files(files, **options())


@pytest.fixture(scope="module")
def white(files):
    return merge_files(files, whiten=True, coordinates="nystroem", **options())


@pytest.fixture(scope="module")
def found():
    return assemble(
        [(IDS[held], x[held]) for held, x in zip(HELD, spaces(), strict=True)]
    )


def cosines(x, anchors):
    unit = [a / np.linalg.norm(a, axis=1, keepdims=True) for a in (x, anchors)]
    return unit[0] @ unit[1].T


def whitened(x):
    """Ledoit and Wolf's shrinkage by a half, and the symmetric root."""
    covariance = np.cov(x.T, bias=True)
    target = np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    return (x - x.mean(axis=0)) @ inverse_root(0.5 * covariance + 0.5 * target)


def inverse_root(matrix):
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return vectors / np.sqrt(values) @ vectors.T


def relative_to_anchors(found, atlas, change=lambda x: x):
    """(M, N, A) by NumPy, NaN of absent samples."""
    rows = anchor_rows(found, atlas.recipe.anchor_ids)
    relative = np.full((3, N, A), np.nan)
    for m, present in enumerate(found.presence):
        x = np.full(found.embeddings[m].shape, np.nan)
        x[present] = change(found.embeddings[m][present].astype(np.float64))
        relative[m, present] = cosines(x[present], x[rows])
    return relative, rows


def test_the_merge_of_files_is_that_of_arrays(atlas, found):
    rows = anchor_rows(found, atlas.recipe.anchor_ids)
    own = [x[rows] for x in found.embeddings]
    np.testing.assert_array_equal(atlas.ids, found.ids)
    np.testing.assert_array_equal(atlas.count, found.presence.sum(axis=0))
    wanted = merge(found.embeddings, own, found.presence)
    np.testing.assert_allclose(atlas.merged, wanted, atol=1e-6)
    pool = found.presence.all(axis=0)
    np.testing.assert_array_equal(rows, choose_anchors(0, pool, A))
    for ours, theirs in zip(atlas.recipe.anchors, own, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_disagreement_is_the_spread_of_the_charts(atlas, found):
    relative, _ = relative_to_anchors(found, atlas)
    several = found.presence.sum(axis=0) > 1
    variance = np.nanvar(relative[:, several], axis=0)
    spread = np.sqrt(variance.mean(axis=1))
    np.testing.assert_allclose(atlas.disagreement[several], spread, rtol=1e-4)
    assert np.isnan(atlas.disagreement[~several]).all()


def test_whitened_and_nystroem_are_those_of_numpy(white, found):
    relative, rows = relative_to_anchors(found, white, whitened)
    merged = np.nanmean(relative, axis=0)
    kernel = merged[rows]
    ridge = 1e-3 * np.trace(kernel) / A * np.eye(A)
    # Few samples are in all charts: each chart's rows of the anchors have a say.
    own = np.concatenate(relative[:, rows] + ridge)
    root = (kernel + ridge) @ inverse_root(kernel + ridge)
    wanted = merged @ np.linalg.lstsq(own, np.tile(root, (3, 1)))[0]
    np.testing.assert_allclose(white.merged, wanted, atol=1e-3)


@pytest.mark.parametrize("kind", ["atlas", "white"])
def test_new_samples_of_a_chart_are_where_the_merge_puts_them(
    files, folder, kind, request
):
    atlas = request.getfixturevalue(kind)
    project = partial(project_file, atlas.recipe, batch_size=BATCH)
    new = project(folder / "all_c.npz", chart="c")
    alone = np.flatnonzero((atlas.count == 1) & np.isin(atlas.ids, IDS[35:]))
    assert alone.size == 5
    where = [new.ids.tolist().index(name) for name in atlas.ids[alone]]
    np.testing.assert_array_equal(new.merged[where], atlas.merged[alone])
    # What chart by chart comes together is the mean of the projections.
    parts = [project(file, chart=m) for m, file in enumerate(files)]
    shared = IDS[20]
    rows = [part.merged[part.ids.tolist().index(shared)] for part in parts]
    row = atlas.merged[atlas.ids.tolist().index(shared)]
    np.testing.assert_allclose(np.mean(rows, axis=0), row, atol=1e-5)


def test_a_new_chart_with_the_anchors_joins_the_recipe(files, folder):
    recipe = merge_files(files[:2], **options()).recipe
    new = project_file(recipe, folder / "all_c.npz", chart=None, batch_size=BATCH)
    x = spaces()[2]
    rows = [IDS.tolist().index(name) for name in recipe.anchor_ids]
    np.testing.assert_allclose(new.merged, cosines(x, x[rows]), atol=1e-6)
    assert new.recipe.charts == ("a", "b", "all_c")
    path = folder / "all_c.npz"
    again = project_file(new.recipe, path, chart="all_c", batch_size=BATCH)
    np.testing.assert_array_equal(again.merged, new.merged)


def test_anchors_may_be_named_in_a_file(files, tmp_path):
    (tmp_path / "anchors.txt").write_text("\n".join(IDS[12:15]))
    spec = str(tmp_path / "anchors.txt")
    atlas = merge_files(files, anchors=spec, batch_size=BATCH)
    assert atlas.recipe.anchor_ids.tolist() == IDS[12:15].tolist()
    (tmp_path / "anchors.txt").write_text("\n".join([IDS[12], IDS[2], "who"]))
    with pytest.raises(ValueError, match=r"1 anchors are not in .*: \['who'\]") as one:
        merge_files(files[:1], anchors=spec)
    assert "anchors.txt" in str(one.value)
    with pytest.raises(
        ValueError, match=rf"2 anchors .*b.parquet: \['{IDS[2]}', 'who'"
    ):
        merge_files(files[1:], anchors=spec)


# The commands


def run(capsys, *arguments):
    """The exit code, and what was printed and said to be wrong."""
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("end", [".safetensors", ".parquet"])
def test_merge_project_and_view_from_file_to_file(
    atlas, files, folder, tmp_path, capsys, end
):
    out = tmp_path / f"atlas{end}"
    few = "--anchors", f"shared:{A}", "--batch-size", BATCH
    code, text, err = run(capsys, "merge", *files, "--ids", "id", *few, "--out", out)
    assert (code, err) == (0, "")
    assert "    1 b.parquet          30         3 float32 25 30 25" in text
    assert "40 samples in all, 20 of them in every chart; 6 anchors" in text
    again = load(out)
    for ours, theirs in zip(again[:4], atlas[:4], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert again.recipe.hashes == atlas.recipe.hashes
    new = tmp_path / f"new{end}"
    of_c = folder / "all_c.npz", "--chart", 2, "--out", new, "--batch-size", BATCH
    code, text, err = run(capsys, "project", out, *of_c)
    assert (code, err) == (0, "")
    assert "chart 2: 40 samples, 6 anchors among them" in text
    last = load(new).merged[35:]
    np.testing.assert_array_equal(last, atlas.merged[np.isin(atlas.ids, IDS[35:])])
    for viewer in viewing.EXPORTS:
        (tmp_path / viewer).mkdir()
        to = "--export", viewer, "--out", tmp_path / viewer
        assert run(capsys, "view", out, *to)[0] == 0


def test_other_tools_read_the_table(atlas, tmp_path):
    written = save(tmp_path / "atlas.parquet", atlas)
    assert [file.name for file in written] == [
        "atlas.recipe.safetensors",
        "atlas.parquet",
    ]
    table = parquet.read_table(tmp_path / "atlas.parquet")
    assert table.column("id").to_pylist() == atlas.ids.tolist()
    assert table.column("charts").to_pylist() == atlas.count.tolist()
    np.testing.assert_array_equal(table.column("atlas").to_pylist(), atlas.merged)
    anchors = load_file(tmp_path / "atlas.recipe.safetensors")["anchors.1"]
    np.testing.assert_array_equal(anchors, atlas.recipe.anchors[1])


def test_the_projectors_files_are_what_tensorboard_reads(atlas, tmp_path):
    odd = atlas.ids.astype(object)
    odd[0] = "a\tb\nc"
    atlas = atlas._replace(ids=odd.astype(str))
    viewing.export(atlas, "projector", tmp_path)
    x = np.loadtxt(tmp_path / "vectors.tsv", delimiter="\t")
    np.testing.assert_allclose(x, atlas.merged, atol=1e-5)
    lines = (tmp_path / "metadata.tsv").read_text().splitlines()
    assert lines[:2] == ["id\tcharts\tdisagreement", "a b c\t1\tnan"]
    assert len(lines) == 1 + N
    assert '"vectors.tsv"' in (tmp_path / "projector_config.pbtxt").read_text()


def test_the_table_of_embedding_atlas_has_its_vector(atlas, tmp_path):
    viewing.export(atlas, "embedding-atlas", tmp_path)
    table = parquet.read_table(tmp_path / "atlas.parquet")
    assert table.column_names == ["id", "vector", "charts", "disagreement"]
    np.testing.assert_array_equal(table.column("vector").to_pylist(), atlas.merged)


def test_a_viewer_is_opened_on_its_files(atlas, tmp_path, capsys, monkeypatch):
    save(tmp_path / "x.parquet", atlas)
    program = tmp_path / "tensorboard"
    program.write_text('#!/bin/sh\nls "$2" > "$(dirname "$0")/seen"\nexit 3\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert run(capsys, "view", tmp_path / "x.parquet")[0] == 3
    assert "projector_config.pbtxt" in (tmp_path / "seen").read_text()
    other = "--with", "embedding-atlas"
    code, _, err = run(capsys, "view", tmp_path / "x.parquet", *other)
    assert (code, err[:38]) == (2, "error: embedding-atlas is not installe")
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    code, _, err = run(capsys, "view", tmp_path / "x.parquet")
    assert code == 2
    assert "pip install 'jatlas[view]'" in err


@pytest.fixture
def cheap(monkeypatch):
    """A measure that is compiled for in no time, and must tell what is given to it."""
    measures = {"product": lambda x, y, k: product}
    monkeypatch.setattr(comparing, "MEASURES", measures)


def product(x, y):
    return (x[:, 0] * y[:, 0]).sum()


def test_compare_prints_the_measures_of_the_common_samples(files, capsys):
    quick = "--measures", "cka-linear", "--permutations", 19, "--neighbors", 3
    code, text, err = run(capsys, "compare", *files[:2], *quick)
    assert (code, err) == (0, "")
    x, y = (s[5:30] - s[5:30].mean(axis=0) for s in spaces()[:2])
    products = [np.linalg.norm(a.T @ b) for a, b in ((x, y), (x, x), (y, y))]
    first, head, row, last = text.splitlines()
    assert first == "25 samples in common, 25 of them compared"
    assert head.split() == ["measure", "value", "by", "chance", "p"]
    value = products[0] ** 2 / (products[1] * products[2])
    assert row.split()[:2] == ["cka-linear", f"{value:.3f}"]
    assert row.split()[3] == "0.050"
    assert last == "p: a permutation test of 19 random pairings"


@pytest.mark.parametrize("debiased", [False, True])
def test_cka_measures_are_asked_for_with_widths_found_once(debiased):
    x, y = (s[:20] for s in spaces()[::2])
    widths = []
    for rows in (x, y):
        distances = np.linalg.norm(rows[:, None] - rows, axis=2)
        distances = np.sort(distances[distances > 0])
        widths.append(distances[(distances.size - 1) // 2])
    end = "-debiased" if debiased else ""
    rbf = MEASURES[f"cka-rbf{end}"](*map(jax.numpy.asarray, (x, y)), 3)
    assert rbf.func is cka
    assert (rbf.keywords["kernel"], rbf.keywords["debiased"]) == ("rbf", debiased)
    np.testing.assert_allclose(rbf.keywords["sigma"], widths, rtol=1e-5)
    linear = MEASURES[f"cka-linear{end}"](x, y, 3)
    assert linear is cka or (linear.func, linear.keywords) == (cka, {"debiased": True})


def test_neighbours_are_those_by_cosine(monkeypatch):
    seen = []

    def recorded(x, y, k):
        seen.extend([x, y, k])
        return x[0, 0]

    monkeypatch.setattr(comparing_measures, "mutual_neighbors", recorded)
    x, y = (jax.numpy.asarray(s[:20]) for s in spaces()[::2])
    MEASURES["neighbors"](x, y, 3)(x, y)
    *units, k = seen
    assert k == 3
    for unit, rows in zip(units, (x, y), strict=True):
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        np.testing.assert_allclose(unit, rows / length, atol=1e-6)


@pytest.mark.usefixtures("cheap")
def test_the_value_is_of_the_rows_of_common_samples(files):
    quick = {"permutations": 3, "neighbors": 3}
    every = compare_files(files[:2], samples=25, **quick)
    x, y = (s[5:30].astype(np.float64) for s in spaces()[:2])
    assert (every.common, every.compared) == (25, 25)
    assert every.likenesses[0].value == pytest.approx(product(x, y), rel=1e-5)


@pytest.mark.usefixtures("cheap")
def test_a_saved_atlas_is_compared_by_some_of_its_samples(atlas, files, tmp_path):
    save(tmp_path / "x.safetensors", atlas)
    path = tmp_path / "x.safetensors"
    found = compare_files([path, files[0]], samples=9, permutations=3, neighbors=3)
    assert (found.common, found.compared) == (30, 9)
    assert load(path).ids.tolist() == atlas.ids.tolist()


# What goes wrong


def refused(capsys, folder, arguments, message):
    """Exit code 2, a line that says why, and no file more than before."""
    before = sorted(folder.iterdir())
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("write", [write for write, _ in BAD.values()], ids=BAD)
def test_a_bad_file_ends_the_merge_and_nothing_is_written(
    tmp_path, capsys, monkeypatch, write
):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path)
    out = "--anchors", "shared:2", "--out", tmp_path / "x.safetensors"
    refused(capsys, tmp_path, ["merge", path, *out], str(path))


def npz(path, ids, width=2, seed=0):
    x = np.random.default_rng(seed).normal(size=(len(ids), width))
    np.savez(path, id=ids, x=x)
    return path


@pytest.fixture
def pair(tmp_path):
    def make(first, second):
        return [npz(tmp_path / "p.npz", first), npz(tmp_path / "q.npz", second, seed=1)]

    return make


NUMBERS, TEXTS = np.arange(5), np.arange(5).astype(str)


@pytest.mark.parametrize("command", ["merge", "compare"])
@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (NUMBERS, TEXTS, '1 and "1" are different ids'),
        (NUMBERS, NUMBERS + 5, "[5, 6, 7]"),
        (TEXTS, np.array(["a", "b", "c", "d", "e"]), "['0', '1', '2']"),
    ],
    ids=["of two types", "not overlapping", "not overlapping text"],
)
def test_ids_that_do_not_meet(tmp_path, capsys, pair, command, first, second, message):
    out = ["--out", tmp_path / "x.parquet"] if command == "merge" else []
    refused(capsys, tmp_path, [command, *pair(first, second), *out], message)


def test_ids_of_two_types_are_converted_if_asked(pair):
    for id_type, first in (("text", "0"), ("integers", 0)):
        more = {"reading": Reading(id_type), "batch_size": BATCH}
        atlas = merge_files(pair(NUMBERS, TEXTS), anchors="shared:2", **more)
        assert atlas.ids[0] == first
        assert atlas.count.tolist() == [2] * 5


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--anchors", "shared:6"], "cannot choose 6 anchors from a pool of 5"),
        (["--anchors", "shared:0"], "cannot choose 0 anchors"),
        (["--anchors", "all"], "anchors are shared:NUMBER"),
        (["--anchors", "shared:2", "--batch-size", "0"], "batch_size must be"),
        (["--anchors", "shared:2", "--ids", "name"], "no ids 'name' in it"),
        (["--anchors", "shared:2", "--embeddings", "y"], "there is no 'y' in it"),
        (["--anchors", "shared:2", "--out", "x.csv"], "must end in .parquet or"),
        (
            ["--anchors", "shared:2", "--out", "p.npz/where.parquet"],
            "it is a file, and no folder",
        ),
    ],
)
def test_options_that_cannot_be(tmp_path, capsys, pair, monkeypatch, more, message):
    monkeypatch.chdir(tmp_path)
    files = pair(NUMBERS, NUMBERS)
    refused(capsys, tmp_path, ["merge", *files, "--out", "x.parquet", *more], message)


def test_an_input_is_not_written_over(tmp_path, capsys, recipe):
    new = npz(tmp_path / "new.npz", NUMBERS).rename(tmp_path / "x.parquet")
    few = "--anchors", "shared:2", "--out"
    for arguments in (
        ["merge", recipe, *few, recipe],
        ["project", recipe, new, "--out", new],
        [
            "project",
            recipe,
            new,
            "--out",
            tmp_path / ".." / tmp_path.name / recipe.name,
        ],
    ):
        refused(capsys, tmp_path, arguments, "would be written over")


def test_a_chart_joins_once(tmp_path, capsys, pair):
    file, _ = pair(NUMBERS, NUMBERS)
    arguments = ["merge", file, file, "--anchors", "shared:2", "--out"]
    refused(capsys, tmp_path, [*arguments, tmp_path / "x.parquet"], "given twice")
    (tmp_path / "link.npz").symlink_to(file)
    arguments[2] = tmp_path / "link.npz"
    refused(capsys, tmp_path, [*arguments, tmp_path / "x.parquet"], "given twice")
    shutil.copy(file, tmp_path / "copy.npz")
    arguments[2] = tmp_path / "copy.npz"
    same = "p.npz and " + str(tmp_path / "copy.npz are the same byte for byte")
    refused(capsys, tmp_path, [*arguments, tmp_path / "x.parquet"], same)


@pytest.mark.parametrize("command", ["project", "add"])
def test_a_chart_of_the_atlas_does_not_join_again(tmp_path, capsys, recipe, command):
    shutil.copy(tmp_path / "q.npz", tmp_path / "other.npz")
    arguments = [command, recipe, tmp_path / "other.npz", "--out"]
    message = "other.npz: it is chart 1 of the atlas, 'q', byte for byte"
    refused(capsys, tmp_path, [*arguments, tmp_path / "y.parquet"], message)


@pytest.fixture
def recipe(tmp_path, pair):
    files = pair(NUMBERS, NUMBERS)
    atlas = merge_files(files, anchors="shared:2", batch_size=BATCH)
    save(tmp_path / "x.safetensors", atlas)
    return tmp_path / "x.safetensors"


@pytest.mark.parametrize(
    ("ids", "width", "chart", "message"),
    [
        (NUMBERS, 3, ["--chart", 0], "have 3 dimensions, those of chart 0 2"),
        (NUMBERS, 2, ["--chart", 1], "2 anchors are not those of chart 1"),
        (NUMBERS, 2, ["--chart", 2], "no chart '2' in the recipe; it has 0 to 1"),
        (NUMBERS, 2, ["--chart", "r"], "no chart 'r' in the recipe"),
        (NUMBERS + 90, 2, [], "2 anchors are not in"),
        (TEXTS, 2, ["--chart", 0], '1 and "1" are different ids'),
    ],
)
def test_what_does_not_fit_the_recipe(
    tmp_path, capsys, recipe, ids, width, chart, message
):
    new = npz(tmp_path / "new.npz", ids, width, seed=5)
    arguments = ["project", recipe, new, *chart, "--out", tmp_path / "y.parquet"]
    refused(capsys, tmp_path, arguments, message)


def test_a_damaged_recipe_or_atlas(tmp_path, capsys, recipe):
    recipe.write_bytes(recipe.read_bytes()[:-8])
    new = npz(tmp_path / "new.npz", NUMBERS)
    out = "--out", tmp_path / "y.parquet"
    refused(
        capsys, tmp_path, ["project", recipe, new, *out], "x.safetensors: it is cut"
    )
    refused(capsys, tmp_path, ["view", recipe, "--with", "projector"], "it is cut off")


def test_a_table_without_its_recipe_is_no_atlas(tmp_path, capsys, files, atlas):
    save(tmp_path / "x.parquet", atlas)
    (tmp_path / "x.recipe.safetensors").unlink()
    path, out = tmp_path / "x.parquet", ["--out", tmp_path / "y.parquet"]
    message = "x.parquet: its recipe, x.recipe.safetensors, which must lie beside it"
    refused(capsys, tmp_path, ["view", path, "--with", "projector"], message)
    refused(capsys, tmp_path, ["project", path, files[0], *out], message)
    gone = tmp_path / "none.parquet"
    refused(capsys, tmp_path, ["project", gone, files[0], *out], f"'{gone}'")


def test_the_recipe_of_another_atlas_is_refused(tmp_path, capsys, files, atlas):
    save(tmp_path / "x.parquet", atlas)
    save(tmp_path / "y.parquet", atlas._replace(ids=atlas.ids[::-1]))
    path, beside = tmp_path / "x.parquet", tmp_path / "x.recipe.safetensors"
    shutil.copy(tmp_path / "y.recipe.safetensors", beside)
    message = f"{path}: {beside.name} is the recipe of another atlas"
    refused(capsys, tmp_path, ["view", path, "--with", "projector"], message)
    # One of the two without a digest is no pair either; neither with one is an old one.
    write_whole({beside: recipe_writer(atlas.recipe)})
    refused(capsys, tmp_path, ["add", path, files[0], "--out", "z.parquet"], message)
    write_whole({path: atlas_table.table_writer(atlas, "atlas")})
    again = load(path)
    np.testing.assert_array_equal(again.merged, atlas.merged)


def test_a_name_that_is_another_charts_number_is_refused(files, atlas):
    named = atlas.recipe._replace(charts=("2", "b", "c"))
    with pytest.raises(ValueError, match="'2' is the name of chart 0 and the number"):
        project_file(named, files[0], chart="2")
    new = project_file(named, files[2], chart=2, batch_size=BATCH)
    same = atlas.recipe._replace(charts=("a", "b", "2"))
    again = project_file(same, files[2], chart="2", batch_size=BATCH)
    np.testing.assert_array_equal(new.merged, again.merged)


def test_options_of_view_that_say_nothing(tmp_path, capsys, recipe):
    out = ["view", recipe, "--out", tmp_path]
    refused(capsys, tmp_path, out, "--out takes --export")
    both = [*out, "--export", "projector", "--with", "projector"]
    refused(capsys, tmp_path, both, "--with opens a viewer, --export only writes")


def test_a_viewer_that_is_stopped_by_hand_has_ended(capsys, recipe, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "run", stopped)
    monkeypatch.setattr(shutil, "which", lambda program: program)
    assert run(capsys, "view", recipe, "--with", "projector") == (0, "", "")


def test_more_neighbors_than_samples_are_refused_by_their_options(
    files, tmp_path, capsys
):
    few = ["--samples", 50, "--neighbors", 60]
    message = "samples (--samples) must be 62 at least for 60 neighbors (--neighbors)"
    refused(capsys, tmp_path, ["compare", *files[:2], *few], message)


def test_similarities_too_large_are_no_coordinates(tmp_path, capsys):
    path = tmp_path / "large.npz"
    np.savez(path, id=NUMBERS, x=np.full((5, 2), 3e38, np.float32))
    arguments = ["merge", path, "--anchors", "shared:2", "--similarity", "inner"]
    few = "--batch-size", BATCH, "--out", tmp_path / "x.parquet"
    refused(capsys, tmp_path, [*arguments, *few], "row 0 are too large for float32")


def test_large_similarities_have_a_disagreement(tmp_path):
    files = [tmp_path / "p.npz", tmp_path / "q.npz"]
    for path, scale in zip(files, (1e13, 2e13), strict=True):
        np.savez(path, id=NUMBERS, x=np.full((5, 2), scale, np.float32))
    few = {"anchors": "shared:2", "batch_size": BATCH}
    atlas = merge_files(files, similarity="inner", **few)
    np.testing.assert_allclose(atlas.disagreement, 3e26, rtol=1e-5)


def test_a_full_disk_leaves_nothing(tmp_path, capsys, pair, monkeypatch):
    files = pair(NUMBERS, NUMBERS)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    out = "--anchors", "shared:2", "--out", tmp_path / "x.parquet"
    full_disk = f"No space left on device: '{tmp_path / 'x.recipe.safetensors'}'"
    refused(capsys, tmp_path, ["merge", *files, *out], full_disk)


def test_stopped_by_hand_it_says_so(tmp_path, capsys, pair, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("jatlas.cli.commands.merge_files", stopped)
    files = pair(NUMBERS, NUMBERS)
    code, _, err = run(capsys, "merge", *files, "--out", tmp_path / "x.parquet")
    assert (code, err) == (130, "stopped; nothing was written\n")


def test_thin_overlap_is_warned_of(tmp_path):
    said = []
    paths = [npz(tmp_path / f"{k}.npz", np.arange(k * 48, k * 48 + 50)) for k in (0, 1)]
    merge_files(paths, anchors="shared:1", batch_size=BATCH, say=said.append)
    table, thin, few, score = said
    assert "98 samples in all, 2 of them in every chart; 1 anchors" in table
    assert "charts 0 and 1 share 2 samples, 4.0% of the smaller" in thin
    assert "1 anchors are fewer than the 2 dimensions" in few
    assert "no held-out score: fewer than 100 samples" in score


def test_rows_that_are_all_the_same_are_warned_of(tmp_path):
    flat = tmp_path / "flat.npz"
    np.savez(flat, id=NUMBERS, x=np.ones((5, 2)))
    merged, added, projected = [], [], []
    few = {"anchors": "shared:2", "batch_size": BATCH}
    both = merge_files(
        [npz(tmp_path / "p.npz", NUMBERS), flat], say=merged.append, **few
    )
    other = merge_files([tmp_path / "p.npz"], **few)
    add_file(other, flat, batch_size=BATCH, say=added.append)
    more = {"batch_size": BATCH, "say": projected.append}
    project_file(both.recipe, flat, chart="flat", **more)
    for texts in (merged, added, projected):
        assert f"{flat}: all of its rows are the same" in " ".join(texts)


def test_why_a_measure_is_nan_is_said(tmp_path, capsys):
    files = npz(tmp_path / "p.npz", NUMBERS), tmp_path / "flat.npz"
    np.savez(files[1], id=NUMBERS, x=np.ones((5, 2)))
    few = "--measures", "cka-linear", "--permutations", 3
    code, text, _ = run(capsys, "compare", *files, *few)
    why = f"cka-linear: nan, for all compared rows of {files[1]} are the same."
    assert (code, text.splitlines()[-2]) == (0, why)


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        (np.ones((5, 2)), "all compared rows of {} are the same"),
        (NUMBERS[:, None] + [[1.0]], "all compared rows of {} point in one direction"),
        (np.eye(5), "too little varies in one of the spaces"),
    ],
)
def test_what_does_not_vary_is_named(tmp_path, monkeypatch, x, reason):
    nan = {"nan": lambda x, y, k: lambda x, y: np.nan * x[0, 0]}
    monkeypatch.setattr(comparing, "MEASURES", nan)
    files = npz(tmp_path / "p.npz", NUMBERS), tmp_path / "q.npz"
    np.savez(files[1], id=NUMBERS, x=x)
    found = compare_files(files, permutations=3)
    assert found.reasons == (f"nan: nan, for {reason.format(files[1])}.",)


def test_no_file_is_read_whole(files, monkeypatch):
    sizes = []

    def opened(path, **reading):
        source = open_embeddings(path, **reading)
        rows = source.rows

        def batches(size):
            sizes.append(size)
            return rows.batches(size)

        return source._replace(rows=rows._replace(batches=batches, whole=None))

    monkeypatch.setattr(readers, "open_embeddings", opened)
    merge_files(files, whiten=True, **options())
    assert sizes == [BATCH] * 6


def test_progress_counts_every_row_twice(files):
    seen = []
    merge_files(
        files, progress=lambda done, total: seen.append((done, total)), **options()
    )
    assert seen[-1] == (180, 180)
    assert seen == sorted(seen)


def test_the_time_left_is_shown_on_a_terminal(files, tmp_path, capsys, monkeypatch):
    few = "--anchors", f"shared:{A}", "--batch-size", BATCH
    command = "merge", *files, *few, "--out", tmp_path / "x.safetensors"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    _, _, err = run(capsys, *command)
    assert re.search(r"\r +\d+%  0:\d\d left, \d+ of 180 rows, [\d.e+-]+ MB/s", err)
    assert err.endswith("\r")  # wiped out


def test_python_m_jatlas_runs(tmp_path):
    command = [sys.executable, "-m", "jatlas", "merge", "none.npz"]
    command += ["--out", "x.parquet"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "No such file or directory: 'none.npz'" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_installed_command_is_that_of_the_module(monkeypatch, capsys):
    (script,) = entry_points(group="console_scripts", name="jatlas")
    monkeypatch.setattr(sys, "argv", ["jatlas", "merge", "none.npz", "--out", "x"])
    assert script.load()() == 2
    assert "No such file or directory: 'none.npz'" in capsys.readouterr().err


def test_of_a_missing_file_the_nearest_name_is_shown(tmp_path, capsys):
    npz(tmp_path / "birds.npz", NUMBERS)
    for missing, words in {
        "bird.npz": "did you mean birds.npz?",
        "stars.vec": f"nor one like it in {tmp_path}",
        "none/x.npz": f"there is no folder {tmp_path / 'none'} either",
    }.items():
        out = "--out", str(tmp_path / "x.parquet")
        assert main(["merge", str(tmp_path / missing), *out]) == 2
        message = capsys.readouterr().err
        assert f"'{tmp_path / missing}'; {words}" in message
