import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jatlas.merging.nystroem import fit_nystroem
from jatlas.merging.relative import relativize
from jatlas.merging.transforms import (
    apply_transform,
    dropped_directions,
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
