"""Consensus coordinates from sums, held against the fit of all rows at once."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import NamedSharding, PartitionSpec

from jatlas.merging.consensus import fit_consensus, merge_consensus
from jatlas.running.consensus import add, combine, empty, value

few = settings(max_examples=10, deadline=None)
M, N, CHUNK = 3, 40, 8
WIDTHS = {"stacked": (4, 4, 4), "of differing widths": (2, 5, 3)}
each_width = pytest.mark.parametrize("widths", WIDTHS.values(), ids=WIDTHS)


def draw(widths=WIDTHS["stacked"], seed=0, shift=0.0):
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(N, 4)) * [4, 2, 1, 0.5]
    charts = [
        shift + hidden @ rng.normal(size=(4, d)) + 0.5 * rng.normal(size=(N, d))
        for d in widths
    ]
    return np.stack(charts) if len(set(widths)) == 1 else charts


def some(seed=1):
    """One chart is absent from the first chunk, and nothing is linked in the last."""
    presence = np.random.default_rng(seed).random((M, N)) < 0.75
    presence[2, :CHUNK] = presence[1:, -CHUNK:] = False
    presence[0] |= presence[1:].any(axis=0)
    return presence


def rows_of(charts, places):
    return jax.tree.map(lambda x: x[..., places, :], charts)


def chunk_states(charts, presence, **options):
    """A state a chunk; float64 where JAX has it."""
    widths = [x.shape[-1] for x in charts]
    before = empty(widths, dtype=charts[0].dtype, **options)
    return [
        add(before, rows_of(charts, slice(i, i + CHUNK)), presence[:, i : i + CHUNK])
        for i in range(0, N, CHUNK)
    ]


def assert_same(got, expected, tolerance=1e-9):
    """The same numbers, relative to the largest of each array."""
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        largest = np.max(np.abs(other), initial=1e-30)
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * largest)


@pytest.mark.parametrize(
    ("kind", "normalize"), [("stacked", False), ("of differing widths", True)]
)
def test_rows_in_chunks_are_rows_at_once(kind, normalize):
    widths = WIDTHS[kind]
    charts, presence = draw(widths), some()
    options = {"num_features": 4, "ridge": 0.5, "agreement_power": 2.0}
    with jax.enable_x64(True):
        state = empty(widths, normalize=normalize, dtype=jnp.float64)
        for i in range(0, N, CHUNK):
            rows = rows_of(charts, slice(i, i + CHUNK))
            state = add(state, rows, presence[:, i : i + CHUNK])
        whole = fit_consensus(charts, presence, normalize=normalize, **options)
        assert_same(value(state, **options), whole)


@few
@given(st.permutations(range(N // CHUNK)), st.integers(0, N // CHUNK))
def test_order_and_cutting_do_not_matter(order, cut):
    with jax.enable_x64(True):
        charts, presence = draw(), some()
        states = chunk_states(charts, presence)
        nothing = empty([4] * M, dtype=jnp.float64)
        parts = [
            [states[i] for i in order[:cut]],
            [states[i] for i in order[cut:]],
        ]
        one, other = (
            combine(sum_of(part[:-1], nothing), part[-1]) if part else nothing
            for part in parts
        )
        whole = add(nothing, charts, presence)
        for both in (combine(one, other), combine(other, one)):
            assert_same(both, whole, 1e-12)


def sum_of(states, start):
    for state in states:
        start = combine(start, state)
    return start


def test_combine_is_associative():
    with jax.enable_x64(True):
        a, b, c, *_ = chunk_states(draw(), some())
        assert_same(combine(combine(a, b), c), combine(a, combine(b, c)), 1e-12)


def test_nothing_added_changes_nothing():
    with jax.enable_x64(True):
        charts, presence = draw(), some()
        nothing = empty([4] * M, dtype=jnp.float64)
        whole = add(nothing, charts, presence)
        for same in (
            combine(whole, nothing),
            combine(nothing, whole),
            add(whole, charts, np.zeros((M, N), bool)),
            add(whole, charts, presence & (np.arange(M) == 1)[:, None]),
        ):
            assert_same(same, whole, 1e-14)


def test_a_fold_is_left_out():
    with jax.enable_x64(True):
        charts, presence = draw(), some()
        states = chunk_states(charts, presence)
        for fold in range(1, 4):
            kept = [state for i, state in enumerate(states) if i != fold]
            where = np.arange(N) // CHUNK != fold
            expected = fit_consensus(charts, presence, where=where)
            assert_same(value(sum_of(kept[1:], kept[0])), expected)


def test_the_last_chunk_may_be_padded():
    widths = WIDTHS["of differing widths"]
    charts, presence = draw(widths), some()
    first, last = slice(0, 32), np.arange(32, 64) % N
    padding = np.arange(32) < CHUNK
    bad = jax.tree.map(
        lambda x: np.where(padding[:, None], x, np.nan), rows_of(charts, last)
    )
    with jax.enable_x64(True):
        state = empty(widths, dtype=jnp.float64)
        state = add(state, rows_of(charts, first), presence[:, first])
        state = add(state, bad, presence[:, last], where=padding)
        expected = add(empty(widths, dtype=jnp.float64), charts, presence)
    assert_same(state, expected, 1e-12)


def test_the_moments_are_those_of_their_definition():
    charts, presence = draw(), some()
    with jax.enable_x64(True):
        states = chunk_states(charts, presence)
        state = sum_of(states[1:], states[0])
    linked = presence & (presence.sum(axis=0) > 1)
    means = [x[mine].mean(axis=0) for x, mine in zip(charts, linked, strict=True)]
    z = [
        np.where(mine[:, None], x - mean, 0)
        for x, mine, mean in zip(charts, linked, means, strict=True)
    ]
    share = 1 / np.maximum(linked.sum(axis=0), 1)
    beside = np.hstack(z)
    np.testing.assert_array_equal(state.count, linked.sum(axis=1))
    close = partial(np.testing.assert_allclose, rtol=0, atol=1e-10)
    close(state.mean, np.concatenate(means))
    close(state.within, [x.T @ x for x in z])
    close(state.across, (beside * share[:, None]).T @ beside)
    close(state.first, (linked * share) @ beside)
    close(state.links, (linked * share) @ linked.T)


@pytest.mark.parametrize("chunk", [1, 8])
def test_large_means_lose_few_digits_in_float32(chunk):
    charts, presence = np.float32(draw(shift=1e4)), some()
    state = empty([4] * M)
    for i in range(0, N, chunk):
        state = add(state, charts[:, i : i + chunk], presence[:, i : i + chunk])
    with jax.enable_x64(True):
        exact = fit_consensus(np.float64(charts), presence)
    got = value(state)
    np.testing.assert_allclose(got.agreement, exact.agreement, atol=1e-3)
    merged = merge_consensus(got, charts, presence)
    with jax.enable_x64(True):
        expected = np.asarray(merge_consensus(exact, np.float64(charts), presence))
    largest = np.nanmax(np.abs(expected))
    np.testing.assert_allclose(merged, expected, rtol=0, atol=2e-3 * largest)


@pytest.mark.parametrize("axes", ["Auto", "Explicit"])
def test_rows_on_several_devices_give_the_same(axes):
    kind = getattr(jax.sharding.AxisType, axes)
    mesh = jax.make_mesh((4,), ("samples",), axis_types=(kind,))
    sharding = NamedSharding(mesh, PartitionSpec(None, "samples"))
    charts, presence = np.float32(draw()), some()
    expected = add(empty([4] * M), charts, presence)
    placed = jax.device_put((charts, presence), sharding)
    got = add(empty([4] * M), *placed)
    assert_same(got, expected, 1e-5)
    assert_same(combine(got, got), combine(expected, expected), 1e-5)
    for leaf in jax.tree.leaves(value(got)):
        assert leaf.sharding.is_fully_replicated


def test_states_are_added_in_a_scan():
    charts, presence = np.float32(draw()), some()
    chunks = charts.reshape(M, -1, CHUNK, 4).swapaxes(0, 1)
    present = presence.reshape(M, -1, CHUNK).swapaxes(0, 1)

    def step(state, chunk):
        return add(state, *chunk), None

    got, _ = jax.lax.scan(step, empty([4] * M), (chunks, present))
    assert_same(got, add(empty([4] * M), charts, presence), 1e-5)


@each_width
def test_an_empty_state_has_the_shapes_and_dtypes_that_come(widths):
    for dtype in (jnp.bfloat16, jnp.float32):
        before = empty(widths, normalize=True, dtype=dtype)
        charts = jax.tree.map(partial(jnp.asarray, dtype=dtype), draw(widths))
        after = add.eval_shape(before, charts, some())
        assert jax.tree.structure(before) == jax.tree.structure(after)
        for one, other in zip(
            jax.tree.leaves(before), jax.tree.leaves(after), strict=True
        ):
            assert one.shape == other.shape
            assert one.dtype == other.dtype == jnp.float32
            assert not np.asarray(one).any()


def test_of_charts_that_nothing_joins_nothing_is_known():
    charts, presence = np.float32(draw()), np.zeros((M, N), bool)
    presence[:2, :20] = True
    presence[2, 20:] = True
    state = add(empty([4] * M), charts, presence)
    for unknown in (value(state), value(empty([4] * M))):
        for leaf in (unknown.mean, unknown.scale, unknown.weights, unknown.agreement):
            assert np.isnan(leaf).all()
    presence[1:, 30:32] = True
    joined = value(add(empty([4] * M), charts, presence))
    assert np.isfinite(joined.agreement).all()


@pytest.mark.usefixtures("unchecked")
def test_what_does_not_fit_is_refused():
    charts, presence = np.float32(draw()), some()
    with pytest.raises(ValueError, match="there are no charts"):
        empty([])
    with pytest.raises(ValueError, match="dimension of chart 1 must be a whole number"):
        empty([3, 0])
    state = empty([4] * M)
    with pytest.raises(ValueError, match=r"\(4, 4, 4\), \(3, 3, 3\)"):
        add(state, charts[..., :3], presence)
    with pytest.raises(ValueError, match="presence must have the axes"):
        add(state, charts, presence[:2])
    with pytest.raises(ValueError, match="presence must be boolean"):
        add(state, charts, np.float32(presence))
    with pytest.raises(ValueError, match="chart 0 must be floating point"):
        add(state, np.int32(charts), presence)
    with pytest.raises(ValueError, match="states of the same charts"):
        combine(state, empty([4] * 2))
    with pytest.raises(ValueError, match="normalize of the two states"):
        combine(state, empty([4] * M, normalize=True))
    with pytest.raises(ValueError, match="num_features must be from 1 to 12"):
        value(state, num_features=13)
    with pytest.raises(ValueError, match="num_features must be a whole number of 1"):
        value(state, num_features=0)
