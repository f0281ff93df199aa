import re
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jatlas.metrics.neighborhoods.neighbors import mutual_neighbors
from jatlas.metrics.self_similarity import (
    CORRELATIONS,
    self_similarity_correlation,
)

ALL = np.ones(40, bool)
SIMILARITIES = ("inner", "euclidean")
few = settings(max_examples=15, deadline=None)


# ------------------------------------------------- the definitions, in NumPy float64


def ranks(row):
    return np.array([np.sum(row < v) + (np.sum(row == v) - 1) / 2 for v in row])


def correlation_reference(x, y, method):
    self_similarities = []
    for space in (x, y):
        unit = np.float64(space)
        unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
        self_similarities.append(unit @ unit.T)
    values = []
    for a, b in zip(*self_similarities, strict=True):
        if method == "spearman":
            a, b = ranks(a), ranks(b)
        if method != "cosine":
            a, b = a - a.mean(), b - b.mean()
        values.append(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    return np.mean(values)


def neighbors_reference(x, y, k, similarity="inner"):
    sets = []
    for space in (np.float64(x), np.float64(y)):
        far = -space @ space.T
        if similarity == "euclidean":
            far = np.sum((space[:, None] - space) ** 2, axis=-1)
        np.fill_diagonal(far, np.inf)
        sets.append([set(row[:k]) for row in np.argsort(far, axis=1, kind="stable")])
    return np.mean([len(a & b) / k for a, b in zip(*sets, strict=True)])


# ------------------------------------------------- spaces, and ours compiled once


def pair(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(40, 6))
    return np.float32(x), np.float32(x[:, :4] + rng.normal(size=(40, 4)))


@cache
def correlation(method):
    form = partial(self_similarity_correlation, method=method)
    return jax.jit(jax.value_and_grad(lambda x, y, w: form(x, y, where=w), (0, 1)))


def correlation_of(x, y, method="pearson", where=ALL):
    return float(correlation(method)(x, y, where)[0])


def neighbors_of(x, y, where=ALL, similarity="inner"):
    return float(mutual_neighbors(x, y, 5, where=where, similarity=similarity))


def turned(x, seed, scale, shift=0.0):
    width = x.shape[1]
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))[0]
    return np.float32((x + shift) @ turn * scale)


# ------------------------------------------------- self-similarity


@pytest.mark.parametrize("method", CORRELATIONS)
def test_self_similarity_correlation_is_its_definition(method):
    x, y = pair()
    exact = correlation_reference(x, y, method)
    assert correlation_of(x, y, method) == pytest.approx(exact, abs=2e-6)
    assert exact < 0.95
    # Ties: rows of few values, many cosines equal.
    ties = np.float32(np.sign(x))
    exact = correlation_reference(ties, y, "cosine")
    assert correlation_of(ties, y, "cosine") == pytest.approx(exact, abs=2e-6)


@pytest.mark.parametrize("method", ["pearson", "cosine"])
def test_self_similarity_of_more_features_than_samples_is_its_definition(method):
    x, y = (np.tile(space, (1, 6)) for space in pair())
    x[:, 6:] *= np.linspace(0, 1, 30, dtype=np.float32)
    assert x.shape[1] + y.shape[1] > 40
    exact = correlation_reference(x, y, method)
    value = self_similarity_correlation(x, y, method=method)
    assert float(value) == pytest.approx(exact, abs=2e-6)


def test_self_similarity_of_rows_that_are_far_from_the_origin():
    # All cosines near 1: they differ by 5e-3, then by 1e-12, which float32 has not.
    x, y = pair()
    value = correlation_of(x + 20, y)
    assert value == pytest.approx(correlation_reference(x + 20, y, "pearson"), abs=1e-4)
    assert np.isnan(correlation_of(x + np.float32(1e6), y))


def test_tied_ranks_are_shared():
    x = np.float32([[1, 0], [1, 0], [0, 1], [1, 1]])
    y = np.float32([[1, 0], [0, 1], [-1, 0], [3, 4]])
    value = self_similarity_correlation(x, y, method="spearman")
    exact = correlation_reference(x, y, "spearman")
    assert float(value) == pytest.approx(exact, abs=1e-6)


def test_ranks_are_shared_by_what_differs_by_rounding():
    y = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    exact = correlation_reference(np.eye(30), y, "spearman")
    moved = 3.3 * np.eye(30, dtype=np.float32) + 7
    value = self_similarity_correlation(moved, y, method="spearman")
    assert float(value) == pytest.approx(exact, abs=1e-6)
    smoothed = 0.9 * np.eye(30, dtype=np.float32) + 0.1 / 30
    value = self_similarity_correlation(smoothed, y, method="spearman")
    assert float(value) == pytest.approx(exact, abs=1e-6)


@few
@given(
    st.integers(0, 2**16), st.floats(-18, 18), st.sampled_from(["pearson", "cosine"])
)
def test_self_similarity_does_not_change_when_rotated_or_rescaled(
    seed, exponent, method
):
    x, y = pair(seed)
    other = turned(x, seed + 1, 10**exponent)
    before, after = correlation_of(x, y, method), correlation_of(other, y, method)
    assert after == pytest.approx(before, abs=5e-6)
    lengths = np.float32(np.random.default_rng(seed).uniform(0.1, 10, (40, 1)))
    after = correlation_of(x * lengths, y, method)
    assert after == pytest.approx(before, abs=5e-6)


def test_self_similarity_changes_when_a_space_is_moved_or_a_feature_rescaled():
    x, y = pair()
    for other in (x + 2, x * np.float32([9, 1, 1, 1, 1, 1])):
        assert abs(correlation_of(other, y) - correlation_of(x, y)) > 0.05


@pytest.mark.parametrize("method", CORRELATIONS)
def test_self_similarity_masked_equals_dropped(method):
    x, y = pair()
    kept = np.arange(40) % 3 != 0
    exact = correlation_reference(x[kept], y[kept], method)
    for garbage in (np.nan, np.inf, 0.0):
        masked = [np.where(kept[:, None], s, np.float32(garbage)) for s in (x, y)]
        value, grads = correlation(method)(*masked, kept)
        assert float(value) == pytest.approx(exact, abs=2e-6)
        for grad in grads:
            assert np.all(np.isfinite(grad))
            assert not np.any(grad[~kept])
            assert np.any(grad[kept]) == (method != "spearman")


@pytest.mark.parametrize("method", CORRELATIONS)
def test_self_similarity_is_nan_where_undefined_and_its_gradient_finite(method):
    x, y = pair()
    n = np.arange(40)
    zero, copies, constant = x.copy(), np.full_like(x, 0.1), x.copy()
    zero[3], constant[:, 1] = 0, 0.3
    centered = method != "cosine"
    cases = {
        "a zero row": (zero, y, ALL, False),
        "a masked zero row": (zero, y, n != 3, True),
        "copies of one": (copies, y, ALL, not centered),
        "some copies": (x[n // 3], y[n // 3], ALL, True),
        "constant feature": (constant, y, ALL, True),
        "one sample": (x, y, n == 3, not centered),
        "two samples": (x, y, n < 2, True),
        "no samples": (x, y, n < 0, False),
    }
    for name, (a, b, where, defined) in cases.items():
        value, grads = correlation(method)(a, b, where)
        assert bool(np.isfinite(value)) == defined, name
        assert all(np.all(np.isfinite(grad)) for grad in grads), name


# ------------------------------------------------- neighbours


def test_mutual_neighbors_of_published_data():
    # Kornblith et al.'s notebook data; mutual 10-NN by other libraries' code, which
    # take the inner product (raw, by Euclidean distance, it would be 0.2890).
    rng = np.random.RandomState(1337)
    x = rng.randn(100, 10)
    y = rng.randn(100, 10) + x
    unit = [s / np.linalg.norm(s, axis=1, keepdims=True) for s in (x, y)]
    x, y = np.float32(x), np.float32(y)
    assert float(mutual_neighbors(x, y, 10)) == pytest.approx(0.3070, abs=1e-6)
    for similarity in SIMILARITIES:
        value = mutual_neighbors(*map(np.float32, unit), 10, similarity=similarity)
        assert float(value) == pytest.approx(0.2790, abs=1e-6)


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_mutual_neighbors_are_their_definition(similarity):
    for seed in range(3):
        x, y = pair(seed)
        exact = neighbors_reference(x, y, 5, similarity)
        value = neighbors_of(x, y, similarity=similarity)
        assert value == pytest.approx(exact, abs=1e-6)
        assert 5 / 39 < exact < 0.9
    assert neighbors_of(x, x[:, ::-1], similarity=similarity) == 1
    assert float(mutual_neighbors(x, y, 39, similarity=similarity)) == 1


@few
@given(
    st.integers(0, 2**16),
    st.floats(-18, 18),
    st.floats(-3, 3),
    st.sampled_from(SIMILARITIES),
)
def test_mutual_neighbors_do_not_change_when_rotated_or_scaled(
    seed, exponent, shift, similarity
):
    x, y = pair(seed)
    shift = shift if similarity == "euclidean" else 0
    other = turned(x, seed + 1, 10**exponent, shift)
    before, after = (neighbors_of(s, y, similarity=similarity) for s in (x, other))
    # Two neighbours that are equally near but for rounding may change places.
    assert after == pytest.approx(before, abs=0.011)


def test_mutual_neighbors_change_when_moved_or_a_feature_is_rescaled():
    x, y = pair()
    assert abs(neighbors_of(x + 3, y) - neighbors_of(x, y)) > 0.05
    for similarity in SIMILARITIES:
        spaces = x, x * np.float32([1, 1, 1, 1, 30, 30])
        values = [neighbors_of(s, y, similarity=similarity) for s in spaces]
        assert abs(values[0] - values[1]) > 0.05


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_mutual_neighbors_masked_equal_dropped(similarity):
    x, y = pair()
    kept = np.arange(40) % 3 != 0
    exact = neighbors_reference(x[kept], y[kept], 5, similarity)
    for garbage in (np.nan, np.inf, 0.0):
        masked = [np.where(kept[:, None], s, np.float32(garbage)) for s in (x, y)]
        value = neighbors_of(*masked, where=kept, similarity=similarity)
        assert value == pytest.approx(exact, abs=1e-6)


def test_mutual_neighbors_of_nan_or_of_too_few_rows_is_nan():
    x, y = pair()
    form = jax.jit(lambda x, y, where: mutual_neighbors(x, y, 5, where=where))
    assert np.isnan(form(x, y, np.arange(40) < 5))
    assert float(form(x, y, np.arange(40) < 6)) == 1
    for bad in (np.nan, np.inf):
        x[3, 2] = bad
        assert np.isnan(form(x, y, ALL))
        assert np.isfinite(form(x, y, np.arange(40) != 3))


def test_equally_near_neighbours_are_taken_by_index():
    x = np.float32([[0], [1], [-1], [1], [9]])
    y = np.float32([[0], [1], [5], [1], [-9]])
    # Of sample 0, samples 1, 2 and 3 are as near in x, 1 and 3 in y: 1 is taken.
    for a, b, k in ((x, y, 1), (y, x, 1), (x, -x, 2)):
        value = mutual_neighbors(a, b, k, similarity="euclidean")
        exact = neighbors_reference(a, b, k, "euclidean")
        assert float(value) == pytest.approx(exact, abs=1e-6)
    assert neighbors_reference(x, -x, 2, "euclidean") == 1


@pytest.mark.slow
def test_pairs_work_under_vmap_grad_and_in_other_dtypes(largest_array):
    forms = [self_similarity_correlation, partial(mutual_neighbors, k=5)]
    x, y = (np.stack(s) for s in zip(*map(pair, range(3)), strict=True))
    for form in forms:
        exact = [float(form(a, b)) for a, b in zip(x, y, strict=True)]
        np.testing.assert_allclose(jax.vmap(form)(x, y), exact, atol=1e-6)
        half = jnp.asarray(x[0], jnp.bfloat16), jnp.asarray(y[0], jnp.bfloat16)
        assert form(*half).dtype == jnp.float32
        same = form(*map(np.float32, half))
        assert float(form(*half)) == pytest.approx(float(same), abs=1e-6)
        with jax.enable_x64(True):
            value = form(np.float64(x[0]), np.float64(y[0]))
            assert value.dtype == jnp.float64
            assert float(value) == pytest.approx(exact[0], abs=1e-6)
    assert not np.any(jax.grad(forms[1])(x[0], y[0]))


def test_self_similarity_and_neighbours_form_no_n_by_n_array(largest_array):
    x, y = (np.tile(s, (25, 1)) for s in pair())
    assert largest_array(self_similarity_correlation, x, y) == x.size
    assert largest_array(partial(mutual_neighbors, k=5), x, y) < 1000**2 / 2
    ranks = partial(self_similarity_correlation, method="spearman")
    assert largest_array(ranks, x, y) < 1000**2 / 2


@pytest.mark.slow
def test_more_samples_than_are_looked_at_at_once_change_nothing():
    rng = np.random.default_rng(0)
    x, kept = np.float32(rng.normal(size=(300, 5))), np.arange(300) % 50 != 3
    y = np.float32(x[:, :3] + rng.normal(size=(300, 3)))
    value = self_similarity_correlation(x, y, method="spearman", where=kept)
    exact = correlation_reference(x[kept], y[kept], "spearman")
    assert float(value) == pytest.approx(exact, abs=1e-5)
    # Whole numbers, of which many are equally near: the order of samples decides.
    x, y = np.round(2 * x), np.round(2 * y)
    for similarity in SIMILARITIES:
        value = mutual_neighbors(x, y, 4, where=kept, similarity=similarity)
        exact = neighbors_reference(x[kept], y[kept], 4, similarity)
        assert float(value) == pytest.approx(exact, abs=1e-6)


def test_on_several_devices_self_similarity_sends_sums_only():
    mesh = jax.make_mesh((4,), ("samples",))
    rows = jax.NamedSharding(mesh, jax.P("samples"))
    x, y = (jax.device_put(space, rows) for space in pair())
    program = self_similarity_correlation.lower(x, y).compile().as_text()
    assert "all-reduce" in program
    assert not re.search("all-gather|all-to-all|collective-permute", program)


# ------------------------------------------------- errors


def test_what_cannot_be_is_refused():
    x, y = pair()
    with pytest.raises(ValueError, match=r"unknown method 'kendall'.*spearman"):
        self_similarity_correlation(x, y, method="kendall")
    for k in (0, 40):
        with pytest.raises(ValueError, match=rf"k={k} and 40 samples of 40"):
            mutual_neighbors(x, y, k)
    with pytest.raises(ValueError, match=r"k=5 and 5 samples of 40"):
        mutual_neighbors(x, y, 5, where=np.arange(40) < 5)
    with pytest.raises(ValueError, match=r"unknown similarity 'angular'.*euclidean"):
        mutual_neighbors(x, y, 5, similarity="angular")


@pytest.mark.usefixtures("unchecked")
def test_spaces_that_are_no_pair_are_refused():
    x, y = pair()
    for take in (self_similarity_correlation, partial(mutual_neighbors, k=5)):
        with pytest.raises(ValueError, match=r"number of samples N.*\[40, 30\]"):
            take(x, y[:30])
        with pytest.raises(ValueError, match="y must be floating point"):
            take(x, y.astype(np.int32))
        with pytest.raises(ValueError, match=r"where must have the axes \(N,\)"):
            take(x, y, where=ALL[:30])


@pytest.mark.slow
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_of_many_sharded_rows_the_values_are_those_of_one_device(kind):
    x, y = np.random.default_rng(0).normal(size=(2, 512, 16)).astype(np.float32)
    y += x
    mesh = jax.make_mesh((4,), ("samples",), axis_types=(kind,))
    placed = jax.device_put((x, y), NamedSharding(mesh, PartitionSpec("samples")))
    functions = [partial(mutual_neighbors, k=10)] + [
        partial(self_similarity_correlation, method=method) for method in CORRELATIONS
    ]
    for function in functions:
        np.testing.assert_allclose(function(*placed), function(x, y), rtol=1e-6)


def test_each_device_sorts_its_own_rows():
    mesh = jax.make_mesh((4,), ("samples",), axis_types=(AxisType.Auto,))
    place = NamedSharding(mesh, PartitionSpec("samples"))
    x = jax.ShapeDtypeStruct((1024, 16), jnp.float32, sharding=place)
    lowered = self_similarity_correlation.lower(x, x, method="spearman")
    program = lowered.compile().as_text()
    sorts = re.findall(r"= s32\[(\d+),(\d+)\]\S* sort\(", program)
    assert sorts
    assert all(columns == "1024" and int(rows) <= 64 for rows, columns in sorts)
    # Sent in the sorting were parts of rows: (rows, N), many times a chunk.
    assert not re.search("all-gather|all-to-all|collective-permute", program)
