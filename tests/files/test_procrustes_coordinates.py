"""Files merged in Procrustes coordinates, scored, saved, grown, projected."""

import numpy as np
import pytest

from jatlas.files.adding import add_file
from jatlas.files.kinds.evaluating import evaluate_files
from jatlas.files.merging import merge_files
from jatlas.files.projecting import project_file
from jatlas.files.storage import load, save
from jatlas.merging.consensus import merge_consensus
from jatlas.merging.translation.generalized import fit_procrustes

N = 160
HELD = {"a": np.r_[0:120], "b": np.r_[20:N], "c": np.r_[0:N]}
WIDTHS = {"a": 6, "b": 4, "c": 6}


def encode(name, noise=0.1):
    hidden = np.random.default_rng(3).normal(size=(N, 4)) * [2, 1.5, 1, 0.5]
    rng = np.random.default_rng(ord(name))
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0][:4, : WIDTHS[name]]
    x = 3 * hidden @ turn + 1
    return (x + noise * rng.normal(size=x.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("charts")
    for name, rows in HELD.items():
        np.savez(folder / f"{name}.npz", id=rows, x=encode(name)[rows])
    return [folder / f"{name}.npz" for name in HELD]


@pytest.fixture(scope="module")
def atlas(files):
    return merge_files(files[:2], coordinates="procrustes", batch_size=64)


def test_the_merge_is_that_of_the_arrays(atlas):
    presence = np.zeros((2, N), bool)
    for chart, name in zip(presence, "ab", strict=True):
        chart[HELD[name]] = True
    charts = [encode("a"), encode("b")]
    fit = fit_procrustes(charts, presence)
    expected = np.asarray(merge_consensus(fit, charts, presence))[atlas.ids]
    np.testing.assert_allclose(np.abs(atlas.merged), np.abs(expected), atol=1e-4)
    assert atlas.recipe.kind == "procrustes"
    for weights in atlas.recipe.consensus.weights:  # of four directions in both
        values = np.linalg.svd(weights, compute_uv=False)
        np.testing.assert_allclose(values, np.arange(values.size) < 4, atol=1e-5)


def test_it_comes_back_grows_and_projects(atlas, files, tmp_path):
    save(tmp_path / "x.safetensors", atlas)
    back = load(tmp_path / "x.safetensors")
    assert back.recipe.kind == "procrustes"
    np.testing.assert_array_equal(back.merged, atlas.merged)
    again = project_file(back.recipe, files[0], chart="a")
    alone = np.isin(atlas.ids, HELD["a"][:20])
    np.testing.assert_allclose(again.merged[:20], atlas.merged[alone], atol=1e-6)
    grown = add_file(back, files[2])
    turn = np.linalg.svd(grown.recipe.consensus.weights[2], compute_uv=False)
    np.testing.assert_allclose(turn[:4], 1, atol=1e-5)
    assert grown.recipe.kind == "procrustes"
    assert np.nanmax(grown.disagreement) < 0.3


@pytest.mark.slow
def test_it_is_scored(files):
    score = evaluate_files(files[:2], coordinates="procrustes")
    assert score.kinds == ("procrustes",)
    assert (
        score.scores[0].mean_reciprocal_rank[0, 1] > 10 * score.scores[0].chance[0, 1]
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"anchors": "shared:9"}, "procrustes coordinates are fitted on all samples"),
        ({"ridge": 1.0}, "--ridge: of consensus coordinates, and these are procrustes"),
        ({"whiten": True}, "procrustes coordinates center and scale every chart"),
        ({"features": 7}, "from 1 to 6, the smaller .* dimension of the widest chart"),
    ],
)
def test_options_of_other_kinds_are_refused(files, options, message):
    with pytest.raises(ValueError, match=message):
        merge_files(files[:2], coordinates="procrustes", **options)
