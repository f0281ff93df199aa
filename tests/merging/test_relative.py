from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jatlas.merging.relative import SIMILARITIES, rbf, relativize

few = settings(max_examples=15, deadline=None)
each_similarity = pytest.mark.parametrize("similarity", SIMILARITIES)


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def reference(similarity, x, a):
    """The definitions, in float64, by the plainest road."""
    x, a = np.asarray(x, np.float64), np.asarray(a, np.float64)
    inner = x @ a.T
    lengths = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(a, axis=1)
    square = ((x[:, None] - a[None]) ** 2).sum(axis=-1)
    if similarity == "inner":
        return inner
    if similarity == "cosine":
        return inner / lengths
    if similarity == "angular":
        return 1 - np.arccos(np.clip(inner / lengths, -1, 1)) / np.pi
    if similarity == "euclidean":
        return -np.sqrt(square)
    pairs = [((p - q) ** 2).sum() for i, p in enumerate(a) for q in a[:i]]
    return np.exp(-square / (2 * np.mean(pairs)))


@pytest.fixture(scope="module")
def sides():
    return draw(9, 5).astype(np.float32), draw(6, 5, seed=1).astype(np.float32)


# Values


def test_relative_spaces_are_the_golden_ones(golden):
    spaces = golden["embeddings"]
    got = jax.vmap(relativize)(spaces[:, :200], spaces[:, golden["anchor_ids"]])
    np.testing.assert_allclose(got, golden["relative"], atol=1e-5)


@each_similarity
def test_similarity_is_its_definition(similarity, sides):
    got = relativize(*sides, similarity=similarity)
    np.testing.assert_allclose(got, reference(similarity, *sides), rtol=1e-5, atol=1e-6)


@each_similarity
def test_similarity_in_float64_keeps_its_digits(similarity, sides):
    with jax.enable_x64(True):
        x, a = (np.asarray(side, np.float64) for side in sides)
        got = relativize(x, a, similarity=similarity)
        assert got.dtype == jnp.float64
        np.testing.assert_allclose(got, reference(similarity, x, a), rtol=1e-12)


@each_similarity
def test_similarity_in_bfloat16_is_computed_wide(similarity, sides):
    x, a = (jnp.asarray(side, jnp.bfloat16) for side in sides)
    got = relativize(x, a, similarity=similarity)
    assert got.dtype == jnp.bfloat16
    # Rounded once, at the end: half a unit in the last of eight binary digits.
    expected = reference(similarity, x, a)
    np.testing.assert_allclose(
        np.asarray(got, np.float64), expected, rtol=2**-8, atol=1e-6
    )


def test_mixed_dtypes_go_to_the_wider():
    x, a = jnp.ones((2, 3), jnp.bfloat16), jnp.ones((4, 3), jnp.float32)
    assert relativize(x, a).dtype == jnp.float32


INVARIANT = {
    "cosine": {"rotated", "scaled", "rows scaled"},
    "angular": {"rotated", "scaled", "rows scaled"},
    "inner": {"rotated"},
    "euclidean": {"rotated", "moved"},
    "rbf": {"rotated", "scaled", "moved"},
}


def change(how, x, rows, rng):
    """A change of a space; `rng` starts anew, so that both sides get the same."""
    if how == "rotated":
        return x @ np.linalg.qr(rng.normal(size=(5, 5)))[0]
    if how == "scaled":
        return x * rng.uniform(2, 100)
    if how == "moved":
        return x + rng.normal(size=5)
    if how == "features scaled":
        return x * rng.uniform(0.1, 10, 5)
    return x * rows.uniform(0.1, 10, (len(x), 1))


@each_similarity
@pytest.mark.parametrize(
    "how", ["rotated", "scaled", "moved", "features scaled", "rows scaled"]
)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000))
def test_similarity_does_not_change_when_and_only_when_it_should_not(
    similarity, how, seed
):
    x, a = draw(9, 5, seed=seed), draw(6, 5, seed=seed + 1)
    rows = np.random.default_rng(seed)
    changed = [change(how, side, rows, np.random.default_rng(seed)) for side in (x, a)]
    before, after = (
        relativize(*(side.astype(np.float32) for side in pair), similarity=similarity)
        for pair in ((x, a), changed)
    )
    if how in INVARIANT[similarity]:
        np.testing.assert_allclose(after, before, atol=2e-5)
    else:
        assert np.abs(after - before).max() > 1e-2


@few
@given(exponent=st.integers(-30, 30))
def test_cosine_holds_at_any_scale(exponent):
    x, a = draw(9, 5), draw(6, 5, seed=1)
    scaled = (x * 10.0**exponent).astype(np.float32)
    got = relativize(scaled, a.astype(np.float32))
    np.testing.assert_allclose(got, reference("cosine", x, a), atol=1e-6)


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_rbf_holds_where_squares_vanish_or_overflow(scale, sides):
    got = relativize(*(side * np.float32(scale) for side in sides), similarity="rbf")
    np.testing.assert_allclose(got, reference("rbf", *sides), atol=1e-6)


@few
@given(seed=st.integers(0, 1000))
def test_order_of_samples_and_anchors_is_that_of_rows_and_columns(seed):
    x, a = draw(9, 5).astype(np.float32), draw(6, 5, seed=1).astype(np.float32)
    rng = np.random.default_rng(seed)
    rows, columns = rng.permutation(9), rng.permutation(6)
    got = relativize(x[rows], a[columns])
    np.testing.assert_allclose(got, relativize(x, a)[rows][:, columns], atol=1e-6)


@pytest.mark.usefixtures("devices")
def test_angular_keeps_its_digits_near_zero_and_pi():
    # The arc cosine of a cosine in float32 gives 0 for all of these angles.
    angles = np.array([1e-6, 1e-5, 1e-4])
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    a = np.array([[1, 0], [-1, 0]], np.float32)
    exact = np.arctan2(x[:, 1].astype(np.float64), x[:, 0])
    got = np.asarray(relativize(x, a, similarity="angular"), np.float64)
    np.testing.assert_allclose(got[:, 0], 1 - exact / np.pi, atol=6e-8)
    np.testing.assert_allclose(got[:, 1], exact / np.pi, rtol=1e-6)
    with jax.enable_x64(True):
        x = np.array([[1.0, 1e-9]])
        got = relativize(x, a.astype(np.float64), similarity="angular")
        np.testing.assert_allclose(1 - got[0, 0], 1e-9 / np.pi, rtol=1e-6)


@pytest.mark.usefixtures("devices")
def test_angular_of_the_same_is_one_and_of_the_opposite_zero():
    x = draw(5, 3).astype(np.float32)
    got = np.asarray(relativize(x, np.concatenate([x, -x]), similarity="angular"))
    np.testing.assert_allclose(np.diag(got[:, :5]), 1, atol=1.2e-7)
    np.testing.assert_array_equal(np.diag(got[:, 5:]), 0)


# Edges


@pytest.mark.usefixtures("devices")
def test_angular_keeps_its_digits_at_all_angles():
    rng = np.random.default_rng(4)
    cosines = np.linspace(-0.999, 0.999, 400)
    a, across = np.linalg.qr(rng.normal(size=(256, 2)))[0].T
    x = cosines[:, None] * a + np.sqrt(1 - cosines**2)[:, None] * across
    for rows in (x[cosines > -0.49], x):  # without a pair that is nearly opposite
        x32, a32 = rows.astype(np.float32), a[None].astype(np.float32)
        both = np.float64(x32), np.float64(a32)
        u, v = (s / np.linalg.norm(s, axis=1, keepdims=True) for s in both)
        apart, along = np.linalg.norm(u - v, axis=1), np.linalg.norm(u + v, axis=1)
        exact = 1 - 2 * np.arctan2(apart, along) / np.pi
        got = relativize(x32, a32, similarity="angular")[:, 0]
        np.testing.assert_allclose(got, exact, rtol=1e-6)


@pytest.mark.usefixtures("devices")
def test_an_opposite_pair_changes_no_other_angle():
    rng = np.random.default_rng(2)
    x, a = (rng.normal(size=(n, 20)).astype(np.float32) for n in (40, 5))
    alone = np.asarray(relativize(x, a, similarity="angular"))
    x[-1], a[-1] = -a[0], 0
    together = np.asarray(relativize(x, a, similarity="angular"))
    np.testing.assert_array_equal(together[:-1, :-1], alone[:-1, :-1])
    assert together[-1, 0] < 1e-7
    np.testing.assert_array_equal(together[:, -1], 0.5)


@pytest.mark.parametrize(("similarity", "value"), [("cosine", 0), ("angular", 0.5)])
def test_a_zero_vector_has_the_similarity_of_a_right_angle(similarity, value):
    zero, some = np.zeros((1, 3), np.float32), np.eye(3, dtype=np.float32)
    for x, a in ((zero, some), (some, zero), (zero, zero)):
        got = relativize(x, a, similarity=similarity)
        np.testing.assert_array_equal(got, value)


def test_a_zero_vector_has_gradient_zero():
    x, a = jnp.zeros((1, 3)), jnp.eye(3)
    for similarity in ("cosine", "angular"):
        gradient = jax.grad(
            lambda x, s=similarity: relativize(x, a, similarity=s)[0, 0]
        )
        np.testing.assert_array_equal(gradient(x), 0)


EDGES = {
    "zero samples": (np.zeros((4, 3)), draw(4, 3)),
    "zero anchors": (draw(4, 3), np.zeros((4, 3))),
    "all zero": (np.zeros((4, 3)), np.zeros((4, 3))),
    "samples are anchors": (draw(4, 3), draw(4, 3)),
    "samples opposite": (draw(4, 3), -draw(4, 3)),
    "duplicated anchors": (draw(4, 3), np.tile(draw(1, 3, seed=1), (4, 1))),
    "one of each": (draw(1, 3), draw(1, 3, seed=1)),
    "one dimension": (draw(4, 1), draw(4, 1, seed=1)),
}


@each_similarity
@pytest.mark.parametrize(("x", "a"), EDGES.values(), ids=EDGES)
def test_values_and_gradients_are_finite_at_the_edges(similarity, x, a):
    x, a = jnp.asarray(x, jnp.float32), jnp.asarray(a, jnp.float32)

    def loss(x, a):
        value = relativize(x, a, similarity=similarity)
        return jnp.sum(jnp.sin(value) + value), value

    gradients, value = jax.grad(loss, (0, 1), has_aux=True)(x, a)
    assert np.isfinite(value).all()
    assert np.isfinite(gradients[0]).all()
    assert np.isfinite(gradients[1]).all()


@each_similarity
def test_gradient_is_that_of_finite_differences(similarity, sides):
    with jax.enable_x64(True):
        x, a = (jnp.asarray(side, jnp.float64) for side in sides)
        dx, da = jnp.asarray(draw(9, 5, seed=2)), jnp.asarray(draw(6, 5, seed=3))
        c = draw(9, 6, seed=4)
        loss = lambda x, a: jnp.vdot(c, relativize(x, a, similarity=similarity))  # noqa: E731
        step = 1e-6
        expected = (
            loss(x + step * dx, a + step * da) - loss(x - step * dx, a - step * da)
        ) / (2 * step)
        gradients = jax.grad(loss, (0, 1))(x, a)
        got = jnp.vdot(gradients[0], dx) + jnp.vdot(gradients[1], da)
        np.testing.assert_allclose(got, expected, rtol=1e-6)


@each_similarity
def test_a_nan_stays_in_its_row(similarity, sides):
    x, a = sides[0].copy(), sides[1]
    x[2, 1] = np.nan
    got = np.asarray(relativize(x, a, similarity=similarity))
    assert np.isnan(got[2]).all()
    assert np.isfinite(np.delete(got, 2, axis=0)).all()


# Widths and functions of one's own


def test_rbf_takes_a_width_and_else_that_of_the_anchors(sides):
    x, a = sides
    square = ((x[:, None].astype(np.float64) - a[None]) ** 2).sum(axis=-1)
    got = relativize(x, a, similarity=partial(rbf, sigma=2.0))
    np.testing.assert_allclose(got, np.exp(-square / 8), rtol=1e-5)


@pytest.mark.parametrize("copies", [1, 3, 7])
def test_rbf_width_is_one_for_copies_of_one_anchor(copies):
    # 0.1 is not exact in binary: neither is the mean of its copies.
    a = np.full((copies, 4), 0.1, np.float32)
    got = relativize(np.zeros((2, 4), np.float32), a, similarity="rbf")
    np.testing.assert_allclose(got, np.exp(-0.04 / 2), rtol=1e-6)


def test_a_function_may_be_the_similarity(sides):
    x, a = sides
    got = relativize(x, a, similarity=lambda x, a: (x @ a.T) ** 2)
    np.testing.assert_allclose(got, reference("inner", x, a) ** 2, rtol=1e-4)


def test_similarities_make_no_array_of_differences(largest_array):
    x, a = jnp.ones((11, 7)), jnp.ones((13, 7))
    for similarity in SIMILARITIES:
        function = partial(relativize, similarity=similarity)
        assert largest_array(function, x, a) <= 11 * 13


# What is refused


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("x", "a", "message"),
    [
        ((4, 3), (5, 2), r"dimension D .* got \[3, 2\].*\(4, 3\) and \(5, 2\)"),
        ((2, 4, 3), (5, 3), r"embeddings must be a matrix.*jax\.vmap"),
        ((4, 3), (3,), "anchors must be a matrix"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(x, a, message):
    with pytest.raises(ValueError, match=message):
        relativize(np.ones(x, np.float32), np.ones(a, np.float32))


@pytest.mark.usefixtures("unchecked")
def test_integers_are_refused():
    with pytest.raises(ValueError, match="embeddings must be floating point; convert"):
        relativize(np.ones((4, 3), int), np.ones((5, 3), np.float32))
    with pytest.raises(ValueError, match="anchors must be floating point; convert"):
        relativize(np.ones((4, 3), np.float32), np.ones((5, 3), int))


def test_an_unknown_similarity_is_refused_and_the_known_are_named(sides):
    with pytest.raises(ValueError, match="'cosin'; known are cosine, angular, inner, "):
        relativize(*sides, similarity="cosin")


@pytest.mark.usefixtures("unchecked")
def test_a_similarity_that_does_not_give_n_by_a_is_refused(sides):
    with pytest.raises(
        ValueError, match=r"got \[\(9, 6\), \(6, 9\)\]. A similarity is"
    ):
        relativize(*sides, similarity=lambda x, a: a @ x.T)
