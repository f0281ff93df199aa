import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jatlas.merging.mean import masked_mean
from jatlas.merging.product import merge
from jatlas.merging.relative import relativize
from jatlas.running import atlas as running
from jatlas.running.atlas import AtlasState

few = settings(max_examples=15, deadline=None)

M, N, A, D = 3, 7, 5, 4
presences = hnp.arrays(bool, (M, N))
# No weight so small that its square vanishes in float32.
weight = st.one_of(st.just(0.0), st.floats(0.125, 8, width=32))
weights_of_charts = hnp.arrays(np.float32, M, elements=weight)
weights_of_rows = hnp.arrays(np.float32, (M, N), elements=weight)


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture(scope="module")
def relative():
    return draw(M, N, A)


@pytest.fixture(scope="module")
def spaces():
    """Embeddings (M, N, D), anchors (M, A, D), and presence in 3, 2, 1 and 0 charts."""
    presence = np.zeros((M, N), bool)
    presence[:, 0] = presence[:2, 1] = presence[1:, 2] = True
    presence[0, 3] = presence[1, 4] = presence[2, 5] = True
    return draw(M, N, D), draw(M, A, D, seed=1), presence


def reference_mean(relative, presence, weights=None):
    """Row by row, in float64; NaN where there is nothing to take a mean of."""
    mean = np.full(relative.shape[1:], np.nan)
    weights = np.ones(presence.shape) if weights is None else weights
    weights = np.broadcast_to(weights.T, presence.T.shape).T.astype(np.float64)
    for n in range(relative.shape[1]):
        here = presence[:, n]
        if weights[here, n].sum() > 0:
            mean[n] = np.average(
                relative[here, n].astype(np.float64), axis=0, weights=weights[here, n]
            )
    return mean


def poisoned(x, presence):
    return np.where(presence[..., None], x, np.nan).astype(np.float32)


# masked_mean


@few
@given(presences)
def test_masked_mean_is_the_mean_over_the_charts_that_have_the_sample(presence):
    relative = draw(M, N, A)
    got = masked_mean(relative, presence)
    np.testing.assert_allclose(got, reference_mean(relative, presence), atol=1e-6)


@few
@given(presences, st.one_of(weights_of_charts, weights_of_rows))
def test_weighted_mean_is_that_of_its_definition(presence, weights):
    relative = draw(M, N, A)
    got = masked_mean(relative, presence, weights=weights)
    expected = reference_mean(relative, presence, weights)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_scale_of_the_weights_does_not_matter(relative):
    presence, weights = np.ones((M, N), bool), np.array([1, 2, 3], np.float32)
    np.testing.assert_allclose(
        masked_mean(relative, presence, weights=weights),
        masked_mean(relative, presence, weights=100 * weights),
        atol=1e-6,
    )


@few
@given(presences)
def test_absent_rows_may_hold_nan_for_values_and_gradients(presence):
    relative = draw(M, N, A)
    bad = poisoned(relative, presence)
    weights = np.array([1, 2, 0], np.float32)
    got = masked_mean(bad, presence, weights=weights)
    np.testing.assert_array_equal(got, masked_mean(relative, presence, weights=weights))

    def loss(relative, weights):
        mean = masked_mean(relative, presence, weights=weights, empty=0.0)
        return jnp.sum(jnp.sin(mean))

    for_relative, for_weights = jax.grad(loss, (0, 1))(bad, weights)
    assert np.isfinite(for_relative).all()
    assert np.isfinite(for_weights).all()
    np.testing.assert_array_equal(np.asarray(for_relative)[~presence], 0)


def test_gradient_of_the_mean_is_the_share_of_the_chart(relative, spaces):
    presence = spaces[2]
    gradient = jax.grad(lambda r: masked_mean(r, presence, empty=0.0).sum())(relative)
    shares = presence / np.maximum(presence.sum(axis=0), 1)
    np.testing.assert_allclose(gradient, np.repeat(shares[..., None], A, -1), atol=1e-7)


def test_a_sample_in_no_chart_has_no_coordinates(relative, spaces):
    presence = spaces[2]
    nowhere = ~presence.any(axis=0)
    assert nowhere.sum() == 1
    for value in (np.nan, 0, -7.5):
        got = np.asarray(masked_mean(relative, presence, empty=value))
        np.testing.assert_array_equal(got[nowhere], np.full((1, A), value))
        assert np.isfinite(got[~nowhere]).all()
    assert np.isnan(np.asarray(masked_mean(relative, presence))[nowhere]).all()


def test_weights_that_are_all_zero_are_as_no_chart(relative):
    presence, zeros = np.ones((M, N), bool), np.zeros(M, np.float32)
    assert np.isnan(masked_mean(relative, presence, weights=zeros)).all()
    assert np.isnan(merge(draw(M, N, D), draw(M, A, D), presence, weights=zeros)).all()


def test_a_sample_in_one_chart_keeps_its_coordinates(relative):
    presence = np.zeros((M, N), bool)
    presence[1] = True
    np.testing.assert_array_equal(masked_mean(relative, presence), relative[1])


def test_a_sample_in_all_charts_has_their_plain_mean(relative):
    got = masked_mean(relative, np.ones((M, N), bool))
    np.testing.assert_allclose(got, relative.mean(axis=0), atol=1e-6)


def test_another_value_for_empty_rows_does_not_compile_anew(relative):
    presence = np.ones((M, N), bool)
    compiled = masked_mean.__wrapped__
    masked_mean(relative, presence, empty=1.0)
    before = compiled._cache_size()
    assert before > 0
    masked_mean(relative, presence, empty=2.0)
    masked_mean(relative, presence, empty=float("nan"))
    assert compiled._cache_size() == before


def test_shifts_are_the_golden_ones(golden):
    # The mean, over shared samples, of (mean over charts - this chart).
    spaces, present = golden["embeddings"][1:], golden["present"]
    relative = jax.vmap(relativize)(spaces, spaces[:, golden["anchor_ids"]])
    shared = np.isin(golden["labels"], golden["shared_classes"])
    shifts = (masked_mean(relative, present) - relative)[:, shared].mean(axis=1)
    np.testing.assert_allclose(shifts, golden["shifts"], atol=1e-6)


def test_the_mean_in_float64_keeps_its_digits(relative, spaces):
    # A third is not exact in float32: shares must be as wide as the spaces.
    with jax.enable_x64(True):
        wide = relative.astype(np.float64)
        got = masked_mean(wide, spaces[2])
        np.testing.assert_allclose(got, reference_mean(wide, spaces[2]), rtol=1e-12)


# The running atlas


def stream(relative, presence, order, weights=None, start=None):
    atlas = running.empty(N, A) if start is None else start
    for m in order:
        own = None if weights is None else weights[m]
        atlas = running.add(atlas, relative[m], presence[m], weights=own)
    return atlas


@few
@given(presences, st.permutations(range(M)), st.one_of(st.none(), weights_of_charts))
def test_charts_that_join_one_by_one_give_the_whole(presence, order, weights):
    relative = draw(M, N, A)
    whole = masked_mean(relative, presence, weights=weights)
    atlas = stream(poisoned(relative, presence), presence, order, weights)
    np.testing.assert_allclose(running.value(atlas), whole, atol=1e-5)
    shares = presence if weights is None else presence * weights[:, None]
    np.testing.assert_allclose(atlas.count, shares.sum(axis=0), rtol=1e-6)


@few
@given(presences, st.integers(0, M))
def test_parts_that_are_combined_give_the_whole(presence, cut):
    relative = draw(M, N, A)
    a = stream(relative, presence, range(cut))
    b = stream(relative, presence, range(cut, M))
    whole = masked_mean(relative, presence)
    np.testing.assert_allclose(running.value(running.combine(a, b)), whole, atol=1e-6)
    np.testing.assert_allclose(running.value(running.combine(b, a)), whole, atol=1e-6)


def test_chunks_of_rows_of_one_chart_may_join_one_after_another(relative, spaces):
    presence = spaces[2]
    early = np.arange(N) < 3
    atlas = running.empty(N, A)
    for rows in (early, ~early):
        atlas = stream(relative, presence & rows, range(M), start=atlas)
    np.testing.assert_allclose(
        running.value(atlas), masked_mean(relative, presence), atol=1e-6
    )


def test_charts_join_in_a_scan(relative, spaces):
    presence = spaces[2]
    atlas, _ = jax.lax.scan(
        lambda atlas, chart: (running.add(atlas, *chart), None),
        running.empty(N, A),
        (jnp.asarray(relative), jnp.asarray(presence)),
    )
    np.testing.assert_allclose(
        running.value(atlas), masked_mean(relative, presence), atol=1e-6
    )


def test_weights_of_rows_join_too(relative, spaces):
    presence, weights = spaces[2], np.abs(draw(M, N, seed=2))
    atlas = stream(relative, presence, range(M), weights)
    whole = masked_mean(relative, presence, weights=weights)
    np.testing.assert_allclose(running.value(atlas), whole, atol=1e-5)


def test_an_empty_atlas_has_no_rows_and_changes_nothing(relative, spaces):
    assert np.isnan(running.value(running.empty(2, 3))).all()
    np.testing.assert_array_equal(running.value(running.empty(2, 3), empty=0), 0)
    atlas = stream(relative, spaces[2], range(M))
    for both in (
        running.combine(atlas, running.empty(N, A)),
        running.combine(running.empty(N, A), atlas),
    ):
        np.testing.assert_array_equal(both.total, atlas.total)
        np.testing.assert_array_equal(both.count, atlas.count)


def test_the_running_atlas_is_float32_or_wider():
    one = jnp.ones((2, 3), jnp.bfloat16), jnp.ones(2, bool)
    with jax.enable_x64(True):
        for given_, kept in (
            (jnp.bfloat16, jnp.float32),
            (jnp.float32, jnp.float32),
            (jnp.float64, jnp.float64),
        ):
            atlas = running.add(running.empty(2, 3, given_), *one)
            assert atlas.total.dtype == atlas.count.dtype == kept
        atlas = running.add(running.empty(2, 3), one[0].astype(jnp.float64), one[1])
        assert atlas.total.dtype == atlas.count.dtype == jnp.float64
    # 256 charts of 1: in bfloat16 the sum would stop at 256.
    atlas = AtlasState(jnp.full((2, 3), 256.0), jnp.full(2, 256.0))
    np.testing.assert_array_equal(running.add(atlas, *one).total, 257)


def test_gradients_of_the_running_atlas_are_finite(relative, spaces):
    presence = spaces[2]
    bad = poisoned(relative, presence)

    def loss(relative, weights):
        atlas = stream(relative, presence, range(M), weights)
        return jnp.sum(jnp.sin(running.value(atlas, empty=0.0)))

    gradients = jax.grad(loss, (0, 1))(bad, jnp.array([1.0, 0.0, 2.0]))
    assert np.isfinite(gradients[0]).all()
    assert np.isfinite(gradients[1]).all()
    np.testing.assert_array_equal(np.asarray(gradients[0])[~presence], 0)


# What is refused


ONES = np.ones((M, N, D), np.float32), np.ones((M, A, D), np.float32)
ALL = np.ones((M, N), bool)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("presence", "message"),
    [
        (ALL[:2], r"presence must have the axes \(M, N\), here \(3, 7\)"),
        (ALL.T, r"presence must have the axes \(M, N\), here \(3, 7\)"),
        (ALL[0], r"^presence must have the axes .* got bool\(7,\)\."),
        (ALL.astype(np.float32), "presence must be boolean; for numbers write"),
        (ALL.astype(int), "presence must be boolean"),
    ],
)
def test_presence_that_does_not_fit_is_refused(presence, message):
    with pytest.raises(ValueError, match=message):
        merge(*ONES, presence)
    with pytest.raises(ValueError, match=message):
        masked_mean(np.ones((M, N, A), np.float32), presence)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(N, np.float32), r"\(M,\) or \(M, N\), here \(3,\) or .* got \(7,\)"),
        (np.ones((M, 1), np.float32), r"got \(3, 1\)"),
        (np.ones(M, int), "weights must be floating point"),
        (np.ones(M, bool), "weights must be floating point"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        merge(*ONES, ALL, weights=weights)
    with pytest.raises(ValueError, match=message):
        masked_mean(np.ones((M, N, A), np.float32), ALL, weights=weights)


@pytest.mark.usefixtures("unchecked")
def test_masked_mean_refuses_what_has_not_three_axes_of_numbers():
    with pytest.raises(ValueError, match=r"axes of relative .* \[3, 2\]. Give \(M, N"):
        masked_mean(np.ones((M, N), np.float32), ALL)
    with pytest.raises(ValueError, match="relative must be floating point"):
        masked_mean(np.ones((M, N, A), int), ALL)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("relative", "presence", "weights", "message"),
    [
        ((N, A + 1), ALL[0], None, r"\(N, A\) .* got \[\(7, 5\), \(7, 6\)\]. A chart"),
        ((N, A), ALL, None, r"presence must have the axes \(N,\), here \(7,\)"),
        ((N, A), ALL[0], np.ones((N, 1), np.float32), r"a scalar or \(N,\).*\(7, 1\)"),
        ((N, A), ALL[0], 2, "weights must be floating point"),
    ],
)
def test_add_chart_refuses_what_does_not_fit(relative, presence, weights, message):
    with pytest.raises(ValueError, match=message):
        running.add(
            running.empty(N, A),
            np.ones(relative, np.float32),
            presence,
            weights=weights,
        )


@pytest.mark.usefixtures("unchecked")
def test_combine_refuses_atlases_of_other_samples_or_anchors():
    with pytest.raises(ValueError, match=r"got \[\(7, 5\), \(7, 4\)\]. Only atlases"):
        running.combine(running.empty(N, A), running.empty(N, A - 1))


def test_a_negative_weight_gives_no_number():
    relative = jnp.ones((2, 3, 1))
    presence = jnp.array([[True, True, True], [True, True, False]])
    weights = jnp.array([2.0, -1.0])
    merged = masked_mean(relative, presence, weights=weights)
    assert jnp.isnan(merged[:, 0]).tolist() == [True, True, False]  # absent: unseen
    atlas = running.add(running.empty(3, 1), relative[0], presence[0], weights=-1.0)
    assert jnp.isnan(running.value(atlas)).all()
