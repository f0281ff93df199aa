"""Consensus coordinates beside cca-zoo's generalised CCA, for a ridge near 0."""

import jax
import numpy as np
import pytest
from cca_zoo.linear import GCCA

from jatlas import apply_consensus, fit_consensus

N, K = 60, 3


@pytest.mark.parametrize("widths", [(4, 4, 4), (3, 6, 5)], ids=str)
def test_with_a_ridge_near_zero_it_is_gcca(widths):
    """With full presence each chart's scores are the same, up to a scale and signs."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(N, 3)) * [3, 2, 1]
    charts = [
        hidden @ rng.normal(size=(3, d)) + 0.5 * rng.normal(size=(N, d)) for d in widths
    ]
    theirs = GCCA(K).fit(charts)
    options = {"num_features": K, "ridge": 1e-9, "agreement_power": 0.0}
    with jax.enable_x64(True):
        consensus = fit_consensus(charts, np.ones((3, N), bool), **options)
        scores = [
            np.asarray(apply_consensus(consensus, m, x)) for m, x in enumerate(charts)
        ]
    expected = np.vstack(theirs.transform(charts))
    # Their shared coordinates have variance 1, ours a length of M^(-1/2).
    got = np.vstack(scores) * np.sqrt(3 * (N - 1))
    got *= np.sign(np.sum(got * expected, axis=0))
    np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())

    # Pair of charts by pair of charts: the same correlations along each coordinate.
    for one, other in ((0, 1), (1, 2)):
        for k in range(K):
            ours = np.corrcoef(scores[one][:, k], scores[other][:, k])[0, 1]
            pair = [theirs.transform(charts)[m][:, k] for m in (one, other)]
            np.testing.assert_allclose(ours, np.corrcoef(*pair)[0, 1], atol=1e-6)
