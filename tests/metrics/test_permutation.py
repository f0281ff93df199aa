"""The permutation test against one in NumPy, and where it must not err."""

from functools import partial

import jax
import numpy as np
import pytest

from jatlas.metrics.alignment import cka
from jatlas.metrics.permutation import permutation_test


def first_features(x, y):
    return (x[:, 0] * y[:, 0]).sum()


def test_the_null_is_that_of_numpy_on_the_same_pairings():
    x, y = np.random.default_rng(0).normal(size=(2, 12, 2)).astype(np.float32)
    key = jax.random.key(3)
    found = permutation_test(key, first_features, x, y, permutations=9)
    places = np.arange(12)
    null = []
    for own in jax.random.split(key, 9):
        shuffled = np.asarray(jax.random.permutation(own, places))
        null.append((x[:, 0] * y[shuffled, 0]).sum())
    value = (x[:, 0] * y[:, 0]).sum()
    np.testing.assert_allclose(found.null, null, rtol=1e-5)
    np.testing.assert_allclose(found.value, value, rtol=1e-5)
    assert found.p_value == pytest.approx((1 + (np.array(null) >= value).sum()) / 10)


def test_unrelated_spaces_are_found_alike_no_more_often_than_is_said():
    test = jax.jit(
        jax.vmap(
            lambda key, x, y: (
                permutation_test(key, first_features, x, y, permutations=19).p_value
            )
        )
    )
    x, y = np.random.default_rng(1).normal(size=(2, 400, 8, 1))
    p = np.asarray(test(jax.random.split(jax.random.key(0), 400), x, y))
    assert p.min() == pytest.approx(0.05)
    # 400 draws of a uniform p: 4 standard deviations either way.
    assert abs((p <= 0.1).mean() - 0.1) < 4 * np.sqrt(0.09 / 400)
    assert abs((p <= 0.5).mean() - 0.5) < 4 * np.sqrt(0.25 / 400)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_where_all_pairings_are_alike_p_is_one(kernel):
    # One-hot rows: whichever stands beside which, the two spaces look the same.
    y = np.random.default_rng(0).normal(size=(30, 6)).astype(np.float32)
    x = np.eye(30, dtype=np.float32)
    statistic = partial(cka, kernel=kernel)
    for seed in range(3):
        key = jax.random.key(seed)
        found = permutation_test(key, statistic, x, y, permutations=49)
        assert found.p_value == 1


def test_rounding_alone_does_not_make_what_differs_a_tie():
    def statistic(x, y):
        return 1 + 1e-4 * first_features(x, y)

    x = np.random.default_rng(0).normal(size=(40, 1)).astype(np.float32)
    found = permutation_test(jax.random.key(0), statistic, x, x)
    assert found.p_value == pytest.approx(1 / 200)


def test_of_what_has_no_value_there_is_no_p():
    x = np.ones((12, 2), np.float32)
    x[3] = np.nan
    found = permutation_test(jax.random.key(0), first_features, x, x, permutations=9)
    assert np.isnan(found.p_value)


def test_what_is_no_pair_of_spaces_is_refused(unchecked):
    key, x = jax.random.key(0), np.ones((5, 2))
    with pytest.raises(ValueError, match="number of samples N of x and y"):
        permutation_test(key, first_features, x, x[:4])
    with pytest.raises(ValueError, match="permutations must be a whole number of 1"):
        permutation_test(key, first_features, x, x, permutations=0)


def masked_features(x, y, where):
    return jax.numpy.where(where, x[:, 0] * y[:, 0], 0).sum()


def test_only_samples_that_count_are_shuffled_among_each_other():
    x, y = np.random.default_rng(0).normal(size=(2, 12, 2)).astype(np.float32)
    where = np.arange(12) % 3 > 0
    x[~where], y[~where] = np.nan, np.nan
    key = jax.random.key(3)
    found = permutation_test(key, masked_features, x, y, permutations=9, where=where)
    counted = np.flatnonzero(where)
    null = []
    for each in jax.random.split(key, 9):
        order = np.asarray(jax.random.permutation(each, 12))
        shuffled = order[where[order]]
        null.append((x[counted, 0] * y[shuffled, 0]).sum())
    np.testing.assert_allclose(found.null, null, rtol=1e-5)
    value = (x[counted, 0] * y[counted, 0]).sum()
    assert found.value == pytest.approx(value, rel=1e-5)
    assert len(np.unique(found.null)) > 5
    none = np.zeros(12, bool)
    alone = permutation_test(key, masked_features, x, y, permutations=9, where=none)
    assert alone.p_value == 1
