"""Maps fitted in float64: NumPy's values, rounded; the same bits beside other work."""

import threading

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from sklearn.linear_model import RidgeCV

import jatlas
from experiments.measures import maps
from experiments.measures.nystroem import orthonormal
from jatlas.merging.translation.fitting import RIDGES

N, D = 400, 48
X = np.float32(np.random.default_rng(0).normal(size=(N, D)) * np.geomspace(1e-3, 1, D))


def root_of(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return (vectors / np.sqrt(values)) @ vectors.T


def whitened():
    covariance = np.cov(X.astype(np.float64).T, bias=True)
    target = 0.1 * np.trace(covariance) / D * np.eye(D)
    return maps.fit_whiten(X, shrinkage=0.1).scale, root_of(0.9 * covariance + target)


def orthonormalized():
    kernel = X[:D] @ X[:D].T
    wide = kernel.astype(np.float64)
    wanted = root_of((wide + wide.T) / 2 + 1e-3 * np.trace(wide) / D * np.eye(D))
    return maps.fit_nystroem(kernel).scale, wanted


@pytest.mark.parametrize("fit", [whitened, orthonormalized])
def test_a_map_is_that_of_numpy_to_the_last_digit(fit):
    scale, wanted = fit()
    assert scale.dtype == np.float32
    # Float32's own solver is off by 1e-5 and more of the largest.
    assert np.abs(scale - wanted).max() < 1e-7 * np.abs(wanted).max()


def test_where_and_dtypes_are_those_of_the_functions():
    where = np.arange(N) % 3 > 0
    holes = np.where(where[:, None], X, np.nan)
    got = maps.fit_whiten(jnp.asarray(holes), where=where, shrinkage=0.3)
    wanted = jatlas.fit_whiten(X[where], shrinkage=0.3)
    np.testing.assert_allclose(got.scale, wanted.scale, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(got.mean, wanted.mean, atol=1e-6)
    assert got.mean.dtype == got.scale.dtype == np.float32
    assert orthonormal(jnp.asarray(X[:, :9]), X[:9, :9] @ X[:9, :9].T).shape == (N, 9)


@pytest.mark.parametrize("fit", [whitened, orthonormalized])
def test_a_map_has_the_same_bits_while_other_work_runs(fit):
    alone, _ = fit()
    stop = threading.Event()

    def busy():
        x = np.random.default_rng(1).normal(size=(300, 300))
        while not stop.is_set():
            np.linalg.eigh(x @ x.T)

    beside = threading.Thread(target=busy)
    beside.start()
    try:
        for _ in range(20):
            np.testing.assert_array_equal(fit()[0], alone)
    finally:
        stop.set()
        beside.join()


@pytest.mark.parametrize("size", [30, 200])
def test_translations_are_those_of_scikit_learn_and_scipy(size):
    rng = np.random.default_rng(1)
    x = X[:size] / np.geomspace(1e-2, 1, D, dtype=np.float32) + 3
    y = np.float32(x @ rng.normal(size=(D, D)) + 2 * rng.normal(size=(size, D)))
    residual, target = (np.float64(s) - np.float64(s).mean(axis=0) for s in (x, y))
    alphas = np.array(RIDGES) * np.mean(np.sum(residual**2, axis=1))
    # With its intercept: rows that were centered before know the one that is left out.
    learned = RidgeCV(alphas).fit(np.float64(x), np.float64(y))
    assert alphas[0] < learned.alpha_ < alphas[-1]
    got = maps.fit_translation(x, y, "ridge")
    assert np.abs(got.scale.T - learned.coef_).max() < 1e-6 * abs(learned.coef_).max()
    turn, total = orthogonal_procrustes(residual, target)
    got = maps.fit_translation(x, y, "orthogonal")
    if size > D:
        factor = total / np.sum(residual**2)
        np.testing.assert_allclose(got.scale, factor * turn, atol=1e-6 * factor)
