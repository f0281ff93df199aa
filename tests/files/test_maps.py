"""Maps that the commands fit: those of NumPy in float64, and rows near their own."""

from functools import partial

import numpy as np
import pytest

from jatlas.files import maps
from jatlas.files.merging import merge_files
from jatlas.files.projecting import project_file

A, N = 64, 500


def heavy(n, d, factor):
    """Made-up embeddings, one feature of which outweighs all others."""
    x = np.random.default_rng(0).normal(size=(n, d))
    x[:, 0] *= factor
    return np.float32(x)


def root_of(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return (vectors / np.sqrt(values)) @ vectors.T


@pytest.mark.parametrize("shrinkage", [0.0, 0.1, 0.5])
def test_whitening_is_that_of_numpy_where_one_feature_outweighs_all(shrinkage):
    x = heavy(600, 128, 3000.0)
    fitted = maps.fit_whiten(x, shrinkage, np.float32)
    covariance = np.cov(x.astype(np.float64).T, bias=True)
    target = shrinkage * np.trace(covariance) / 128
    wanted = root_of((1 - shrinkage) * covariance + target * np.eye(128))
    assert fitted.dropped == 0
    np.testing.assert_allclose(fitted.transform.scale, wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(fitted.transform.mean, x.mean(0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_direction_that_is_only_rounding_of_the_file_is_dropped(dtype):
    x = heavy(300, 6, 1.0).astype(np.float64)
    x[:, 5] = x[:, 0] / 3  # but for what the file rounds
    x[:, 4] = 0.7  # constant
    rows = np.asarray(
        x.astype(dtype), np.float64 if dtype == np.float64 else np.float32
    )
    assert maps.fit_whiten(rows, 0.0, dtype).dropped == 2
    assert maps.fit_whiten(rows, 0.01, dtype).dropped == 0


def test_maps_are_those_of_the_functions():
    rng = np.random.default_rng(1)
    rows = [
        x / np.linalg.norm(x, axis=1, keepdims=True)
        for x in rng.normal(size=(2, 20, 9))
    ]
    kernels = [x @ x.T for x in rows]
    kernel = np.mean(kernels, axis=0)
    fitted = maps.fit_nystroem(kernel, kernels)
    ridged = kernel.astype(np.float64) + 1e-3 * np.trace(kernel) / 20 * np.eye(20)
    values, vectors = np.linalg.eigh(ridged)
    squares = np.mean(
        [(k + ridged - kernel) @ (k + ridged - kernel) for k in kernels], 0
    )
    wanted = np.linalg.solve(squares, (vectors * values**1.5) @ vectors.T)
    np.testing.assert_allclose(fitted.transform.scale, wanted, rtol=1e-4, atol=1e-4)
    one = maps.fit_nystroem(kernels[0], kernels[:1], ridge=0.0)
    assert one.dropped == 20 - 9  # of rank 9
    white = one.transform.scale @ kernels[0] @ one.transform.scale
    assert np.trace(white) == pytest.approx(9, abs=1e-3)


def test_directions_that_are_dropped_are_said(tmp_path):
    x = heavy(60, 6, 1.0)
    x[:, 2] = 0
    np.savez(tmp_path / "a.npz", id=np.arange(60), x=x)
    said = []
    merge = partial(merge_files, [tmp_path / "a.npz"], anchors="shared:8")
    merge(whiten=True, shrinkage=0.0, say=said.append)
    assert any("a.npz: the whitening drops 1 of its 6 directions" in s for s in said)
    said.clear()
    merge(whiten=True, say=said.append)
    assert not any("drops" in s for s in said)


# Queries of one chart, in an atlas whose samples are in every chart


def network(rng, width):
    inner = (
        rng.normal(size=(24, 2 * width)) / np.sqrt(24),
        rng.normal(size=2 * width) / 2,
    )
    outer = (
        rng.normal(size=(2 * width, width)) / np.sqrt(2 * width),
        rng.normal(size=width),
    )
    return lambda z: np.tanh(z @ inner[0] + inner[1]) @ outer[0] + 0.3 * outer[1]


@pytest.fixture(scope="module", params=[0.0, 1e7], ids=["centred", "far off"])
def world(request, tmp_path_factory):
    """Two encoders of 24 hidden factors: all samples in both, 200 queries in each."""
    folder, rng = tmp_path_factory.mktemp("maps"), np.random.default_rng(0)
    z = rng.normal(size=(N + 200, 24))
    files, queries = [], []
    for m, width in enumerate((128, 96)):
        x = network(rng, width)(z) + request.param
        for name, part in (("all", slice(N)), ("new", slice(N, None))):
            np.savez(folder / f"{name}{m}.npz", id=np.arange(N + 200)[part], x=x[part])
        files.append(folder / f"all{m}.npz")
        queries.append(folder / f"new{m}.npz")
    options = {"whiten": True} if request.param else {}
    atlas = merge_files(files, anchors=f"shared:{A}", coordinates="nystroem", **options)
    assert (atlas.count == 2).all()
    return atlas, queries


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_a_query_of_one_chart_is_near_the_whole_row_of_its_sample(world):
    atlas, queries = world
    rows = [
        project_file(atlas.recipe, q, chart=m).merged for m, q in enumerate(queries)
    ]
    whole = unit((rows[0] + rows[1]) / 2)
    for one in map(unit, rows):
        # With the map of the mean kernel .84 and .91, with that by chart .98 and .95.
        assert np.mean(np.sum(one * whole, axis=1)) > 0.93
    # Of the ten nearest, half are of the same chart if it does not matter.
    mixed = unit(np.concatenate([rows[0][:100], rows[1][100:]]))
    chart = np.repeat([0, 1], 100)
    near = mixed @ mixed.T - 9 * np.eye(200)
    nearest = np.argsort(-near, axis=1)[:, :10]
    # With the map of the mean kernel 1.00 and .72.
    assert 0.4 < np.mean(chart[nearest] == chart[:, None]) < 0.65
