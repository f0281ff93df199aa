import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jatlas.merging.nystroem import fit_nystroem
from jatlas.merging.product import merge
from jatlas.merging.relative import relativize
from jatlas.merging.transforms import (
    apply_transform,
    dropped_directions,
    fit_center,
    fit_standardize,
    fit_whiten,
)


def draw(shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def test_nystroem_coordinates_have_the_inner_products_of_the_kernel():
    x, anchors = draw((30, 4)), draw((6, 4), 1)
    kernel = relativize(anchors, anchors)
    transform = fit_nystroem(kernel, ridge=0.0)
    # Rank 4 in 6 anchors: singular, and the approximation is exact.
    own = np.asarray(apply_transform(transform, kernel), np.float64)
    np.testing.assert_allclose(own @ own.T, kernel, atol=1e-4)
    rows = np.asarray(apply_transform(transform, relativize(x, anchors)), np.float64)
    np.testing.assert_allclose(rows @ rows.T, relativize(x, x), atol=1e-4)


def test_nystroem_does_not_mind_an_anchor_named_twice():
    x, anchors = draw((30, 8)), draw((5, 8), 1)
    twice = np.concatenate([anchors, anchors[:2]])

    def inner(anchors):
        transform = fit_nystroem(relativize(anchors, anchors), ridge=0.0)
        rows = np.asarray(apply_transform(transform, relativize(x, anchors)))
        return rows @ rows.T

    np.testing.assert_allclose(inner(twice), inner(anchors), atol=1e-4)
    gradient = jax.grad(lambda a: fit_nystroem(relativize(a, a)).scale.sum())(twice)
    assert np.isfinite(gradient).all()


def test_ridge_is_a_share_of_the_mean_eigenvalue():
    kernel = 7 * np.diag([1.0, 2.0, 3.0]).astype(np.float32)
    expected = np.diag((7 * (np.array([1.0, 2.0, 3.0]) + 0.5 * 2.0)) ** -0.5)
    np.testing.assert_allclose(
        fit_nystroem(kernel, ridge=0.5).scale, expected, atol=1e-6
    )
    assert np.isnan(fit_nystroem(kernel, ridge=-0.5).scale).all()


def test_nystroem_takes_the_symmetric_part_and_maps_negative_eigenvalues_to_zero():
    kernel = np.array([[1.0, 2.0], [0.0, 1.0]], np.float32)  # symmetric part: all 1
    expected = np.full((2, 2), 0.5 * 2**-0.5)
    np.testing.assert_allclose(
        fit_nystroem(kernel, ridge=0.0).scale, expected, atol=1e-6
    )
    indefinite = np.diag([4.0, -1.0]).astype(np.float32)
    got = fit_nystroem(indefinite, ridge=0.0).scale
    np.testing.assert_allclose(got, [[0.5, 0], [0, 0]], atol=1e-6)


def near(num, width, seed=0):
    """Directions with a mean cosine near .9, of a falling spectrum."""
    x = draw((num, width), seed, np.float64) * np.geomspace(1, 0.03, width)
    x += 3 * np.sqrt(np.mean(np.sum(x**2, axis=1))) * np.eye(width)[0]
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def power(matrix, exponent):
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.maximum(values, 1e-300) ** exponent @ vectors.T


def test_directions_of_anchors_that_lie_close_are_kept():
    anchors, x = near(512, 256), near(50, 256, 1)
    kernel, rows, exact = anchors @ anchors.T, x @ anchors.T, x @ x.T
    assert 0.85 < kernel.mean() < 0.95
    ridge = 1e-3 * np.trace(kernel) / 512 * np.eye(512)
    best = rows @ power(kernel + ridge, -1) @ rows.T
    transform = fit_nystroem(np.float32(kernel))
    got = np.asarray(apply_transform(transform, np.float32(rows)), np.float64)
    error, least = np.abs(got @ got.T - exact).max(), np.abs(best - exact).max()
    assert error <= 1.1 * least
    assert dropped_directions(transform) == 0


def test_dropped_directions_are_counted():
    anchors = draw((6, 4))
    kernel = relativize(anchors, anchors)
    assert dropped_directions(fit_nystroem(kernel, ridge=0.0)) == 2
    assert dropped_directions(fit_nystroem(kernel)) == 0


# From several charts


def kernels(num_charts=3, num=12):
    charts = draw((num_charts, num, 9), 5, np.float64) + draw((num, 9), 6, np.float64)
    charts /= np.linalg.norm(charts, axis=2, keepdims=True)
    return charts @ charts.mT


@pytest.mark.parametrize("ridge", [1e-3, 0.3])
def test_by_chart_is_the_least_squares_map_to_the_anchors_coordinates(ridge):
    own = kernels()
    kernel = own.mean(axis=0)
    added = ridge * np.trace(kernel) / 12 * np.eye(12)
    # Every chart's rows of the anchors, one under the other, and what they shall be.
    rows = np.concatenate(own + added)
    wanted = np.tile(power(kernel + added, 0.5), (3, 1))
    expected = np.linalg.lstsq(rows, wanted)[0]
    got = fit_nystroem(np.float32(kernel), by_chart=np.float32(own), ridge=ridge)
    atol = 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(got.scale, expected, atol=atol)


@pytest.mark.parametrize("ridge", [0.0, 1e-3, 0.3])
def test_by_chart_is_as_without_where_the_charts_agree(ridge):
    kernel = np.float32(kernels()[0])
    alone = fit_nystroem(kernel, ridge=ridge)
    agreed = fit_nystroem(kernel, by_chart=np.stack([kernel] * 3), ridge=ridge)
    atol = 1e-3 * np.abs(alone.scale).max()
    np.testing.assert_allclose(agreed.scale, alone.scale, atol=atol)


def test_derivative_by_the_charts_is_that_of_finite_differences():
    with jax.enable_x64(True):

        def scale(own):
            return fit_nystroem(own.mean(axis=0), by_chart=own).scale

        check_grads(scale, (jnp.asarray(kernels(2, 5)),), order=1, rtol=1e-4)


# Neighbours are not chosen by chart


OLD, BOTH, NEW, QUERIES, ANCHORS = 900, 100, 200, 60, 64


def encoder(rng, factors, width):
    """A random network of two layers, and noise."""
    first = rng.normal(size=(24, 64)) / np.sqrt(24)
    second = rng.normal(size=(64, width)) / 8
    out = np.tanh(1.5 * factors @ first) @ second
    return out + 0.3 * out.std() * rng.normal(size=out.shape)


def change_of_model(seed):
    """Two charts of 24 hidden factors, their presence, and queries by the new one.

    Few samples are in both. Each query is an old sample as the new encoder sees it.
    """
    rng = np.random.default_rng(seed)
    num = OLD + BOTH + NEW
    factors = rng.normal(size=(num, 24))
    wanted = rng.choice(OLD, QUERIES, replace=False)
    old = encoder(rng, factors, 384)
    new = encoder(rng, np.concatenate([factors, factors[wanted]]), 768)
    place = np.arange(num)
    presence = np.stack([place < OLD + BOTH, place >= OLD])
    anchors = OLD + rng.choice(BOTH, ANCHORS, replace=False)
    return (np.float32(old), np.float32(new)), presence, anchors, wanted


def found(seed, fit=None, nystroem=""):
    """Mean reciprocal rank of what queries look for, and the share of their chart.

    The share: how many of the ten nearest are in the queries' chart only.
    """
    (old, new), presence, anchors, wanted = change_of_model(seed)
    num = presence.shape[1]
    spaces = [old, new]
    if fit is not None:
        fitted = [
            fit(x[:num], where=own) for x, own in zip(spaces, presence, strict=True)
        ]
        pairs = zip(fitted, spaces, strict=True)
        spaces = [apply_transform(own, x) for own, x in pairs]
    of_anchors = [x[anchors] for x in spaces]
    rows = merge([x[:num] for x in spaces], of_anchors, presence)
    queries = relativize(spaces[1][num:], of_anchors[1])
    if nystroem:
        by_chart = jnp.stack([relativize(x, x) for x in of_anchors])
        options = {"by_chart": by_chart} if nystroem == "by chart" else {}
        transform = fit_nystroem(rows[anchors], **options)
        rows, queries = (apply_transform(transform, x) for x in (rows, queries))
    cosines = np.asarray(relativize(queries, rows))
    right = cosines[np.arange(QUERIES), wanted]
    rank = 1 + np.sum(cosines > right[:, None], axis=1)
    nearest = np.argsort(-cosines, axis=1)[:, :10]
    return np.mean(1 / rank), np.mean(nearest >= OLD + BOTH)


KINDS = {
    "plain": (),
    "centered": (fit_center,),
    "standardized": (fit_standardize,),
    "whitened": (fit_whiten,),
    "Nystroem": (None, "by chart"),
    "centered, Nystroem": (fit_center, "by chart"),
    "standardized, Nystroem": (fit_standardize, "by chart"),
    "whitened, Nystroem": (fit_whiten, "by chart"),
}


@pytest.fixture(scope="module")
def mixed():
    """By kind of coordinates: rank and share, the means of two draws."""
    return {
        kind: np.mean([found(seed, *how) for seed in range(2)], axis=0)
        for kind, how in {**KINDS, "mean kernel": (None, "mean kernel")}.items()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_are_not_chosen_by_chart(mixed, kind):
    rank, share = mixed[kind]
    plain_rank, plain_share = mixed["plain"]
    # A sixth would be fair, and all that coordinates leave of the gap is more.
    assert share <= plain_share + 1e-6 <= 0.7
    assert rank >= plain_rank - 1e-6 >= 0.2


def test_by_chart_finds_what_the_mean_kernel_hides(mixed):
    assert mixed["Nystroem"][0] > 0.8
    assert mixed["Nystroem"][1] < 0.45
    # Why `by_chart` is there: as the map was before.
    assert mixed["mean kernel"][0] < mixed["plain"][0] / 2
    assert mixed["mean kernel"][1] > mixed["plain"][1] + 0.3


# What is refused


@pytest.mark.usefixtures("unchecked")
def test_nystroem_refuses_what_is_not_square():
    with pytest.raises(
        ValueError, match=r"two sides .* got \[3, 2\]. Give the rows of"
    ):
        fit_nystroem(np.ones((3, 2), np.float32))
    with pytest.raises(ValueError, match="anchor_relative must be floating point"):
        fit_nystroem(np.ones((3, 3), int))
    kernel = np.eye(3, dtype=np.float32)
    with pytest.raises(ValueError, match=r"number of axes of by_chart.*\(M, A, A\)"):
        fit_nystroem(kernel, by_chart=kernel)
    with pytest.raises(ValueError, match="every chart's relative representation"):
        fit_nystroem(kernel, by_chart=np.ones((2, 4, 4), np.float32))
    with pytest.raises(ValueError, match="by_chart must be floating point"):
        fit_nystroem(kernel, by_chart=np.ones((2, 3, 3), int))
