"""Whitened CCA with weights is what it is called, and its folds choose sensibly."""

import numpy as np
import pytest

from experiments.two_encoders import cca, maps
from experiments.two_encoders.maps import Side


@pytest.fixture
def charts():
    """Three common factors in eight features of two charts, the rest noise."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(300, 3))
    return tuple(
        hidden @ rng.normal(size=(3, 8)) + 0.3 * rng.normal(size=(300, 8)) + 2
        for _ in range(2)
    )


def test_without_shrinkage_and_weights_it_is_cca(charts):
    first, second = cca.fit(*charts, 0.0, 0.0)
    rows = [
        (x - own.mean) @ own.scale
        for x, own in zip(charts, (first, second), strict=True)
    ]
    for x in rows:
        np.testing.assert_allclose(x.T @ x / len(x), np.eye(8), atol=1e-4)
    across = rows[0].T @ rows[1] / len(rows[0])
    roots = [np.linalg.qr(x - x.mean(axis=0))[0] for x in charts]
    known = np.linalg.svd(roots[0].T @ roots[1], compute_uv=False)
    np.testing.assert_allclose(across, np.diag(known), atol=1e-4)


def test_the_power_weights_coordinates_by_their_correlation(charts):
    plain, weighted = (cca.fit(*charts, 0.1, power)[0].scale for power in (0.0, 2.0))
    ratios = np.linalg.norm(weighted, axis=0) / np.linalg.norm(plain, axis=0)
    assert np.all(np.diff(ratios) <= 1e-6)
    assert ratios[0] > 0.8 > 0.2 > ratios[-1]


def test_what_folds_choose_finds_held_out_samples(charts):
    few = [x[:40] for x in charts]
    shrinkage, power = cca.choose(*few)
    assert (shrinkage, power) in cca.fit_all(*few)
    rest = [Side(x[:40], x[40:]) for x in charts]
    every = [cca.reciprocal_rank(*each) for each in maps.every_cca(*rest)]
    assert len(every) == 20
    chosen = cca.reciprocal_rank(*maps.whitened_cca(*rest))
    assert np.median(every) <= chosen <= max(every)


def test_the_reciprocal_rank_counts_ties_against_the_query():
    rows = np.float32([[1, 0], [0, 1], [1, 1]])
    assert cca.reciprocal_rank(rows, rows) == 1
    first = cca.reciprocal_rank(np.ones((3, 2)), np.ones((3, 2)))
    assert first == pytest.approx(1 / 3)
    swapped = rows[[1, 0, 2]]
    # Two samples in each other's place: the right row is the last of three.
    assert cca.reciprocal_rank(rows, swapped) == pytest.approx((1 / 3 + 1 / 3 + 1) / 3)
