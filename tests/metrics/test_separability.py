import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jatlas._src.classes import check_classes
from jatlas.metrics.classes import separability
from jatlas.probes.means import class_means, nearest_class_mean

ALL = np.ones(40, bool)
few = settings(max_examples=15, deadline=None)


# ------------------------------------------------- the definitions, in NumPy float64


def nearest(space, labels, num_classes):
    return nearest_class_mean(class_means(space, labels, num_classes), space)


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


# ------------------------------------------------- spaces, and ours compiled once


def classes(seed=0, offset=0.0):
    """40 rows of 5 features in classes 0, 1 and 3 of four: nobody is in class 2."""
    rng = np.random.default_rng(seed)
    labels = np.array([0, 1, 3])[np.arange(40) % 3]
    space = rng.normal(size=(40, 5)) + rng.normal(size=(4, 5))[labels]
    return np.float32(space + offset), labels


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


@pytest.mark.slow
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


# ------------------------------------------------- many rows, many devices


def test_classes_of_many_rows_keep_their_digits():
    # Added up one by one in float32, the means would be 1e-2 off, centered once 1e-4.
    space = np.float32(np.random.default_rng(0).normal(size=(2**19, 2)) * 1e-3)
    space[:, 0] += 1e4
    labels = np.zeros(2**19, int)
    labels[:100] = 1
    exact = [np.float64(space[labels == label]).mean(0) for label in (0, 1)]
    means = np.asarray(class_means(space, labels, 2))
    np.testing.assert_allclose(means, exact, rtol=1e-6, atol=1e-8)
    far = np.column_stack([space[:, 1], np.sign(space[:, 1]) * np.float32(1e4)])
    apart = separability(far, labels, 2)
    exact = separability_reference(far, labels, 2)
    np.testing.assert_allclose(apart, exact, rtol=1e-5)


@pytest.mark.parametrize("function", [separability, class_means, nearest])
def test_no_array_has_rows_times_classes(function, largest_array):
    space, labels = np.ones((8000, 4), np.float32), np.arange(8000) % 100
    size = largest_array(lambda s, marks: function(s, marks, 100), space, labels)
    assert size <= 2 * 8000 * 16


@pytest.mark.parametrize("function", [separability, class_means])
def test_on_several_devices_only_sums_are_sent(function):
    mesh = jax.make_mesh((4,), ("samples",))
    rows = jax.NamedSharding(mesh, jax.P("samples"))
    space, labels = (jax.device_put(array, rows) for array in classes())
    form = jax.jit(lambda space, labels: function(space, labels, 4))
    program = form.lower(space, labels).compile().as_text()
    assert "all-reduce" in program
    assert not re.search("all-gather|all-to-all|collective-permute", program)


# ------------------------------------------------- errors


@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_is_refused():
    space, labels = classes()
    with pytest.raises(ValueError, match=r"dimension D of means and space.*\[4, 5\]"):
        nearest_class_mean(space[:, :4], space)
    with pytest.raises(ValueError, match="space must be floating point"):
        check_classes(labels[:, None], labels, 4, None)
    with pytest.raises(ValueError, match=r"labels must be one a row, \(40,\)"):
        class_means(space, labels[:30], 4)
    with pytest.raises(ValueError, match="where must be boolean"):
        separability(space, labels, 4, where=labels)
