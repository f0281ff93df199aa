"""Lengths of rows against NumPy's in a wider dtype, at the ends of the range."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jatlas._src import lengths

pytestmark = pytest.mark.usefixtures("devices")

RNG = np.random.default_rng(0)
# The powers of ten at which squares overflow, vanish, or do neither.
FLOAT32 = [-37, -30, -24, -19, -15, 0, 15, 18, 19, 25, 37]
FLOAT64 = [-307, -200, -160, -150, 0, 150, 153, 200, 307]


def of_length_one(x, present=None):
    power, inverse = lengths.to_unit(x, present)
    return x * power[..., None] * inverse[..., None]


def exact(x):
    wide = np.asarray(x, np.longdouble)
    return wide / np.sqrt((wide**2).sum(axis=-1, keepdims=True))


@pytest.mark.parametrize("through", [lambda f: f, jax.jit, jax.vmap])
@pytest.mark.parametrize(
    ("dtype", "exponents"), [(np.float32, FLOAT32), (np.float64, FLOAT64)]
)
@pytest.mark.parametrize("width", [1, 3, 1000])
def test_rows_of_any_scale_side_by_side_are_exact(dtype, exponents, width, through):
    scale = np.array([10.0**e for e in exponents], dtype)
    x = RNG.uniform(0.5, 0.9, (2, len(scale), width)).astype(dtype)
    x *= np.where(RNG.random(x.shape) < 0.5, -1, 1) * scale[:, None]
    with jax.enable_x64(dtype is np.float64):
        got = through(of_length_one)(jnp.asarray(x))
        assert got.dtype == dtype
    few = 8 * np.finfo(dtype).eps
    np.testing.assert_allclose(np.asarray(got), exact(x).astype(dtype), rtol=few)


@pytest.mark.parametrize("largest", [1e-33, 1e-20, 1.0, 1e19, 1e37])
def test_small_features_beside_a_large_one_keep_their_digits(largest):
    x = (np.float32(largest) * np.array([[1, 1e-3, 0.3, 0]])).astype(np.float32)
    np.testing.assert_allclose(of_length_one(jnp.asarray(x)), exact(x), rtol=1e-6)


@pytest.mark.parametrize(
    "scale", [1e-32, 1e-20, 1e-17, 1.0, 1e17, 2e18, 5e18, 7e18, 1e19, 1e20, 1e35]
)
def test_derivatives_are_those_of_the_scaled_row(scale):
    x, moved = RNG.normal(size=(2, 6)).astype(np.float32)
    unit = exact(x)
    wanted = (moved - unit * (unit @ moved)) / np.linalg.norm(x.astype(np.float64))
    scaled = jnp.asarray(scale * x), jnp.asarray(scale * moved)
    along = jax.jvp(of_length_one, scaled[:1], scaled[1:])[1]
    np.testing.assert_allclose(along, wanted, atol=1e-6)
    weighted = partial(lambda w, x: jnp.sum(w * of_length_one(x)), jnp.asarray(moved))
    back = jax.grad(weighted)(jnp.asarray(scale * x))
    np.testing.assert_allclose(scale * back, wanted, atol=1e-6)


def test_the_second_derivative_is_that_of_finite_differences():
    with jax.enable_x64(True):
        x, weights = jnp.asarray(RNG.normal(size=(2, 5)))
        slope = jax.grad(lambda x: jnp.sum(weights * of_length_one(x)))
        step = 1e-6 * jnp.eye(5)
        wanted = [(slope(x + e) - slope(x - e)) / 2e-6 for e in step]
        np.testing.assert_allclose(jax.jacobian(slope)(x), wanted, atol=1e-7)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_bad_number_never_yields_one(bad):
    x = np.array([[1.0, bad, 2.0], [3.0, 4.0, 0.0]], np.float32)
    got = np.asarray(of_length_one(jnp.asarray(x)))
    assert np.isnan(got[0]).all()
    np.testing.assert_allclose(got[1], [0.6, 0.8, 0], rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e38, 0.0])
def test_absent_rows_have_factor_zero_and_no_gradient(bad):
    x = np.array([[bad, bad, bad], [3.0, 4.0, 0.0]], np.float32)
    present = jnp.array([False, True])
    assert lengths.to_unit(jnp.asarray(x), present)[1][0] == 0

    def some(x):
        power, inverse = lengths.to_unit(x, present)
        return jnp.sum(power * inverse)

    gradient = jax.grad(some)(jnp.asarray(x))
    np.testing.assert_array_equal(gradient[0], 0)
    np.testing.assert_allclose(gradient[1], [-0.024, -0.032, 0], rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_stacked_rows_are_not_copied(dtype):
    x = jnp.ones((4, 3000, 64), dtype)
    compiled = jax.jit(lengths.to_unit).lower(x, jnp.ones((4, 3000), bool)).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < x.nbytes / 8
