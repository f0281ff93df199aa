"""Derivatives of eigenvalues and eigenvectors, where eigenvalues coincide too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jatlas._src.spectra.roots import eigen

VALUES = {
    "apart": [4.0, 3.0, 2.0, 1.0, 0.5],
    "two alike": [4.0, 3.0, 3.0, 1.0, 0.5],
    "three alike and zero": [3.0, 3.0, 3.0, 0.0, 0.0],
    "all alike": [2.0] * 5,
    "zero": [0.0] * 5,
}
each = pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)


def symmetric(values, seed=0):
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(5, 5)))[0]
    return turn * values @ turn.T


def change(seed=1):
    x = np.random.default_rng(seed).normal(size=(5, 5))
    return x + x.T


def values_of(matrix):
    return eigen(matrix, 0.0)[0]


def pushed(function, matrix, direction):
    """The derivative, and that by finite differences."""
    with jax.enable_x64(True):
        function = jax.jit(function)
        _, slope = jax.jvp(function, (matrix,), (direction,))
        h = 1e-6
        both = function(matrix + h * direction), function(matrix - h * direction)
    return np.asarray(slope), (np.asarray(both[0]) - np.asarray(both[1])) / (2 * h)


@each
def test_it_is_the_eigendecomposition_largest_first(values):
    with jax.enable_x64(True):
        matrix = symmetric(values)
        got, roots = eigen(matrix, 0.5)
        np.testing.assert_allclose(got, sorted(values, reverse=True), atol=1e-14)
        np.testing.assert_allclose(roots @ roots.T, matrix, atol=1e-14)
        vectors = eigen(matrix, 0.0)[1]
        kept = np.diag(np.float64(np.sort(values)[::-1] > 0))
        np.testing.assert_allclose(vectors.T @ vectors, kept, atol=1e-14)
        lopsided = matrix + np.triu(np.ones((5, 5)), 1) - np.tril(np.ones((5, 5)), -1)
        np.testing.assert_allclose(eigen(lopsided, 0.0)[0], got, atol=1e-14)


def test_derivatives_of_eigenvalues():
    got, expected = pushed(values_of, symmetric(VALUES["apart"]), change())
    np.testing.assert_allclose(got, expected, atol=1e-8)


@each
def test_derivative_of_symmetric_functions_of_the_eigenvalues(values):
    got, expected = pushed(lambda x: values_of(x) ** 3, symmetric(values), change())
    np.testing.assert_allclose(got.sum(), expected.sum(), atol=1e-7)


@pytest.mark.parametrize(
    ("kind", "size"), [("apart", 2), ("two alike", 3), ("three alike and zero", 3)]
)
def test_derivative_of_the_projector_on_a_space(kind, size):
    """Eigenvalues within the space may coincide; how its basis turns does not count."""

    def projector(x):
        vectors = eigen(x, 0.0)[1][:, :size]
        return vectors @ vectors.T

    got, expected = pushed(projector, symmetric(VALUES[kind]), change())
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(got, expected, atol=1e-8)


@each
def test_derivative_of_a_function_of_the_matrix(values):
    """V w^3 V' depends on no basis: eigenvalues that coincide may mix."""

    def cube(x):
        columns = eigen(x, 1.5)[1]
        return columns @ columns.T

    matrix, direction = symmetric(values), change()
    got, _ = pushed(cube, matrix, direction)
    expected = (
        direction @ matrix @ matrix
        + matrix @ direction @ matrix
        + matrix @ matrix @ direction
    )
    np.testing.assert_allclose(got, expected, atol=1e-10)


@each
def test_derivative_by_the_power(values):
    def trace(power):
        return jnp.sum(eigen(symmetric(values), power)[1] ** 2)

    with jax.enable_x64(True):
        slope = jax.grad(trace)(1.5)
    kept = np.array([w for w in values if w > 0])
    np.testing.assert_allclose(slope, np.sum(2 * np.log(kept) * kept**3), atol=1e-10)


@each
def test_gradients_of_anything_are_finite(values):
    def loss(x):
        w, v = eigen(x, 0.5)
        return jnp.sum(jnp.sin(w)) + jnp.sum(jnp.sin(v))

    for dtype in (np.float32, np.float64):
        with jax.enable_x64(dtype == np.float64):
            gradient = jax.jit(jax.grad(loss))(np.asarray(symmetric(values), dtype))
        assert np.isfinite(gradient).all()
        np.testing.assert_allclose(gradient, gradient.T, atol=1e-3)


def test_a_nan_is_nan_everywhere():
    values, vectors = eigen(jnp.full((3, 3), jnp.nan), 0.5)
    assert np.isnan(values).all()
    assert np.isnan(vectors).all()
