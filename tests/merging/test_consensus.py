"""Consensus coordinates, held against NumPy in float64 and against their properties."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from consensus_reference import Reference
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import NamedSharding, PartitionSpec

from jatlas.merging.consensus import (
    Consensus,
    apply_consensus,
    fit_consensus,
    merge_consensus,
)

few = settings(max_examples=10, deadline=None)
N, HIDDEN = 40, 4

# Each is another way through the code: N = 40 above or below D_1 + ... + D_M, charts
# stacked or not, and at the end one that is wider than N.
WIDTHS = {
    "moments": (4, 4, 4),
    "rows": (16, 16, 16),
    "moments of differing widths": (2, 5, 3),
    "rows of differing widths": (20, 45, 3),
}
each_width = pytest.mark.parametrize("widths", WIDTHS.values(), ids=WIDTHS)
TOLERANCES = {np.float32: 1e-4, np.float64: 1e-9}


def draw(widths, num_samples=N, seed=0):
    """Charts of few hidden factors, which they agree about more and less."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(num_samples, HIDDEN)) * [4, 2, 1, 0.5]
    charts = [
        hidden @ rng.normal(size=(HIDDEN, d)) + 0.5 * rng.normal(size=(num_samples, d))
        for d in widths
    ]
    return np.stack(charts) if len(set(widths)) == 1 else charts


def some(num_charts, num_samples=N, seed=1):
    """Presence in some charts, in one alone for a few samples, and in none for one."""
    presence = np.random.default_rng(seed).random((num_charts, num_samples)) < 0.75
    presence[1:, :4] = presence[:, -1] = False
    presence[0, :4] = True
    return presence


def everywhere(num_charts, num_samples=N):
    return np.ones((num_charts, num_samples), bool)


def poisoned(charts, presence):
    """NaN where a sample is absent."""
    rows = [
        np.where(p[:, None], x, np.nan) for x, p in zip(charts, presence, strict=True)
    ]
    return np.stack(rows) if isinstance(charts, np.ndarray) else rows


def cast(charts, dtype):
    return jax.tree.map(lambda x: np.asarray(x, dtype), charts)


def aligned(got, expected):
    """`got`, each column with the sign that it has in `expected`."""
    got = np.asarray(got, np.float64)
    known = np.isfinite(expected).all(axis=1) & np.isfinite(got).all(axis=1)
    sign = np.sign(np.sum(got[known] * expected[known], axis=0))
    return got * np.where(sign == 0, 1, sign)


def assert_same(got, expected, tolerance=1e-9):
    """Equal up to the sign of a coordinate, relative to the largest value."""
    expected = np.asarray(expected, np.float64)
    assert np.shape(got) == expected.shape
    largest = np.nanmax(np.abs(expected))
    assert largest > 0
    np.testing.assert_allclose(
        aligned(got, expected), expected, rtol=0, atol=tolerance * largest
    )


def coordinates(charts, presence, **options):
    """Agreement and merged rows, fitted in float64."""
    with jax.enable_x64(True):
        charts = cast(charts, np.float64)
        consensus = fit_consensus(charts, presence, **options)
        merged = merge_consensus(consensus, charts, presence)
    return np.asarray(consensus.agreement), np.asarray(merged)


def assert_same_coordinates(got, expected, tolerance=1e-9):
    np.testing.assert_allclose(got[0], expected[0], rtol=0, atol=tolerance)
    assert_same(got[1], expected[1], tolerance)


def assert_reference(
    dtype, charts, presence, where=None, agreement_power=1.0, **options
):
    """Agreement and each chart's map are the reference's; both come back."""
    charts = cast(charts, dtype)
    learned = presence if where is None else presence & where
    expected = Reference(charts, learned, power=agreement_power, **options)
    options |= {"where": where, "agreement_power": agreement_power}
    with jax.enable_x64(dtype == np.float64):
        consensus = fit_consensus(charts, presence, **options)
    assert {x.dtype for x in jax.tree.leaves(consensus)} == {np.dtype(dtype)}
    tolerance = TOLERANCES[dtype]
    np.testing.assert_allclose(
        consensus.agreement, expected.values, rtol=0, atol=tolerance
    )
    np.testing.assert_allclose(consensus.scale, expected.scale, rtol=tolerance)
    for chart, mean in enumerate(expected.mean):
        off = np.asarray(consensus.mean[chart]) - mean
        assert np.abs(off).max() <= tolerance * expected.scale[chart]
    # One sign a coordinate, for all charts.
    weights = np.concatenate(expected.weights)
    assert_same(np.concatenate(consensus.weights), weights, tolerance)
    return consensus, expected


# The reference


@each_width
def test_it_is_the_reference(widths):
    assert_reference(np.float64, draw(widths), some(3), num_features=4)


@pytest.mark.parametrize("name", ["moments", "rows of differing widths"])
def test_in_float32_it_is_the_reference(name):
    assert_reference(np.float32, draw(WIDTHS[name]), some(3), num_features=4)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_it_is_the_reference_where_all_charts_have_all_samples(dtype):
    options = {"num_features": 4, "ridge": 0.3, "agreement_power": 2.0}
    for name in ("moments", "rows"):
        assert_reference(dtype, draw(WIDTHS[name]), everywhere(3), **options)


@pytest.mark.parametrize(
    ("normalize", "dtype"), [(False, np.float32), (True, np.float64)]
)
def test_rows_and_merged_rows_are_the_reference(normalize, dtype):
    charts, presence = draw(WIDTHS["moments"]), some(3)
    options = {"num_features": 4, "normalize": normalize, "agreement_power": 0.5}
    consensus, expected = assert_reference(dtype, charts, presence, **options)
    charts = cast(charts, dtype)
    with jax.enable_x64(dtype == np.float64):
        rows = [apply_consensus(consensus, m, x) for m, x in enumerate(charts)]
        merged = merge_consensus(consensus, poisoned(charts, presence), presence)
    for chart, x in enumerate(charts):
        assert_same(rows[chart], expected.apply(chart, x), TOLERANCES[dtype])
    assert_same(merged, expected.merge(charts, presence), TOLERANCES[dtype])


def test_of_differing_widths_rows_and_merged_rows_are_the_reference():
    charts, presence = draw(WIDTHS["rows of differing widths"]), some(3)
    consensus, expected = assert_reference(np.float64, charts, presence, num_features=4)
    with jax.enable_x64(True):
        row = apply_consensus(consensus, 1, charts[1])
        merged = merge_consensus(consensus, poisoned(charts, presence), presence)
    assert_same(row, expected.apply(1, charts[1]))
    assert_same(merged, expected.merge(charts, presence))


@pytest.mark.parametrize("name", ["moments of differing widths", "rows"])
def test_masked_is_dropped(name):
    """The reference drops the rows; NaN in them changes no bit."""
    charts, where = draw(WIDTHS[name]), np.arange(N) % 4 != 0
    options = {"where": where, "num_features": 4}
    consensus, _ = assert_reference(np.float64, charts, some(3), **options)
    bad = jax.tree.map(lambda x: np.where(where[:, None], x, np.nan), charts)
    with jax.enable_x64(True):
        other = fit_consensus(bad, some(3), **options)
    jax.tree.map(np.testing.assert_array_equal, other, consensus)


@few
@given(
    st.integers(0, 999),
    st.floats(0.05, 20),
    st.floats(0, 3),
)
def test_any_presence_ridge_and_power_are_the_reference(seed, ridge, power):
    presence = some(3, seed=seed)
    options = {"ridge": ridge, "agreement_power": power, "num_features": 4}
    assert_reference(
        np.float64, draw(WIDTHS["moments"], seed=seed), presence, **options
    )


def test_all_coordinates_are_the_reference():
    options = {"num_features": 12}
    assert_reference(np.float64, draw(WIDTHS["moments"]), everywhere(3), **options)


@few
@given(st.integers(0, 999))
def test_both_eigenproblems_agree(seed):
    """Of 12 rows from the moments, and of 40 from the samples."""
    charts, presence = draw(WIDTHS["moments"], seed=seed), some(3, seed=seed)
    with jax.enable_x64(True):
        by_moments = fit_consensus(charts, presence)
        # Features of zeros add nothing, but to the width.
        padded = np.pad(charts, [(0, 0), (0, 0), (0, 12)])
        by_rows = fit_consensus(padded, presence, num_features=4)
    np.testing.assert_allclose(by_rows.agreement, by_moments.agreement, atol=1e-12)
    for one, other in zip(by_rows.weights, by_moments.weights, strict=True):
        assert_same(one[:4], np.asarray(other))
        np.testing.assert_allclose(one[4:], 0, atol=1e-12)


def test_coordinates_that_linked_samples_cannot_give_are_zero():
    """Six linked samples less their mean give five."""
    charts, presence = draw(WIDTHS["moments"]), everywhere(3)
    presence[1:, 6:] = False
    for dtype in TOLERANCES:
        with jax.enable_x64(dtype == np.float64):
            consensus = fit_consensus(cast(charts, dtype), presence, num_features=12)
        weights = np.asarray(consensus.weights)
        assert np.isfinite(weights).all()
        assert np.abs(weights[..., :5]).max(axis=(0, 1)).min() > 1e-4
        assert not weights[..., 5:].any()


def test_agreement_is_between_none_and_all_and_falls():
    for name, num_features in (("moments", 12), ("rows", 4)):
        with jax.enable_x64(True):
            agreement = np.asarray(
                fit_consensus(
                    draw(WIDTHS[name]), some(3), num_features=num_features
                ).agreement
            )
        assert (np.diff(agreement) <= 0).all()
        assert agreement.min() >= 0
        assert 0.5 < agreement.max() <= 1


# Limits


def centered(x):
    x = np.float64(x) - np.float64(x).mean(axis=0)
    return x / np.sqrt(np.mean(np.sum(x**2, axis=1)))


@pytest.mark.parametrize("name", ["moments of differing widths", "rows"])
def test_with_a_large_ridge_it_is_the_left_singular_vectors(name):
    charts = draw(WIDTHS[name])
    options = {"ridge": 1e8, "agreement_power": 0.0, "num_features": 4}
    merged = coordinates(charts, everywhere(3), **options)[1][:, :3]
    left = np.linalg.svd(np.hstack([centered(x) for x in charts]))[0][:, :3]
    assert_same(merged / np.linalg.norm(merged, axis=0), left, 1e-6)


def test_a_large_ridge_loses_no_coordinate_in_float32():
    """All agreements are tiny then, and none is rounding."""
    charts = cast(draw(WIDTHS["moments"]), np.float32)
    consensus = fit_consensus(charts, everywhere(3), ridge=1e8, agreement_power=0.0)
    merged = np.asarray(merge_consensus(consensus, charts, everywhere(3)))
    left = np.linalg.svd(np.hstack([centered(x) for x in charts]))[0][:, :3]
    norms = np.linalg.norm(merged[:, :3], axis=0)
    assert_same(merged[:, :3] / norms, left, 1e-4)


def test_one_chart_gives_its_principal_directions():
    for width in (5, 60):
        x = draw((width,))[0]
        options = {"num_features": 4, "ridge": 0.5}
        with jax.enable_x64(True):
            consensus = fit_consensus(x[None], everywhere(1), **options)
        merged = centered(x) @ np.asarray(consensus.weights[0])
        left, values, _ = np.linalg.svd(centered(x), full_matrices=False)
        # w = s^2 / (s^2 + ridge), x W = u w, and once more w for the power.
        expected = (left * (values**2 / (values**2 + 0.5)) ** 2)[:, :4]
        assert_same(merged, expected)


# What changes nothing


@pytest.fixture(scope="module")
def base():
    """Charts, presence, and what comes out of them in float64."""
    charts, presence = draw(WIDTHS["moments"]), some(3)
    return charts, presence, coordinates(charts, presence)


@few
@given(order=st.permutations(range(3)))
def test_order_of_the_charts_does_not_matter(base, order):
    charts, presence, expected = base
    got = coordinates(charts[order], presence[order])
    assert_same_coordinates(got, expected)


@few
@given(order=st.permutations(range(N)))
def test_order_of_the_samples_does_not_matter(base, order):
    charts, presence, (agreement, merged) = base
    got = coordinates(charts[:, order], presence[:, order])
    assert_same_coordinates(got, (agreement, merged[order]))


@few
@given(st.integers(0, 2), st.integers(0, 99), st.floats(0.01, 100), st.floats(-50, 50))
def test_a_chart_may_be_rotated_rescaled_and_shifted(base, chart, seed, scale, shift):
    charts, presence, expected = base
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(4, 4)))[0]
    charts = charts.copy()
    charts[chart] = scale * charts[chart] @ turn + shift
    assert_same_coordinates(coordinates(charts, presence), expected, 1e-8)


def test_of_unit_rows_each_may_have_its_own_length():
    charts, presence = draw(WIDTHS["moments"]), some(3)
    expected = coordinates(charts, presence, normalize=True)
    lengths = np.random.default_rng(0).uniform(0.1, 10, (3, N, 1))
    got = coordinates(charts * lengths, presence, normalize=True)
    assert_same_coordinates(got, expected)


def test_absent_rows_may_hold_nan(base):
    presence = base[1]
    for charts in (base[0], draw(WIDTHS["rows"])):
        fit = partial(fit_consensus, presence=presence, num_features=4)
        one = fit(cast(charts, np.float32))
        other = fit(cast(poisoned(charts, presence), np.float32))
        jax.tree.map(np.testing.assert_array_equal, other, one)


def test_samples_of_one_chart_alone_are_not_learned_from(base):
    charts, presence, _ = base
    alone = presence & (presence.sum(axis=0) == 1)
    assert alone.sum() > 3
    with jax.enable_x64(True):
        one = fit_consensus(charts, presence)
        other = fit_consensus(charts * np.where(alone, 9, 1)[..., None], presence)
    jax.tree.map(np.testing.assert_array_equal, other, one)


# What counts


def test_a_chart_given_twice_counts_twice():
    """Full presence: the eigenvectors of (2 P_a + P_b) / 3, by its definition."""
    a, b = draw((4, 4))
    smoothers = []
    for x in (centered(a), centered(b)):
        smoothers.append(x @ np.linalg.solve(x.T @ x + np.eye(4), x.T))
    values, vectors = np.linalg.eigh((2 * smoothers[0] + smoothers[1]) / 3)
    order = np.argsort(-values)[:4]
    # The mean of the three charts' P_m G is w G, G of length 3^(-1/2).
    expected = vectors[:, order] * values[order] / np.sqrt(3)
    charts = np.stack([a, a, b])
    got = coordinates(charts, everywhere(3), agreement_power=0.0)
    np.testing.assert_allclose(got[0], values[order], atol=1e-12)
    assert_same(got[1], expected)
    once = np.linalg.eigvalsh((smoothers[0] + smoothers[1]) / 2)[::-1][:4]
    assert np.abs(once - got[0]).max() > 0.01


def test_a_chart_given_twice_is_the_reference_with_missing_rows():
    a, b = draw((4, 4))
    presence = some(2)[[0, 0, 1]]
    assert_reference(np.float64, np.stack([a, a, b]), presence, num_features=4)


def test_charts_joined_through_another_are_in_one_space():
    """A and B share samples, B and C others; held-out rows of A and C meet."""
    rng = np.random.default_rng(5)
    hidden = rng.normal(size=(N, HIDDEN))
    turns = rng.normal(size=(3, HIDDEN, HIDDEN))
    charts = hidden @ turns + 0.02 * rng.normal(size=(3, N, HIDDEN))
    presence = np.zeros((3, N), bool)
    presence[:2, :14] = presence[1:, 14:28] = True
    with jax.enable_x64(True):
        consensus = fit_consensus(charts, presence, ridge=1e-3)
        a, c = (apply_consensus(consensus, m, charts[m])[28:] for m in (0, 2))
    a, c = (
        x / np.linalg.norm(x, axis=1, keepdims=True) for x in map(np.asarray, (a, c))
    )
    alike = a @ c.T
    for nearest in (alike.argmax(axis=0), alike.argmax(axis=1)):
        assert np.mean(nearest == np.arange(N - 28)) >= 0.75  # 0.08 by chance


CHANGES = {
    "another ridge": lambda charts, presence: (charts, presence, {"ridge": 3.0}),
    "another power": lambda charts, presence: (
        charts,
        presence,
        {"agreement_power": 2.0},
    ),
    "another presence": lambda charts, presence: (charts, some(3, seed=9), {}),
    "a chart bent": lambda charts, presence: (
        np.stack([np.tanh(charts[0]), *charts[1:]]),
        presence,
        {},
    ),
    "a feature stretched": lambda charts, presence: (
        charts * np.array([9, 1, 1, 1]),
        presence,
        {},
    ),
    "unit rows": lambda charts, presence: (charts, presence, {"normalize": True}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_must_change_changes(base, change):
    charts, presence, (_, expected) = base
    charts, presence, options = change(charts, presence)
    got = coordinates(charts, presence, **options)[1]
    largest = np.nanmax(np.abs(expected))
    assert np.nanmax(np.abs(aligned(got, expected) - expected)) > 0.01 * largest


# Means far from zero, scales far from one


@pytest.mark.parametrize("name", ["moments", "rows"])
def test_large_means_lose_few_digits_in_float32(name):
    charts = np.float32(draw(WIDTHS[name]) + 1e4)
    presence = some(3)
    expected = Reference(charts, presence, 4)
    consensus = fit_consensus(charts, presence, num_features=4)
    np.testing.assert_allclose(consensus.agreement, expected.values, atol=1e-4)
    got = merge_consensus(consensus, charts, presence)
    # A mean of 1e4 is itself known to 5e-4 in float32, rows being about 5 long.
    assert_same(got, expected.merge(charts, presence), 1e-3)


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_charts_of_any_scale_are_merged_in_float32(scale):
    charts, presence = draw(WIDTHS["moments"]), some(3)
    charts[1] *= scale
    assert_reference(np.float32, charts, presence, num_features=4)


# Merging


def test_merged_is_the_mean_of_the_charts_rows(base):
    charts, presence, _ = base
    charts = cast(charts, np.float32)
    consensus = fit_consensus(charts, presence)
    rows = np.stack([apply_consensus(consensus, m, x) for m, x in enumerate(charts)])
    weights = np.random.default_rng(0).uniform(0.5, 2, (3, N)).astype(np.float32)
    for w in (None, weights[:, 0], weights):
        shares = np.ones((3, 1)) if w is None else w.reshape(3, -1)
        shares = presence * shares
        with np.errstate(invalid="ignore"):
            expected = np.einsum("mn,mnk->nk", shares, rows) / shares.sum(0)[:, None]
        got = merge_consensus(
            consensus, poisoned(charts, presence), presence, weights=w
        )
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    got = merge_consensus(consensus, charts, presence, empty=7.0)
    assert (np.asarray(got)[~presence.any(axis=0)] == 7).all()


@pytest.mark.parametrize("normalize", [False, True])
def test_many_stacked_charts_are_merged_as_a_list_is(normalize):
    """Some at a time; 19 are no multiple of them."""
    charts = np.stack(draw([5] * 19, N)).astype(np.float32)
    presence = np.random.default_rng(0).random((19, N)) < 0.7
    consensus = fit_consensus(charts, presence, normalize=normalize)
    expected = merge_consensus(consensus, list(charts), presence)
    got = merge_consensus(consensus, poisoned(charts, presence), presence)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_other_samples_may_be_merged(base):
    """Also more and fewer than it was fitted on."""
    charts, presence, _ = base
    reference = Reference(charts, presence, 4)
    others = draw(WIDTHS["moments"], 13, seed=7)
    with jax.enable_x64(True):
        consensus = fit_consensus(charts, presence)
        got = merge_consensus(consensus, others, everywhere(3, 13))
    np.testing.assert_allclose(
        np.asarray(got) @ np.asarray(got).T,
        (lambda rows: rows @ rows.T)(reference.merge(others, everywhere(3, 13))),
        atol=1e-12,
    )


def test_batches_of_files_give_the_same(tmp_path, base):
    charts, presence, _ = base
    charts = cast(charts, np.float32)
    consensus = fit_consensus(charts, presence)
    expected = np.asarray(merge_consensus(consensus, charts, presence))
    np.save(tmp_path / "charts.npy", charts)
    mapped = np.load(tmp_path / "charts.npy", mmap_mode="r")
    for each in (mapped, list(mapped), jnp.asarray(charts)):
        got = merge_consensus(consensus, each, presence, batch_size=7)
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


def test_neither_fit_nor_merge_forms_large_arrays(largest_array):
    """No (N, N), and no (M, N, K) where K is large."""
    charts = np.zeros((8, 1000, 4), np.float32)
    presence = everywhere(8, 1000)
    charts_only = partial(fit_consensus, presence=presence, num_features=32)
    assert largest_array(charts_only, charts) <= charts.size
    shapes = jax.eval_shape(charts_only, charts)
    consensus = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    merge = partial(merge_consensus, consensus, presence=presence)
    assert largest_array(merge, charts) <= charts.size


# Several devices


def spread(mesh, x, *spec):
    return jax.device_put(x, NamedSharding(mesh, PartitionSpec(*spec)))


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("Auto", "moments"),
        ("Explicit", "rows of differing widths"),
    ],
)
def test_samples_on_several_devices_give_the_same(kind, name):
    kind = getattr(jax.sharding.AxisType, kind)
    mesh = jax.make_mesh((4,), ("samples",), axis_types=(kind,))
    charts, presence = cast(draw(WIDTHS[name]), np.float32), some(3)
    expected = fit_consensus(charts, presence, num_features=4)
    rows = merge_consensus(expected, charts, presence)
    axes = (None, "samples") if isinstance(charts, np.ndarray) else ("samples",)
    placed = jax.tree.map(lambda x: spread(mesh, x, *axes), charts)
    here = spread(mesh, presence, None, "samples")
    got = fit_consensus(placed, here, num_features=4)
    np.testing.assert_allclose(got.agreement, expected.agreement, atol=1e-5)
    for leaf in jax.tree.leaves(got):
        assert leaf.sharding.is_fully_replicated
    merged = merge_consensus(got, placed, here)
    assert_same(merged, rows, 1e-4)
    assert {s.data.shape for s in merged.addressable_shards} == {(N // 4, 4)}
    one = apply_consensus(got, 0, spread(mesh, charts[0], "samples"))
    assert one.sharding.shard_shape(one.shape) == (N // 4, 4)
    assert_same(one, apply_consensus(expected, 0, charts[0]), 1e-4)


# What is refused


def test_charts_that_nothing_joins_are_named():
    charts, presence = draw((4,) * 5), np.zeros((5, N), bool)
    presence[[0, 2], :10] = presence[[1, 3], 10:20] = presence[3:, 20:30] = True
    with pytest.raises(ValueError, match=r"2 groups.* \[0, 2\]; \[1, 3, 4\]\."):
        fit_consensus(charts, presence)
    presence[[0, 4], 30] = True
    jax.eval_shape(partial(fit_consensus, presence=presence), charts)
    with pytest.raises(ValueError, match=r"\[0, 2\]; \[1, 3, 4\]\."):
        fit_consensus(charts, presence, where=np.arange(N) != 30)


def test_a_chart_with_too_few_linked_samples_is_named():
    charts, presence = draw(WIDTHS["moments"]), everywhere(3)
    presence[1, 1:] = presence[2, :] = False
    expected = "3 of 3 .* chart 0 has 1, chart 1 has 1, chart 2 has 0"
    with pytest.raises(ValueError, match=expected):
        fit_consensus(charts, presence)
    with pytest.raises(ValueError, match=r"chart 0 has 1"):
        fit_consensus(charts[:1], presence[1:2])


REFUSED = {
    "(3, 40), got": {"presence": everywhere(2)},
    "presence must be boolean": {"presence": np.ones((3, N), np.float32)},
    r"where must have the axes \(N,\)": {"where": np.ones(5, bool)},
    "where must be boolean": {"where": np.ones(N)},
    "chart 1 must be floating point": {
        "embeddings": [np.ones((N, 2)), np.ones((N, 2), int), np.ones((N, 2))]
    },
    "embeddings of chart 0 must be a matrix": {"embeddings": [np.ones(N)] * 3},
    "number of axes of stacked embeddings": {"embeddings": np.ones((N, 4))},
    r"number of samples N must be the same, got \[40, 39": {
        "embeddings": [np.ones((N, 2)), np.ones((N - 1, 2)), np.ones((N, 2))]
    },
    "there are no charts": {"embeddings": [], "presence": np.ones((0, N), bool)},
    "num_features must be a whole number of 1 or more, got 0": {"num_features": 0},
    "num_features must be a whole number of 1 or more, got 1.5": {"num_features": 1.5},
    "num_features must be from 1 to 12, .* got 13": {"num_features": 13},
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("message", REFUSED)
def test_what_does_not_fit_is_refused(message):
    given = {"embeddings": draw(WIDTHS["moments"]), "presence": everywhere(3)}
    pattern = message.replace("(3, 40), got", r"here \(3, 40\); got")
    with pytest.raises(ValueError, match=pattern):
        fit_consensus(**{**given, **REFUSED[message]})


@pytest.mark.usefixtures("unchecked")
def test_rows_that_do_not_fit_the_consensus_are_refused(base):
    charts, presence = cast(base[0], np.float32), base[1]
    consensus = fit_consensus(charts, presence)
    with pytest.raises(ValueError, match=r"chart must be from 0 to 2, .* got 3"):
        apply_consensus(consensus, 3, charts[0])
    with pytest.raises(ValueError, match="chart must be a whole number of 0 or more"):
        apply_consensus(consensus, -1, charts[0])
    with pytest.raises(ValueError, match=r"dimension D of chart 1 .* \[4, 3\]"):
        apply_consensus(consensus, 1, charts[1][:, :3])
    with pytest.raises(ValueError, match="embeddings must be a matrix"):
        apply_consensus(consensus, 1, charts)
    for fewer in (charts[:2], charts[..., :3], [*charts[:2], charts[2][:, :3]]):
        with pytest.raises(ValueError, match="dimensions D_m of the charts"):
            merge_consensus(consensus, fewer, everywhere(len(fewer)))
    with pytest.raises(ValueError, match="presence must have the axes"):
        merge_consensus(consensus, charts, presence[:2])
    with pytest.raises(ValueError, match="batch_size must be a whole number of 1"):
        merge_consensus(consensus, charts, presence, batch_size=0)


def disjoint():
    presence = np.zeros((3, N), bool)
    presence[:2, :20] = presence[2, 20:] = True
    return presence


def lonely():
    presence = everywhere(3)
    presence[2, 1:] = False
    return presence


def split():
    presence = np.zeros((4, N), bool)
    presence[:2, :20] = presence[2:, 20:] = True
    return presence


def assert_unknown(consensus):
    for leaf in (
        consensus.mean,
        consensus.scale,
        consensus.weights,
        consensus.agreement,
    ):
        for x in jax.tree.leaves(leaf):
            assert np.isnan(x).all()


IN_JIT = jax.jit(partial(fit_consensus, num_features=4))


@pytest.mark.parametrize("presence", [disjoint, lonely])
def test_in_jit_charts_with_too_few_linked_samples_are_nan_everywhere(presence):
    assert_unknown(IN_JIT(np.float32(draw(WIDTHS["rows"])), presence()))


def test_in_jit_two_pairs_of_charts_are_nan_everywhere():
    assert_unknown(IN_JIT(np.float32(draw((4,) * 4)), split()))


@pytest.mark.parametrize("width", [4, 16])
@pytest.mark.parametrize(
    "options", [{"ridge": 0.0}, {"ridge": -1.0}, {"agreement_power": -0.5}], ids=str
)
def test_options_out_of_range_give_nan(width, options):
    charts = np.float32(draw((width,) * 3))
    consensus = fit_consensus(charts, everywhere(3), num_features=4, **options)
    assert_unknown(consensus)
    if width == 4:
        assert np.isnan(apply_consensus(consensus, 0, charts[0])).all()
        assert np.isnan(merge_consensus(consensus, charts, everywhere(3))).all()


def test_a_nan_in_a_linked_row_is_nan_everywhere():
    for width in (4, 16):
        charts = np.float32(draw((width,) * 3))
        charts[1, 2, 3] = np.nan
        assert_unknown(fit_consensus(charts, everywhere(3), num_features=4))


def test_a_chart_whose_rows_are_all_alike_has_no_rows():
    for width in (16, 4):
        charts = np.float32(draw((width,) * 3))
        charts[2] = 5
        consensus = fit_consensus(charts, everywhere(3), num_features=4)
        assert np.isfinite(consensus.agreement).all()
        assert not np.asarray(consensus.scale[2])
    assert np.isnan(apply_consensus(consensus, 2, charts[2])).all()
    assert np.isfinite(apply_consensus(consensus, 0, charts[0])).all()
    presence = everywhere(3)
    presence[2, :7] = False
    merged = np.asarray(merge_consensus(consensus, charts, presence))
    assert np.isfinite(merged[:7]).all()
    assert np.isnan(merged[7:]).all()


# Gradients


@cache
def inner(num_features):
    """A loss that does not see how coordinates are turned, with its gradient."""
    seen = np.random.default_rng(4).normal(size=(N, N))

    def loss(charts, presence, ridge, power):
        options = {"ridge": ridge, "agreement_power": power}
        consensus = fit_consensus(
            charts, presence, num_features=num_features, **options
        )
        rows = merge_consensus(consensus, charts, presence, empty=0.0)
        rows = jnp.where(jnp.isnan(rows), 0, rows)  # where a chart has no scale
        return jnp.sum(seen * (rows @ rows.T))

    return jax.jit(jax.value_and_grad(loss, (0, 2, 3)))


GIVEN = {
    "as drawn": lambda x: x,
    "two charts alike": lambda x: x[[0, 0, 1]],
    "two turned": lambda x: np.stack([x[0], x[0, :, ::-1], x[1]]),
    "all alike": lambda x: x[[0, 0, 0]],
    "a constant feature": lambda x: np.where(np.arange(x.shape[-1]) == 0, 2.0, x),
    "zero rows": lambda x: np.where(np.arange(N)[:, None] < 3, 0.0, x),
    "an even spread": lambda x: np.stack(
        [np.linalg.qr(x[0] - x[0].mean(axis=0))[0]] * 3
    ),
}


OPTIONS = np.array([0.7, 1.5])  # ridge and power


def assert_finite_differences(of, charts, presence, kind=""):
    """Along one direction of all charts, and along the ridge and the power."""
    _, got = of(charts, presence, *OPTIONS)
    assert all(np.isfinite(x).all() for x in got), kind
    turn = np.random.default_rng(3).normal(size=charts.shape)
    for step in ((turn, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)):
        up, down = (
            of(charts + h * step[0], presence, *(OPTIONS + h * np.array(step[1:])))[0]
            for h in (1e-5, -1e-5)
        )
        slope = sum(np.sum(np.asarray(g) * s) for g, s in zip(got, step, strict=True))
        np.testing.assert_allclose(slope, (up - down) / 2e-5, rtol=1e-5, err_msg=kind)


# All coordinates that there are: a cut between equal ones has no slope.
every_coordinate = pytest.mark.parametrize(
    ("width", "num_features"),
    [(4, 12), pytest.param(16, N, marks=pytest.mark.slow)],
)


@every_coordinate
def test_gradients_are_finite_differences(width, num_features):
    with jax.enable_x64(True):
        for kind, make in GIVEN.items():
            charts = np.ascontiguousarray(make(draw((width,) * 3)))
            assert_finite_differences(inner(num_features), charts, some(3), kind)


@every_coordinate
def test_gradients_are_exact_where_agreements_coincide(width, num_features):
    """Charts of one even spread, with all samples: all agreements are one number."""
    charts = GIVEN["an even spread"](draw((width,) * 3))
    with jax.enable_x64(True):
        agreement = fit_consensus(charts, everywhere(3), num_features=4).agreement
        np.testing.assert_allclose(agreement, agreement[0], rtol=1e-12)
        assert_finite_differences(inner(num_features), charts, everywhere(3))


@every_coordinate
def test_gradients_are_finite_everywhere_and_zero_for_absent_rows(width, num_features):
    """`tests/test_promises.py` has them in float32."""
    presence = some(3)
    made = {**GIVEN, "all zero": np.zeros_like, "all rows alike": np.ones_like}
    with jax.enable_x64(True):
        for kind, make in made.items():
            charts = poisoned(make(draw((width,) * 3)), presence)
            _, got = inner(num_features)(charts, presence, *OPTIONS)
            assert all(np.isfinite(x).all() for x in got), kind
            assert not np.asarray(got[0])[~presence].any(), kind


# One program for many


def test_vmap_over_charts_and_options_is_a_loop():
    presence = some(3)
    charts = np.stack([draw(WIDTHS["moments"], seed=seed) for seed in range(3)])
    charts, ridges = np.float32(charts), np.float32([0.3, 1, 3])
    together = jax.vmap(lambda x, ridge: fit_consensus(x, presence, ridge=ridge))
    got = together(charts, ridges)
    for b, ridge in enumerate(ridges):
        one = jax.tree.map(lambda leaf, b=b: leaf[b], got)
        expected = fit_consensus(charts[b], presence, ridge=float(ridge))
        np.testing.assert_allclose(one.agreement, expected.agreement, atol=1e-5)
        rows = merge_consensus(one, charts[b], presence)
        assert_same(rows, merge_consensus(expected, charts[b], presence), 1e-4)


def test_another_ridge_or_power_compiles_nothing():
    charts, presence = np.float32(draw(WIDTHS["moments"])), some(3)
    fit_consensus(charts, presence, ridge=1.0, agreement_power=1.0)
    with jax.no_tracing(True):
        fit_consensus(charts, presence, ridge=2.0, agreement_power=0.5)


def test_a_consensus_is_a_tree_of_arrays(base):
    charts, presence, _ = base
    consensus = fit_consensus(cast(charts, np.float32), presence, normalize=True)
    leaves, tree = jax.tree.flatten(consensus)
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    again = jax.tree.unflatten(tree, leaves)
    assert isinstance(again, Consensus)
    assert again.normalize
