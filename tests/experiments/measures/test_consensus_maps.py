"""Consensus maps made in float64: the library's, rounded."""

import jax
import jax.numpy as jnp
import numpy as np

import jatlas
from experiments.measures import maps

HIDDEN = np.random.default_rng(0).normal(size=(60, 3))
CHARTS = [
    np.float32(HIDDEN @ np.random.default_rng(m).normal(size=(3, width)))
    for m, width in enumerate((4, 5), start=1)
]
PRESENCE = np.random.default_rng(3).random((2, 60)) < 0.8


def exact(num_features):
    """In float64, with the options spelled out."""
    with jax.enable_x64(True):
        return jatlas.fit_consensus(
            [np.float64(x) for x in CHARTS],
            PRESENCE,
            num_features=num_features,
            ridge=1.0,
            agreement_power=1.0,
        )


def check(found, wanted):
    for got, right in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert got.dtype == np.float32
        got, right = np.float64(got), np.asarray(right)
        assert np.abs(got - right).max() < 1e-6 * max(1, np.abs(right).max())


def test_a_fit_is_that_in_float64_rounded():
    check(maps.fit_consensus(CHARTS, PRESENCE), exact(5))


def test_so_is_the_value_of_a_running_state():
    state = jatlas.running.consensus.empty([4, 5], dtype=jnp.float32)
    rows = [jnp.asarray(x) for x in CHARTS]
    state = jatlas.running.consensus.add(state, rows, PRESENCE)
    found = maps.consensus_of(state, 3)
    assert found.agreement.shape == (3,)
    # The order of the sums is another: close, and not to the last digit.
    for got, right in zip(
        jax.tree.leaves(found), jax.tree.leaves(exact(3)), strict=True
    ):
        np.testing.assert_allclose(got, np.asarray(right), atol=1e-4)
