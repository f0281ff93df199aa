"""The consensus of charts that joined one after another: order, bytes, width."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

import jatlas
from experiments.continual import consensus, growing

K = 50
HIDDEN = np.random.default_rng(0).normal(size=(K, 4))
PUBLIC = np.arange(K) % 2 == 0


def chart(number, width=6):
    rng = np.random.default_rng(number)
    rows = HIDDEN @ rng.normal(size=(4, width)) + 0.3 * rng.normal(size=(K, width))
    return jnp.asarray(rows, jnp.float32)


def test_it_is_fit_consensus_on_the_public_rows_applied_to_all():
    charts = [chart(1), chart(2), chart(3, width=5)]
    have = np.ones((3, PUBLIC.sum()), bool)
    fitted = jatlas.fit_consensus([x[PUBLIC] for x in charts], have, num_features=8)
    found = consensus.join(charts, PUBLIC, 8)
    expected = np.mean(
        [jatlas.apply_consensus(fitted, m, x) for m, x in enumerate(charts)], axis=0
    )
    np.testing.assert_allclose(found.merged, expected, atol=1e-4)
    np.testing.assert_allclose(found.consensus.agreement, fitted.agreement, atol=1e-5)
    # What the other samples hold has no part in the map.
    moved = [jnp.where(PUBLIC[:, None], x, 7.0) for x in charts]
    again = consensus.join(moved, PUBLIC, 8)
    np.testing.assert_array_equal(again.consensus.agreement, found.consensus.agreement)


def test_the_order_of_joining_changes_nothing():
    charts = [chart(number) for number in (1, 2, 3)]
    first = consensus.join(charts, PUBLIC, 5)
    for order in itertools.permutations(range(3)):
        found = consensus.join([charts[m] for m in order], PUBLIC, 5)
        np.testing.assert_allclose(found.merged, first.merged, atol=1e-4)
        for place, m in enumerate(order):
            np.testing.assert_allclose(
                found.consensus.weights[place], first.consensus.weights[m], atol=1e-4
            )


@pytest.mark.parametrize("num_charts", [1, 2, 4])
def test_the_state_grows_with_the_square_of_the_charts(num_charts):
    width, each = 6 * num_charts, 6
    found = consensus.join([chart(m) for m in range(num_charts)], PUBLIC, 10)
    numbers = num_charts + width + num_charts * each**2 + width**2
    numbers += num_charts * width + num_charts**2
    assert growing.size(found.state) == 4 * numbers
    assert found.merged.shape == (K, min(10, width))
    assert np.isfinite(found.merged).all()
