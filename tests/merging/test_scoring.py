"""Scores of merges, and the choice of a consensus, by held-out linked samples."""

import jax.numpy as jnp
import numpy as np
import pytest

from jatlas.merging import choose_consensus, score_merge


def made(num_samples=60, width=6, noise=0.05):
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(num_samples, 4))
    charts = hidden @ rng.normal(size=(2, 4, width))
    charts = charts + noise * rng.normal(size=charts.shape)
    return np.float32(charts), np.ones((2, num_samples), bool)


def test_charts_in_one_space_find_each_other_and_noise_does_not():
    charts, both = made()
    same = score_merge(0, lambda x, p, w: [x[0], x[0]], charts, both)
    noise = np.float32(np.random.default_rng(1).normal(size=charts.shape))
    other = score_merge(0, lambda x, p, w: noise, charts, both)
    assert same.mean_reciprocal_rank[0, 1] == 1
    assert other.mean_reciprocal_rank[0, 1] < 0.6
    assert np.isnan(same.mean_reciprocal_rank[0, 0])
    assert same.queries[0, 1] == 60


def test_choosing_takes_a_setting_that_was_offered():
    charts, both = made()
    consensus, score = choose_consensus(
        0, charts, both, ridges=[0.3, 1.0], powers=[1.0], folds=2
    )
    assert any(np.isclose(float(consensus.ridge), x) for x in (0.3, 1))
    assert score.shape == (2, 2)
    assert score[0, 1] > 0.8


def test_the_other_order_of_bytes_changes_nothing():
    charts, both = made()
    options = {"ridges": [1.0], "powers": [1.0], "folds": 2}
    one, expected = choose_consensus(0, charts, both, **options)
    other, score = choose_consensus(0, list(charts.astype(">f4")), both, **options)
    np.testing.assert_array_equal(score, expected)
    np.testing.assert_array_equal(other.weights, one.weights)
    same = score_merge(0, lambda x, p, w: [x[0], x[0]], charts.astype(">f4"), both)
    assert same.mean_reciprocal_rank[0, 1] == 1


def test_bad_input_is_refused():
    charts, both = made()
    bad = charts.copy()
    bad[1, 3] = np.nan
    with pytest.raises(ValueError, match=r"chart 1 hold NaN.*\[3\]"):
        choose_consensus(0, bad, both)
    with pytest.raises(ValueError, match="unknown among"):
        choose_consensus(0, charts, jnp.asarray(both), among="none")
