from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jatlas.geometry import (
    CORRELATIONS,
    check_classes,
    class_means,
    mutual_neighbors,
    nearest_class_mean,
    self_similarity_correlation,
    separability,
)

ALL = np.ones(40, bool)
SIMILARITIES = ("inner", "euclidean")
few = settings(max_examples=15, deadline=None)


# ------------------------------------------------- the definitions, in NumPy float64


def separability_reference(space, labels, num_classes):
    space = np.asarray(space, np.float64)
    value = np.full((num_classes, num_classes), np.nan)
    for i in range(num_classes):
        for j in range(num_classes):
            a, b = space[labels == i], space[labels == j]
            if i == j or not len(a) or not len(b):
                continue
            apart = np.linalg.norm(a.mean(0) - b.mean(0))
            spread = [np.linalg.norm(c - c.mean(0), axis=1).mean() for c in (a, b)]
            value[i, j] = apart / np.mean(spread)
    return value


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


def classes(seed=0, offset=0.0):
    """40 rows of 5 features in classes 0, 1 and 3 of four: nobody is in class 2."""
    rng = np.random.default_rng(seed)
    labels = np.array([0, 1, 3])[np.arange(40) % 3]
    space = rng.normal(size=(40, 5)) + rng.normal(size=(4, 5))[labels]
    return np.float32(space + offset), labels


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


# ------------------------------------------------- separability


def test_golden_separability(golden):
    # Over all 600 samples, of whose merged rows the file holds 400: made again here.
    embeddings, labels = golden["embeddings"], golden["labels"]
    units = embeddings / np.linalg.norm(embeddings, axis=-1, keepdims=True)
    relative = np.einsum("mnd,mad->mna", units, units[:, golden["anchor_ids"]])
    weights = golden["present"] / golden["present"].sum(0)
    merged = np.float32(np.einsum("mna,mn->na", relative[1:], weights))
    np.testing.assert_allclose(merged[:400], golden["merged"], atol=1e-5)
    value, original = (
        np.asarray(separability(space, labels, 10)) for space in (merged, embeddings[0])
    )
    i, j, exact = golden["separability_pairs"].T
    np.testing.assert_allclose(value[i.astype(int), j.astype(int)], exact, rtol=1e-5)
    novel = ~np.isin(np.arange(10), golden["shared_classes"])
    counted = (novel[:, None] | novel) & ~np.eye(10, dtype=bool)
    assert counted.sum() == len(exact)
    means = {
        "separability_mean_merged": value[counted].mean(),
        "separability_mean_all": np.nanmean(value),
        "separability_mean_original": original[counted].mean(),
    }
    for key, mean in means.items():
        assert float(mean) == pytest.approx(float(golden[key]), rel=1e-5), key


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_separability_is_its_definition_also_far_from_the_origin(offset):
    space, labels = classes(offset=offset)
    value = separability(space, labels, 4)
    exact = separability_reference(space, labels, 4)
    np.testing.assert_allclose(value, exact, rtol=2e-6)
    np.testing.assert_array_equal(value, value.T)
    assert np.isnan(np.diag(value)).all()
    assert np.isnan(value[2]).all()
    assert np.isfinite(value).sum() == 6


@few
@given(st.integers(0, 2**16), st.floats(-18, 18), st.floats(-100, 100))
def test_separability_does_not_change_when_rotated_scaled_or_moved(
    seed, exponent, shift
):
    space, labels = classes(seed)
    other = turned(space, seed + 1, 10**exponent, shift)
    before, after = (separability(s, labels, 4) for s in (space, other))
    np.testing.assert_allclose(after, before, rtol=1e-3)


def test_separability_changes_when_one_feature_is_rescaled():
    space, labels = classes()
    other = space * np.float32([10, 1, 1, 1, 1])
    before, after = (separability(s, labels, 4) for s in (space, other))
    assert np.nanmax(np.abs(after - before)) > 0.1


def test_separability_of_classes_without_spread_is_nan():
    space, labels = classes()
    exact = separability_reference(space, labels, 4)
    for label, value in ((0, 1 / 3), (1, 0.1)):
        space[labels == label] = value
    value = np.asarray(separability(space, labels, 4))
    assert np.isnan(value[0, 1])
    assert np.isfinite(value[[0, 1], 3]).all()
    assert not np.isnan(exact[0, 1])


# ------------------------------------------------- class means


def test_class_means_are_the_means_of_the_rows():
    space, labels = classes()
    space[labels == 1] *= 1e-6
    space[labels == 3] += 1e4
    means = class_means(space, labels, 4)
    for label in (0, 1, 3):
        exact = np.float64(space[labels == label]).mean(0)
        np.testing.assert_allclose(means[label], exact, rtol=2e-6)
    assert np.isnan(means[2]).all()


def test_nearest_class_mean_is_the_nearest():
    space, labels = classes()
    means = np.array(class_means(space, labels, 4))
    squares = np.sum((np.float64(space)[:, None] - np.float64(means)) ** 2, axis=-1)
    nearest = nearest_class_mean(means, space)
    np.testing.assert_array_equal(nearest, np.nanargmin(squares, axis=1))
    assert set(np.unique(nearest)) == {0, 1, 3}
    assert np.mean(nearest == labels) > 0.6
    assert nearest.dtype == jnp.int32


def test_rows_and_classes_that_are_not_finite_are_not_chosen():
    space, labels = classes()
    means = np.array(class_means(space, labels, 4))
    means[0] = np.inf
    space[3, 1], space[4, 2] = np.nan, np.inf
    nearest = nearest_class_mean(means, space)
    assert set(np.unique(nearest)) == {-1, 1, 3}
    np.testing.assert_array_equal(np.flatnonzero(nearest == -1), [3, 4])
    nobody = nearest_class_mean(np.full_like(means, np.nan), space)
    assert np.all(nobody == -1)


def test_a_row_as_near_to_two_classes_goes_to_the_lower():
    means = np.float32([[4, 0], [1, 0], [-1, 0], [-1, 0]])
    nearest = nearest_class_mean(means, np.float32([[0, 5], [-2, 0]]))
    np.testing.assert_array_equal(nearest, [1, 2])


@pytest.mark.parametrize("function", [separability, class_means])
def test_classes_masked_equal_dropped_whatever_the_masked_rows_hold(function):
    space, labels = classes()
    kept = (np.arange(40) % 4 != 0) & (labels != 3)
    exact = function(space[kept], labels[kept], 4)
    for garbage, label in ((np.nan, -1), (np.inf, 99), (1e30, 2)):
        rows = np.where(kept[:, None], space, np.float32(garbage))
        marks = np.where(kept, labels, label)

        def total(rows, marks=marks):
            return jnp.nansum(function(rows, marks, 4, where=kept))

        masked = function(rows, marks, 4, where=kept)
        np.testing.assert_allclose(masked, exact, rtol=2e-6)
        grad = jax.grad(total)(rows)
        assert np.all(np.isfinite(grad))
        assert not np.any(grad[~kept])
        assert np.any(grad[kept])


@pytest.mark.parametrize("function", [separability, class_means])
def test_classes_have_finite_gradients_where_rows_coincide(function):
    space, labels = classes()
    space[:, 1], space[:9], space[labels == 3] = 0.3, 0, 0.1
    space[20] = space[23]

    def total(space):
        value = function(space, labels, 4)
        return jnp.sum(jnp.where(jnp.isnan(value), 0, value))

    grad = jax.grad(total)(space)
    assert np.all(np.isfinite(grad))
    assert np.any(grad)


@pytest.mark.parametrize("function", [separability, class_means])
def test_classes_of_no_rows_are_nan(function):
    space, labels = classes()
    assert np.isnan(function(space, labels, 4, where=~ALL)).all()
    one = np.arange(40) == 3
    known = np.isfinite(np.asarray(function(space, labels, 4, where=one)))
    assert known.any() == (function is class_means)


@pytest.mark.parametrize("function", [separability, class_means])
def test_classes_work_under_jit_vmap_and_in_other_dtypes(function):
    space, labels = classes()
    spaces = np.stack([classes(seed)[0] for seed in range(3)])
    exact = np.stack([function(s, labels, 4) for s in spaces])
    mapped = jax.jit(jax.vmap(lambda s: function(s, labels, 4)))(spaces)
    np.testing.assert_allclose(mapped, exact, rtol=1e-5)
    half = jnp.asarray(space, jnp.bfloat16)
    value = function(half, labels, 4)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, function(np.float32(half), labels, 4), rtol=1e-6)
    with jax.enable_x64(True):
        value = function(np.float64(space), labels, 4)
        assert value.dtype == jnp.float64
        if function is separability:
            exact = separability_reference(space, labels, 4)
            np.testing.assert_allclose(value, exact, rtol=1e-12)


@pytest.mark.parametrize("function", [separability, class_means])
def test_a_label_out_of_range_is_refused_or_gives_nan_under_jit(function):
    space, labels = classes()
    labels[5] = 4
    with pytest.raises(ValueError, match=r"lie in 0\.\.3 .*got \[4\]"):
        function(space, labels, 4)
    under_jit = jax.jit(lambda marks: function(space, marks, 4))
    assert np.isnan(under_jit(labels)).all()


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


def test_tied_ranks_are_shared():
    x = np.float32([[1, 0], [1, 0], [0, 1], [1, 1]])
    y = np.float32([[1, 0], [0, 1], [-1, 0], [3, 4]])
    value = self_similarity_correlation(x, y, method="spearman")
    exact = correlation_reference(x, y, "spearman")
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
    centred = method != "cosine"
    cases = {
        "a zero row": (zero, y, ALL, False),
        "a masked zero row": (zero, y, n != 3, True),
        "copies of one": (copies, y, ALL, not centred),
        "some copies": (x[n // 3], y[n // 3], ALL, True),
        "constant feature": (constant, y, ALL, True),
        "one sample": (x, y, n == 3, not centred),
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
    x[3, 2] = np.nan
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
    assert largest_array(self_similarity_correlation, x, y) < 1000**2 / 4
    assert largest_array(partial(mutual_neighbors, k=5), x, y) < 1000**2 / 2


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
    with pytest.raises(ValueError, match=r"unknown similarity 'cosine'.*euclidean"):
        mutual_neighbors(x, y, 5, similarity="cosine")


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
    with pytest.raises(ValueError, match=r"dimension D of means and space.*\[6, 4\]"):
        nearest_class_mean(x, y)
    space, labels = classes()
    with pytest.raises(ValueError, match="space must be floating point"):
        check_classes(labels[:, None], labels, 4, None)
    with pytest.raises(ValueError, match=r"labels must be one a row, \(40,\)"):
        class_means(space, labels[:30], 4)
    with pytest.raises(ValueError, match="where must be boolean"):
        separability(space, labels, 4, where=labels)
