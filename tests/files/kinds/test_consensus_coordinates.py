"""Consensus coordinates of files: against NumPy, on disk, and as they grow."""

from shutil import copy

import consensus_files as made
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from consensus_files import IDS, N

import jatlas
from jatlas.cli.commands import main
from jatlas.files.adding import add_file
from jatlas.files.kinds import linked_rows
from jatlas.files.merging import merge_files
from jatlas.files.projecting import project_file
from jatlas.files.readers import read_embeddings
from jatlas.files.storage import load, load_recipe, save

FEW = {"coordinates": "consensus", "ridge": 0.5, "power": 2.0, "batch_size": 16}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return made.write(tmp_path_factory.mktemp("charts"))


@pytest.fixture(scope="module")
def atlas(files):
    return merge_files(files, **FEW)


def order(atlas):
    """Where the samples stand among all, by number."""
    return np.array([int(name[3:]) for name in atlas.ids.tolist()])


def test_the_merge_is_the_definition_without_a_sample_in_all_files(atlas):
    rows = made.mapped(made.consensus(0.5, 2.0, 6))
    wanted = np.nanmean(rows, axis=0)[order(atlas)]
    signs = np.sign(np.sum(wanted * atlas.merged, axis=0))
    assert atlas.merged.shape == (N, 6)
    np.testing.assert_allclose(atlas.merged, wanted * signs, atol=1e-6)
    presence = ~np.isnan(rows[:, order(atlas), 0]).T
    np.testing.assert_array_equal(atlas.presence, presence)
    np.testing.assert_array_equal(atlas.count, presence.sum(axis=1))
    several = atlas.count > 1
    spread = np.nanvar(rows[:, order(atlas)][:, several], axis=0).mean(axis=1) ** 0.5
    np.testing.assert_allclose(atlas.disagreement[several], spread, atol=1e-6)
    maps = atlas.recipe.consensus
    assert (maps.ridge, maps.power) == (0.5, 2.0)
    assert (np.diff(maps.agreement) <= 0).all()
    assert 0 < maps.agreement.min() <= maps.agreement.max() < 1


def test_the_maps_of_a_recipe_go_into_functions_of_arrays(files, atlas, tmp_path):
    save(tmp_path / "atlas.safetensors", atlas)
    maps = load_recipe(tmp_path / "atlas.safetensors").consensus.as_consensus()
    assert float(maps.ridge) == 0.5
    assert float(maps.agreement_power) == 2.0
    spaces = jatlas.assemble([read_embeddings(path) for path in files])
    merged = jax.jit(jatlas.merge_consensus)(maps, spaces.embeddings, spaces.presence)
    places = [spaces.ids.tolist().index(name) for name in atlas.ids.tolist()]
    np.testing.assert_allclose(merged[np.array(places)], atlas.merged, atol=1e-5)
    alone = spaces.presence.sum(axis=0) == 1
    assert alone.any()
    for chart in np.flatnonzero(spaces.presence[:, alone].any(axis=1)).tolist():
        rows = jatlas.apply_consensus(
            maps, chart, jnp.asarray(spaces.embeddings[chart])
        )
        mine = alone & spaces.presence[chart]
        np.testing.assert_allclose(rows[mine], merged[mine], atol=1e-5)


def test_files_without_common_ids_are_refused_with_ids_and_a_reason(tmp_path):
    rows = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    names = np.array([f"doc {n}" for n in range(30)])
    paths = [tmp_path / "one.npz", tmp_path / "other.npz"]
    np.savez(paths[0], ids=names, embeddings=rows)
    np.savez(paths[1], ids=np.strings.add(names, " "), embeddings=rows)
    with pytest.raises(ValueError, match="fewer than 2 linked samples") as refused:
        merge_files(paths, coordinates="consensus")
    message = str(refused.value)
    assert "one.npz has ['doc 0', 'doc 1', 'doc 2']" in message
    assert "other.npz has ['doc 0 ', " in message
    assert "60 ids differ by blanks at their ends" in message
    assert message.count("doc 0") == 4


def test_rows_may_lie_in_a_temporary_file(files, atlas, monkeypatch):
    monkeypatch.setattr(linked_rows, "_IN_MEMORY", 0)
    monkeypatch.setattr(linked_rows, "_AT_ONCE", 7)
    again = merge_files(files[::-1], **FEW)
    places = [again.ids.tolist().index(name) for name in atlas.ids.tolist()]
    np.testing.assert_allclose(
        np.abs(again.merged[places]), np.abs(atlas.merged), atol=1e-6
    )


@pytest.mark.parametrize("end", [".safetensors", ".parquet"])
def test_files_hold_what_projecting_needs(atlas, files, tmp_path, end):
    save(tmp_path / f"x{end}", atlas)
    again = load(tmp_path / f"x{end}")
    for ours, theirs in zip(
        (*again[:4], again[5]), (*atlas[:4], atlas[5]), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    new = project_file(again.recipe, files[2], chart="c", batch_size=16)
    alone = np.flatnonzero(atlas.count == 1)
    alone = alone[atlas.presence[alone, 2]]
    places = [new.ids.tolist().index(name) for name in atlas.ids[alone].tolist()]
    np.testing.assert_array_equal(new.merged[places], atlas.merged[alone])


def test_a_new_chart_is_mapped_by_ridge_regression(atlas, tmp_path):
    rows = np.random.default_rng(1).permutation(np.r_[30:110])
    path = made.put(tmp_path / "d.npz", "d", rows)
    grown = add_file(atlas, path, batch_size=16)
    x = made.encode("d", np.arange(N)).astype(np.float64)
    merged = np.empty((N, 6))
    merged[order(atlas)] = atlas.merged
    shared = np.sort(rows)
    residual = x[shared] - x[shared].mean(axis=0)
    scale = np.sqrt(np.mean(np.sum(residual**2, axis=1)))
    side = residual / scale
    matrix = np.linalg.solve(side.T @ side + 0.5 * np.eye(5), side.T @ merged[shared])
    of_d = (x - x[shared].mean(axis=0)) / scale @ matrix
    count = np.empty(N)
    count[order(atlas)] = atlas.count
    held = np.isin(np.arange(N), rows)
    wanted = np.where(
        held[:, None], (merged * count[:, None] + of_d) / (count[:, None] + 1), merged
    )
    np.testing.assert_allclose(grown.merged, wanted[order(grown)], atol=1e-6)
    np.testing.assert_array_equal(grown.presence[:, 3], held[order(grown)])
    assert grown.recipe.charts == ("a", "b", "c", "d")
    again = project_file(grown.recipe, path, chart="d", batch_size=16)
    np.testing.assert_allclose(again.merged, of_d[rows], atol=1e-6)
    save(tmp_path / "grown.parquet", grown)
    np.testing.assert_array_equal(load(tmp_path / "grown.parquet").merged, grown.merged)


def test_samples_of_a_known_chart_are_appended(atlas, files, tmp_path):
    path = made.put(tmp_path / "next.npz", "c", np.r_[40:80])
    grown = add_file(atlas, path, chart="c", batch_size=16)
    direct = project_file(atlas.recipe, path, chart="c", batch_size=16)
    here = {name: n for n, name in enumerate(grown.ids.tolist())}
    before = {name: n for n, name in enumerate(atlas.ids.tolist())}
    for n, name in enumerate(IDS[40:80].tolist()):
        old = atlas.merged[before[name]]
        if n < 20:  # that c did not have
            count = atlas.count[before[name]]
            old = (old * count + direct.merged[n]) / (count + 1)
            assert grown.count[here[name]] == count + 1
        np.testing.assert_allclose(grown.merged[here[name]], old, atol=1e-6)
    assert grown.presence[:, 2].sum() == 80
    lines = []
    add_file(atlas, path, chart="c", batch_size=16, say=lines.append)
    assert lines[-1].startswith(
        "chart 2: 40 samples, 0 of them new, 20 in the atlas by other charts alone, "
        "and now at the mean with this one, 20 in it by this chart, and left as they "
    )
    with pytest.raises(ValueError, match="all of its samples are in the atlas already"):
        add_file(grown, path, chart="c", batch_size=16)


def refused(capsys, folder, arguments, message):
    before = sorted(folder.iterdir())
    assert main([str(argument) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err
    assert sorted(folder.iterdir()) == before
    return out


def test_what_cannot_join_is_refused(atlas, tmp_path, capsys):
    save(tmp_path / "x.safetensors", atlas)
    few = made.put(tmp_path / "few.npz", "d", np.r_[0:10])
    same = made.put(tmp_path / "more_c.npz", "c", np.r_[50:110])
    other = made.put(tmp_path / "other.npz", "d", np.r_[50:110])
    x, to = tmp_path / "x.safetensors", ["--out", tmp_path / "y.safetensors"]
    refused(capsys, tmp_path, ["add", x, few, *to], "it shares 10 samples with the")
    twice = "those of chart 2 of the atlas, 'c': it is of the same encoder"
    refused(capsys, tmp_path, ["add", x, same, *to], twice)
    refused(capsys, tmp_path, ["project", x, other, *to], "join it with add")
    wrong = ["add", x, other, "--chart", "a", *to]
    refused(capsys, tmp_path, wrong, "samples that it is known by are not those of")
    unknown = ["add", x, other, "--chart", "z", *to]
    refused(capsys, tmp_path, unknown, "there is no chart 'z'")


def test_a_mistyped_chart_is_answered_with_the_nearest(files, tmp_path):
    named = [copy(file, tmp_path / f"model_{file.name}") for file in files]
    known = merge_files(named, coordinates="consensus", ridge=0.5, power=1.0)
    path = made.put(tmp_path / "next.npz", "c", np.r_[40:80])
    with pytest.raises(ValueError, match="did you mean 'model_c'") as error:
        add_file(known, path, chart="modelc")
    assert "A chart has the name of the file or folder that it" in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--coordinates", "consensus", "--anchors", "shared:3"], "take no anchors"),
        (
            ["--coordinates", "consensus", "--whiten"],
            "leave --similarity, --center and",
        ),
        (["--coordinates", "relative", "--ridge", "1"], "--ridge: of consensus"),
        (["--coordinates", "consensus", "--ridge", "0"], "a finite number above 0"),
        (["--coordinates", "consensus", "--power", "-1"], "a finite number from 0"),
        (["--coordinates", "consensus", "--features", "99"], "must be from 1 to 15"),
        (["--center"], "auto tries centered"),
        (["--coordinates", "relative"], "--coordinates consensus"),
        (["--coordinates", "nystroem"], "--coordinates consensus"),
    ],
)
def test_options_that_cannot_be(files, tmp_path, capsys, options, message):
    out = ["--out", tmp_path / "x.parquet"]
    refused(capsys, tmp_path, ["merge", *files, *options, *out], message)


def test_files_that_nothing_joins_are_named(files, tmp_path, capsys):
    pair = [files[0], files[2]]
    out = ["--coordinates", "consensus", "--out", tmp_path / "x.parquet"]
    message = f"linked samples, samples that another chart has too: {files[0]} has 0"
    refused(capsys, tmp_path, ["merge", *pair, *out], message)
    paths = []
    for name, held in zip("abcd", (0, 0, 60, 60), strict=True):
        paths.append(made.put(tmp_path / f"{name}.npz", name, np.r_[held : held + 40]))
    message = f"['{paths[0]}', '{paths[1]}']; ['{paths[2]}', '{paths[3]}']"
    refused(capsys, tmp_path, ["merge", *paths, *out], message)


def test_one_encoder_twice_is_refused(tmp_path):
    paths = [made.put(tmp_path / "a.npz", "a", np.r_[0:60])]
    paths.append(made.put(tmp_path / "more_a.npz", "a", np.r_[20:100]))
    with pytest.raises(
        ValueError, match=r"more_a.npz: its embeddings of common .* are"
    ):
        merge_files(paths, **FEW)


def test_a_chart_that_is_all_the_same_is_refused(files, tmp_path):
    np.savez(tmp_path / "flat.npz", id=IDS, x=np.ones((N, 3), np.float32))
    with pytest.raises(ValueError, match=r"flat.npz: all of its rows of samples"):
        merge_files([files[1], tmp_path / "flat.npz"], **FEW)


def test_a_mean_far_from_zero_changes_nothing(tmp_path):
    for name, far in (("near", 0.0), ("far", 1e7)):
        (tmp_path / name).mkdir()
        for chart in "ab":
            x = made.encode(chart, made.HELD[chart]).astype(np.float64) + far
            np.savez(tmp_path / name / f"{chart}.npz", id=IDS[made.HELD[chart]], x=x)
    near, far = (
        merge_files([tmp_path / name / f"{chart}.npz" for chart in "ab"], **FEW)
        for name in ("near", "far")
    )
    np.testing.assert_allclose(np.abs(far.merged), np.abs(near.merged), atol=1e-6)
