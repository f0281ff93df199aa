"""Matrices of measures of many spaces, and the noise ceiling, against one at a time."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import rankdata

from jatlas import metrics
from jatlas.metrics import cka, compare_spaces, noise_ceiling
from jatlas.metrics.groups import spaces as groups

N = 30
PRESENCE = np.array([np.arange(N) % step != 0 for step in (2, 3, 5, 7)])


@pytest.fixture(scope="module")
def spaces():
    """Four spaces of two widths, NaN where a sample is absent."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(N, 5))
    made = [hidden @ rng.normal(size=(5, d)) for d in (6, 4, 6, 4)]
    made = [np.float32(x + rng.normal(size=x.shape)) for x in made]
    for x, has in zip(made, PRESENCE, strict=True):
        x[~has] = np.nan
    return made


def one_by_one(measure, first, second):
    """Of the rows that both have, without a mask."""
    return [
        [
            float(measure(x[both], y[both]))
            for y, has_y in zip(second, PRESENCE, strict=True)
            for both in [has_x & has_y]
        ]
        for x, has_x in zip(first, PRESENCE, strict=True)
    ]


def linear_cka(x, y):
    """In NumPy and float64."""
    x, y = (np.float64(s) - np.float64(s).mean(axis=0) for s in (x, y))
    norms = [np.linalg.norm(a.T @ b) for a, b in ((x, y), (x, x), (y, y))]
    return norms[0] ** 2 / (norms[1] * norms[2])


def slope(x, y, *, where, power=1):
    """A measure of no name, quick to compile, and not symmetric."""
    x, y = (jnp.where(where, z[:, 0], 0) for z in (x, y))
    return (x * y).sum() / (x * x).sum() ** power


def test_each_pair_is_measured_over_the_samples_that_both_have(spaces):
    values, counts = compare_spaces(
        spaces, PRESENCE, measures={"alike": cka, "slope": slope}
    )
    np.testing.assert_array_equal(counts, np.int64(PRESENCE) @ PRESENCE.T)
    assert list(values) == ["alike", "slope"]
    exact = one_by_one(linear_cka, spaces, spaces)
    np.testing.assert_allclose(values["alike"], exact, atol=2e-6)
    both_ways = one_by_one(
        lambda x, y: x[:, 0] @ y[:, 0] / (x[:, 0] @ x[:, 0]), spaces, spaces
    )
    np.testing.assert_allclose(values["slope"], both_ways, rtol=1e-5)
    assert abs(values["slope"] - values["slope"].T).max() > 0.01


def test_layers_of_two_models_are_rows_and_columns(spaces):
    layers = spaces[::2]
    values, counts = compare_spaces(
        layers, PRESENCE[::2], other=spaces, other_presence=PRESENCE
    )
    assert values["cka"].shape == counts.shape == (2, 4)
    exact = np.array(one_by_one(linear_cka, spaces, spaces))[::2]
    np.testing.assert_allclose(values["cka"], exact, atol=2e-6)


def test_too_few_common_samples_are_nan(spaces):
    apart = np.arange(N) < np.array([[15], [30], [30], [30]])
    apart[1] = ~apart[0]
    stacked = np.nan_to_num(np.stack(spaces[::2] * 2))
    values, counts = compare_spaces(stacked, apart, measures=["cka", "neighbors"])
    for matrix in values.values():
        assert np.isnan(matrix[0, 1])
        assert np.isfinite(np.delete(matrix, 1, axis=0)[:, [0, 2, 3]]).all()
    assert counts[0, 1] == 0


def test_pairs_of_the_same_widths_share_a_program(spaces):
    traced = []

    def measure(x, y, *, where):
        traced.append((x.shape[1], y.shape[1]))
        return slope(x, y, where=where)

    many = [np.nan_to_num(x) for x in spaces * 3]
    compare_spaces(many, measures={"one": measure})
    assert {*traced} == {(4, 4), (4, 6), (6, 4), (6, 6)}
    before = groups._of_pairs._cache_size()
    for name in ("one", "the same by another name"):
        compare_spaces(many[::2], measures={name: partial(slope, power=2)})
    assert groups._of_pairs._cache_size() == before + 1


@pytest.mark.parametrize("name", ["cka", "neighbors", "cknna"])
def test_all_samples_and_a_mask_of_all_are_the_same(name):
    stacked = np.random.default_rng(0).normal(size=(3, 20, 4)).astype(np.float32)
    values, counts = compare_spaces(stacked, measures=[name])
    everywhere = np.ones((3, 20), bool)
    masked = compare_spaces(stacked, everywhere, measures=[name])
    np.testing.assert_allclose(values[name], masked.values[name], atol=1e-6)
    np.testing.assert_array_equal(counts, masked.counts)
    both = compare_spaces(stacked, other=stacked[:2], other_presence=everywhere[:2])
    np.testing.assert_array_equal(both.counts, np.full((3, 2), 20))


def test_small_spaces_do_not_wait_for_what_is_around_the_measure(spaces):
    """Each operation of its own takes as long as a measure of small spaces."""
    whole = [np.nan_to_num(x) for x in spaces]
    for some, most in ((np.stack(whole[::2]), 3), (whole, 10)):
        made = jax.make_jaxpr(partial(compare_spaces, measures={"slope": slope}))(some)
        assert len(made.eqns) <= most


def test_memory_grows_as_for_one_pair(largest_array):
    stacked = np.random.default_rng(0).normal(size=(12, 60, 4)).astype(np.float32)
    size = largest_array(partial(compare_spaces, measures=["rsa"]), stacked)
    assert size < 12 * 60 * 60


@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_compared_is_refused(spaces):
    with pytest.raises(ValueError, match=r"spaces must be one space or more"):
        compare_spaces([])
    with pytest.raises(ValueError, match=r"no measures \['ckaa'\]; known are cka, "):
        compare_spaces(spaces, measures=["ckaa"])
    with pytest.raises(ValueError, match=r"presence must have the axes \(M, N\)"):
        compare_spaces(spaces, PRESENCE[:2])
    with pytest.raises(ValueError, match=r"samples N of spaces must be the same"):
        compare_spaces([spaces[0], spaces[0][:9]])
    with pytest.raises(ValueError, match=r"N of spaces and other must be the same"):
        compare_spaces(spaces, other=[spaces[0][:9]])
    with pytest.raises(ValueError, match=r"spaces\[0\] must be a matrix"):
        compare_spaces(spaces[0])


# ------------------------------------------------- the noise ceiling


def ceiling_reference(vectors):
    """Nili et al.: each with the mean of the others, and with that of all."""
    vectors = [v - v.mean() for v in vectors]
    vectors = np.array([v / np.linalg.norm(v) for v in vectors])
    others = [np.delete(vectors, m, axis=0).mean(axis=0) for m in range(len(vectors))]
    pairs = zip(vectors, others, strict=True)
    lower = np.mean([np.corrcoef(v, other)[0, 1] for v, other in pairs])
    upper = np.mean([np.corrcoef(v, vectors.mean(axis=0))[0, 1] for v in vectors])
    return lower, upper


@pytest.mark.parametrize(
    "method", ["pearson", pytest.param("spearman", marks=pytest.mark.slow)]
)
def test_the_ceiling_is_that_of_the_mean_dissimilarities(method):
    rng = np.random.default_rng(0)
    group = rng.normal(size=(N, 4)) + 0.7 * rng.normal(size=(5, N, 4))
    vectors = [pdist(x) for x in group]
    if method == "spearman":
        vectors = [rankdata(v) for v in vectors]
    measure = partial(metrics.rsa, dissimilarity="euclidean", method=method)
    stacked = np.float32(group)
    alike = compare_spaces(stacked, measures={"rsa": measure}).values["rsa"]
    lower, upper = noise_ceiling(alike)
    np.testing.assert_allclose((lower, upper), ceiling_reference(vectors), atol=2e-6)
    assert 0.3 < lower < upper < 1


@pytest.mark.usefixtures("unchecked")
def test_one_space_has_no_lower_bound():
    lower, upper = noise_ceiling(np.ones((1, 1), np.float32))
    assert np.isnan(lower)
    assert upper == 1
    with pytest.raises(ValueError, match="sides of similarities must be the same"):
        noise_ceiling(np.ones((2, 3), np.float32))


def test_one_program_serves_all_pairs_inside_of_jit_too():
    measured = partial(compare_spaces, measures={"slope": slope})
    sizes = [
        len(jax.jit(measured).lower(np.ones((m, 20, 4), np.float32)).as_text())
        for m in (3, 12)
    ]
    assert sizes[1] < 1.2 * sizes[0]
