"""How far charts are apart, held against two passes in float64."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jatlas import masked_mean
from jatlas.running import atlas, spread

few = settings(max_examples=15, deadline=None)
M, N, A = 4, 6, 3
presences = hnp.arrays(bool, (M, N))
weights = hnp.arrays(
    np.float32, (M, N), elements=st.one_of(st.just(0.0), st.floats(0.125, 8, width=32))
)


def draw(seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (M, N, A)).astype(np.float32)


def streamed(relative, presence, weights=None, charts=None):
    state = spread.empty(*relative.shape[1:], relative.dtype)
    for m in range(len(relative)) if charts is None else charts:
        own = None if weights is None else weights[m]
        state = spread.add(state, relative[m], presence[m], weights=own)
    return state


def two_passes(relative, presence, weights=None):
    """Sample by sample; NaN unless two charts have a weight."""
    weights = np.ones(presence.shape) if weights is None else np.float64(weights)
    found = np.full(presence.shape[1], np.nan)
    for n in range(found.size):
        here = presence[:, n] & (weights[:, n] > 0)
        if here.sum() < 2:
            continue
        rows, w = np.float64(relative[here, n]), weights[here, n]
        mean = np.average(rows, axis=0, weights=w)
        found[n] = np.sqrt(np.average(((rows - mean) ** 2).mean(axis=1), weights=w))
    return found


@few
@given(presences, st.one_of(st.none(), weights))
def test_it_is_the_deviation_from_the_mean(presence, weights):
    relative = draw()
    got = spread.value(streamed(relative, presence, weights))
    np.testing.assert_allclose(
        got, two_passes(relative, presence, weights), rtol=2e-5, atol=1e-6
    )


@few
@given(presences, weights, st.permutations(range(M)), st.integers(0, M))
def test_order_and_parts_do_not_matter(presence, weights, order, cut):
    relative = draw(1)
    whole = streamed(relative, presence, weights)
    one = streamed(relative, presence, weights, order[:cut])
    other = streamed(relative, presence, weights, order[cut:])
    for both in (spread.combine(one, other), spread.combine(other, one)):
        for got, expected in zip(
            jax.tree.leaves(both), jax.tree.leaves(whole), strict=True
        ):
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(both.charts, whole.charts)


def test_the_state_has_one_dtype_before_and_after_a_chart():
    before = spread.empty(N, A)
    after = spread.add(before, jnp.zeros((N, A)), jnp.ones(N, bool))
    for leaf in jax.tree.leaves((before, after)):
        assert leaf.dtype == jnp.float32


def test_the_atlas_within_is_the_atlas():
    presence = np.random.default_rng(2).random((M, N)) < 0.6
    state = streamed(draw(), presence)
    np.testing.assert_allclose(
        atlas.value(state.atlas), masked_mean(draw(), presence), atol=1e-6
    )


def test_no_digits_are_lost_where_charts_nearly_agree():
    """In float32 a mean of squares less a squared mean would be rounding alone."""
    apart = np.array([-3e-5, 1e-5, 2e-5, 0.0], np.float32)
    relative = np.float32(0.9) + np.broadcast_to(apart[:, None, None], (M, N, A))
    everywhere = np.ones((M, N), bool)
    got = spread.value(streamed(relative, everywhere))
    np.testing.assert_allclose(got, two_passes(relative, everywhere), rtol=1e-2)
    squares = np.float32(relative**2).mean(axis=0, dtype=np.float32)
    lost = squares - relative.mean(axis=0, dtype=np.float32) ** 2
    assert abs(lost / two_passes(relative, everywhere)[:, None] ** 2 - 1).max() > 1


def test_charts_that_agree_do_so_exactly_and_one_says_nothing():
    row = np.repeat(draw()[:1], M, axis=0)
    presence = np.zeros((M, N), bool)
    presence[:, 0] = presence[:1, 1] = True
    got = spread.value(streamed(row, presence))
    assert got[0] == 0
    assert np.isnan(got[1:]).all()


def test_equal_charts_agree_exactly_in_parts_too():
    row = np.repeat(draw()[:1], M, axis=0)
    everywhere = np.ones((M, N), bool)
    parts = [streamed(row, everywhere, charts=of) for of in ((0, 1, 2), (3,))]
    assert not np.asarray(spread.value(spread.combine(*parts))).any()


def test_a_small_weight_counts_as_what_it_is():
    weights = np.array([[1.0], [3e-7], [1e-9]], np.float32).repeat(N, 1)
    relative, everywhere = draw()[:3], np.ones((3, N), bool)
    got = spread.value(streamed(relative, everywhere, weights))
    np.testing.assert_allclose(
        got, two_passes(relative, everywhere, weights), rtol=1e-3
    )


def test_large_numbers_of_one_chart_are_no_disagreement():
    relative = np.full((2, N, A), 3e26, np.float32)
    presence = np.ones((2, N), bool)
    presence[1, :3] = False
    got = streamed(relative, presence)
    assert np.isnan(spread.value(got)[:3]).all()
    assert not np.asarray(got.squares).any()


def test_gradients_are_finite_also_where_charts_agree_or_are_absent():
    presence = np.ones((M, N), bool)
    presence[1:, 0] = presence[:, 1] = False
    relative = draw()
    relative[:, 2] = relative[0, 2]
    relative[:, 1] = np.nan

    def loss(relative):
        found = spread.value(streamed(relative, presence))
        return jnp.sum(jnp.where(jnp.isnan(found), 0, found))

    gradient = jax.grad(loss)(jnp.asarray(relative))
    assert np.isfinite(gradient).all()
    assert not np.asarray(gradient[:, :3]).any()
    assert np.abs(gradient[:, 3:]).max() > 0
