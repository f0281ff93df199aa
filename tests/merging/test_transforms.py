import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from jatlas._src.spectra.roots import inverse_sqrt
from jatlas.merging.relative import relativize
from jatlas.merging.transforms import (
    Transform,
    apply_transform,
    dropped_directions,
    fit_center,
    fit_standardize,
    fit_whiten,
)

few = settings(max_examples=15, deadline=None)
fits = pytest.mark.parametrize("fit", [fit_center, fit_standardize, fit_whiten])


def draw(shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def moved(fit, x, **options):
    return np.asarray(apply_transform(fit(x, **options), x))


# What is fitted


def test_center_takes_the_mean_off():
    x = draw((20, 5)) + 1e3
    expected = x.astype(np.float64) - x.astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(moved(fit_center, x), expected, atol=1e-4)


@few
@given(st.integers(0, 1000), st.integers(-15, 15))
def test_standardize_is_the_population_standard_score_at_any_scale(seed, exponent):
    x = (draw((20, 5), seed) * 10.0**exponent).astype(np.float32)
    wide = x.astype(np.float64)
    expected = (wide - wide.mean(axis=0)) / wide.std(axis=0)
    np.testing.assert_allclose(moved(fit_standardize, x), expected, atol=1e-5)


def test_standardize_holds_where_squares_vanish_or_overflow():
    x = draw((20, 4)) * np.array([1e-30, 1e-25, 1.0, 1e30], np.float32)
    wide = x.astype(np.float64)
    expected = (wide - wide.mean(axis=0)) / wide.std(axis=0)
    np.testing.assert_allclose(moved(fit_standardize, x), expected, atol=1e-5)


def test_standardized_spaces_are_the_golden_ones(golden):
    spaces = golden["embeddings"]
    anchors = spaces[:, golden["anchor_ids"]]

    @jax.vmap
    def standardized(space):
        return apply_transform(fit_standardize(space), space)

    relative = jax.vmap(relativize)(standardized(spaces), standardized(anchors))
    got = relative[:, :200]
    np.testing.assert_allclose(got, golden["relative_standardized"], atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.1, -12345.678])
def test_a_constant_feature_is_centered_only(value):
    x = np.column_stack([draw(20), np.full(20, value, np.float32)])
    transform = fit_standardize(x)
    assert transform.scale[1] == 1
    np.testing.assert_array_equal(fit_center(x).scale, 1)
    assert np.abs(moved(fit_standardize, x)[:, 1]).max() <= 1e-6 * max(1, abs(value))


def test_whitening_makes_the_covariance_the_identity():
    x = draw((200, 5)) @ draw((5, 5), 1) + 10
    white = moved(fit_whiten, x, shrinkage=0.0).astype(np.float64)
    np.testing.assert_allclose(white.T @ white / 200, np.eye(5), atol=1e-4)


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
@pytest.mark.parametrize("shrinkage", [0, 0.1, 1])
def test_whitening_is_the_symmetric_root_of_the_shrunk_covariance(scale, shrinkage):
    x = draw((50, 4)) * np.float32(scale)
    covariance = np.cov(x.astype(np.float64) / scale, rowvar=False, bias=True)
    target = np.trace(covariance) / 4 * np.eye(4)
    values, vectors = np.linalg.eigh((1 - shrinkage) * covariance + shrinkage * target)
    expected = vectors * values**-0.5 @ vectors.T
    got = fit_whiten(x, shrinkage=shrinkage).scale
    np.testing.assert_allclose(got * scale, expected, atol=1e-4)


def test_whitening_more_features_than_rows_maps_the_null_space_to_zero():
    x = draw((6, 10))
    transform = fit_whiten(x, shrinkage=0.0)
    white = np.asarray(apply_transform(transform, x), np.float64)
    values = np.linalg.eigvalsh(white.T @ white / 6)
    np.testing.assert_allclose(values, [0] * 5 + [1] * 5, atol=1e-4)
    # A direction that no row has: orthogonal to the centered rows.
    null = np.linalg.svd(x - x.mean(axis=0))[2][-1].astype(np.float32)
    gone = apply_transform(transform, np.asarray(transform.mean + null)[None])
    np.testing.assert_allclose(gone, 0, atol=1e-4)


def test_whitening_shrunk_has_no_null_space():
    x = draw((6, 10))
    assert np.linalg.matrix_rank(fit_whiten(x, shrinkage=0.1).scale) == 10
    assert np.linalg.matrix_rank(fit_whiten(x, shrinkage=0.0).scale) == 5


@pytest.mark.parametrize("shrinkage", [-0.1, 1.1, np.nan])
def test_shrinkage_out_of_range_is_nan(shrinkage):
    assert np.isnan(fit_whiten(draw((6, 3)), shrinkage=shrinkage).scale).all()


# Rows that count


@fits
def test_masked_rows_equal_dropped_rows_and_may_hold_nan(fit):
    x, where = draw((20, 5)), np.arange(20) % 3 > 0
    poisoned = np.where(where[:, None], x, np.nan).astype(np.float32)
    masked, dropped = fit(poisoned, where=where), fit(x[where])
    np.testing.assert_allclose(masked.mean, dropped.mean, atol=1e-6)
    np.testing.assert_allclose(masked.scale, dropped.scale, atol=1e-5)

    def loss(x):
        return sum(jnp.sum(jnp.sin(part)) for part in fit(x, where=where)[:2])

    gradient = jax.grad(loss)(poisoned)
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[~where], 0)


@fits
def test_of_no_rows_nothing_is_known(fit):
    transform = fit(draw((4, 3)), where=np.zeros(4, bool))
    assert np.isnan(transform.mean).all()
    assert np.isnan(apply_transform(transform, draw((4, 3)))).all()


@fits
def test_one_row_is_mapped_to_zero(fit):
    x = draw((1, 3))
    np.testing.assert_array_equal(moved(fit, x), 0)
    gradient = jax.grad(lambda x: sum(part.sum() for part in fit(x)[:2]))(x)
    assert np.isfinite(gradient).all()


@fits
@pytest.mark.parametrize(
    "x",
    [np.zeros((6, 4)), np.full((6, 4), 0.1), np.tile(draw(4), (6, 1)), np.eye(4)],
    ids=["zeros", "constant", "copies", "equal variances"],
)
def test_gradients_are_finite_where_nothing_or_everything_varies_alike(fit, x):
    x = jnp.asarray(x, jnp.float32)

    def loss(x):
        return jnp.sum(jnp.sin(apply_transform(fit(x), x)))

    assert np.isfinite(jax.grad(loss)(x)).all()


@fits
def test_rows_of_a_nan_are_nan(fit):
    x = draw((5, 3))
    x[2, 1] = np.nan
    assert np.isnan(moved(fit, x)[:, 1]).all()


@fits
def test_on_several_devices_only_sums_are_sent(fit):
    mesh = jax.make_mesh((4,), ("samples",))
    x = jax.device_put(draw((20, 5)), jax.NamedSharding(mesh, jax.P("samples")))
    program = fit.lower(x).compile().as_text()
    assert "all-reduce" in program
    assert not re.search("all-gather|all-to-all|collective-permute", program)


@pytest.mark.parametrize("offset", [1e4, 1e6])
def test_far_from_the_origin_differences_keep_their_digits(offset):
    # What is left of the mean is one number a feature, at most its rounding.
    x = (draw((20, 5)) + offset).astype(np.float32)
    wide = x.astype(np.float64)
    rest = moved(fit_center, x) - (wide - wide.mean(axis=0))
    assert np.abs(rest).max() <= np.finfo(np.float32).eps * offset
    np.testing.assert_allclose(rest - rest[0], 0, atol=1e-6)


# S^(-1/2) and its derivative


SPECTRA = {
    "different": [0.5, 1.0, 2.0, 5.0],
    "repeated": [1.0, 1.0, 2.0, 2.0],
    "identity": [1.0, 1.0, 1.0, 1.0],
    "nearly repeated": [1.0, 1.0 + 1e-12, 2.0, 3.0],
}


def positive(spectrum):
    q = np.linalg.qr(draw((4, 4), 3, np.float64))[0]
    return jnp.asarray(q * np.array(spectrum) @ q.T)


@pytest.mark.slow
@pytest.mark.parametrize("spectrum", SPECTRA.values(), ids=SPECTRA)
def test_derivative_of_the_root_is_that_of_finite_differences(spectrum):
    with jax.enable_x64(True):
        matrix = positive(spectrum)
        tangent = jnp.asarray(draw((4, 4), 4, np.float64))
        tangent = tangent + tangent.T
        root = lambda m: inverse_sqrt(m, "highest")  # noqa: E731
        step = 1e-5
        expected = (root(matrix + step * tangent) - root(matrix - step * tangent)) / (
            2 * step
        )
        root_, got = jax.jvp(root, (matrix,), (tangent,))
        np.testing.assert_allclose(root_ @ matrix @ root_, np.eye(4), atol=1e-12)
        np.testing.assert_allclose(got, expected, atol=1e-8)
        cotangent = jnp.asarray(draw((4, 4), 5, np.float64))
        (back,) = jax.vjp(root, matrix)[1](cotangent)
        np.testing.assert_allclose(
            jnp.vdot(back, tangent), jnp.vdot(cotangent, got), rtol=1e-12
        )


@pytest.mark.slow
def test_derivative_of_the_root_at_a_null_space_of_constant_dimension():
    # S = B'B stays of rank 3 as B moves: f(B) = (B'B)^(+1/2) is smooth there.
    with jax.enable_x64(True):
        b = jnp.asarray(draw((3, 5), 6, np.float64))
        check_grads(
            lambda b: inverse_sqrt(jnp.asarray(b.T @ b), "highest"),
            (b,),
            order=1,
            rtol=1e-6,
        )


@pytest.mark.parametrize("shape", [(30, 4), (6, 10)], ids=["N > D", "D > N"])
@pytest.mark.parametrize("shrinkage", [0.0, 0.1])
def test_gradient_of_whitening_is_that_of_finite_differences(shape, shrinkage):
    with jax.enable_x64(True):
        x = jnp.asarray(draw(shape, 7, np.float64))
        check_grads(
            lambda x: fit_whiten(x, shrinkage=shrinkage).scale, (x,), 1, rtol=1e-5
        )


def test_a_matrix_of_nan_has_no_root():
    assert np.isnan(inverse_sqrt(jnp.full((3, 3), jnp.nan), "highest")).all()


# Directions that are dropped


def covariance(x):
    wide = x.astype(np.float64)
    return np.cov(wide, rowvar=False, bias=True)


def test_whitening_keeps_what_float32_knows_beside_a_large_feature():
    x = draw((1500, 512))
    x[:, 0] *= 150
    transform = fit_whiten(x, shrinkage=0.0)
    root = np.asarray(transform.scale, np.float64)
    # Variances from .2 to 22,500. NumPy's float32, with no floor at all: 6e-3 off.
    np.testing.assert_allclose(root @ covariance(x) @ root, np.eye(512), atol=0.02)
    assert dropped_directions(transform) == 0


def test_what_was_shrunk_is_kept_whatever_else_is_large():
    x = draw((300, 1024))
    x[:, 0] *= 1000
    cov = covariance(x)
    shrunk = 0.9 * cov + 0.1 * np.trace(cov) / 1024 * np.eye(1024)
    values, vectors = np.linalg.eigh(shrunk)
    expected = vectors * values**-0.5 @ vectors.T
    transform = fit_whiten(x, shrinkage=0.1)
    atol = 1e-3 * np.abs(expected).max()
    np.testing.assert_allclose(transform.scale, expected, atol=atol)
    assert dropped_directions(transform) == 0


def test_dropped_directions_are_counted():
    x = draw((6, 10))
    assert dropped_directions(fit_whiten(x, shrinkage=0.0)) == 5
    assert dropped_directions(fit_whiten(x, shrinkage=0.1)) == 0
    assert dropped_directions(fit_whiten(x[:1], shrinkage=0.0)) == 10
    assert dropped_directions(fit_whiten(x, shrinkage=np.nan)) == 10
    assert dropped_directions(fit_standardize(x)) == 0
    assert dropped_directions(Transform(x[0], np.array([0.0, 1.0, np.nan]))) == 2
    stacked = jax.vmap(lambda x: fit_whiten(x, shrinkage=0.0))(
        np.stack([x, np.where(np.arange(6)[:, None] < 4, x, x[4])])
    )
    counts = jax.jit(jax.vmap(dropped_directions))(stacked)
    np.testing.assert_array_equal(counts, [5, 6])


def test_an_eigenvalue_lost_in_rounding_is_what_was_added_to_it():
    q = np.linalg.qr(draw((40, 40), 3, np.float64))[0]
    values = np.array([1e4, *[0.0] * 39])
    # What is added is below the rounding of the largest, 8 eps = 1e-2, but not eps.
    root = inverse_sqrt(jnp.asarray(q * values @ q.T, jnp.float32), "highest", 4e-3)
    got = np.linalg.eigvalsh(np.asarray(root, np.float64))
    np.testing.assert_allclose(got[0], 1e4**-0.5, rtol=1e-2)
    # None is blown up beyond what was added, and none is lost.
    assert got[-1] <= 1.001 * 4e-3**-0.5
    assert got[1] >= (4e-3 + 1e-2) ** -0.5
    assert not inverse_sqrt(-jnp.eye(3), "highest", 0.5).any()


def test_derivative_by_what_is_added_is_that_of_the_matrix():
    with jax.enable_x64(True):
        matrix = positive(SPECTRA["repeated"])

        def root(added):
            return inverse_sqrt(matrix, "highest", added)

        check_grads(root, (jnp.asarray(0.5),), order=1)


# What goes through a transform


@pytest.mark.parametrize("scale", [np.full(3, 2.0), 2 * np.eye(3, 5)])
def test_apply_subtracts_then_scales(scale):
    x, scale = draw((4, 3)), scale.astype(np.float32)
    got = apply_transform(Transform(jnp.ones(3), jnp.asarray(scale)), x)
    expected = (x - 1) * scale if scale.ndim == 1 else (x - 1) @ scale
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_apply_gives_the_dtype_of_the_rows():
    x = jnp.asarray(draw((4, 3)), jnp.bfloat16)
    transform = fit_standardize(x)
    assert transform.mean.dtype == transform.scale.dtype == jnp.float32
    assert apply_transform(transform, x).dtype == jnp.bfloat16


def test_a_transform_is_a_pytree_that_vmap_stacks():
    x = draw((3, 6, 4))
    stacked = jax.vmap(fit_whiten)(x)
    assert stacked.scale.shape == (3, 4, 4)
    got = jax.vmap(apply_transform)(stacked, x)
    for one, space in zip(got, x, strict=True):
        np.testing.assert_allclose(one, moved(fit_whiten, space), atol=1e-4)


# What is refused


@pytest.mark.usefixtures("unchecked")
@fits
def test_fits_refuse_what_is_no_floating_point_matrix(fit):
    with pytest.raises(ValueError, match="embeddings must be floating point"):
        fit(np.ones((4, 3), int))
    with pytest.raises(ValueError, match=r"embeddings must be a matrix.*jax\.vmap"):
        fit(np.ones((2, 4, 3), np.float32))
    with pytest.raises(ValueError, match=r"where must have the axes \(N,\), here \(4,"):
        fit(np.ones((4, 3), np.float32), where=np.ones(3, bool))
    with pytest.raises(ValueError, match="where must be boolean"):
        fit(np.ones((4, 3), np.float32), where=np.ones(4, np.float32))


@pytest.mark.usefixtures("unchecked")
def test_apply_refuses_rows_of_another_width():
    transform = fit_center(np.ones((4, 3), np.float32))
    with pytest.raises(ValueError, match=r"dimension D of .* got \[3, 2\]. Fit it on"):
        apply_transform(transform, np.ones((4, 2), np.float32))
    with pytest.raises(ValueError, match="embeddings must be floating point"):
        apply_transform(transform, np.ones((4, 3), int))
