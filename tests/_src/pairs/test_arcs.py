import jax
import jax.numpy as jnp
import numpy as np

from jatlas._src.pairs.arcs import arcsine


def test_the_arc_sine_keeps_its_digits():
    x = np.concatenate([np.linspace(0, 1, 1001), np.geomspace(1e-30, 1, 301)])
    x = np.float32(x)
    exact = np.arcsin(np.float64(x))
    np.testing.assert_allclose(arcsine(jnp.asarray(x)), exact, rtol=2.5e-7)
    assert np.isnan(arcsine(jnp.asarray(np.float32([np.nan])))).all()
    with jax.enable_x64(True):
        np.testing.assert_allclose(
            arcsine(jnp.asarray(np.float64(x))), exact, rtol=1e-14
        )


def test_its_slope_is_that_of_the_arc_sine_and_finite_at_one():
    x = jnp.array([0.0, 0.3, 0.7, 1.0])
    slopes = jax.vmap(jax.grad(arcsine))(x)
    np.testing.assert_allclose(slopes[:3], 1 / np.sqrt(1 - x[:3] ** 2), rtol=1e-6)
    assert slopes[3] == 0
