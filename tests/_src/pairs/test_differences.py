import jax
import jax.numpy as jnp
import numpy as np

from jatlas._src.pairs.differences import squared_distances


def test_squared_distances_keep_the_digits_of_small_distances():
    rng = np.random.default_rng(0)
    x = (1e3 + rng.normal(size=(5, 4))).astype(np.float32)
    y = x[:3] + np.float32(2**-10) * rng.integers(1, 5, (3, 4)).astype(np.float32)
    wide_x, wide_y = x.astype(np.float64), y.astype(np.float64)
    expected = ((wide_x[:, None] - wide_y[None]) ** 2).sum(-1)
    got = squared_distances(jnp.asarray(x), jnp.asarray(y))
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_squared_distances_form_no_array_of_differences(largest_array):
    x, y = jnp.ones((11, 7)), jnp.ones((13, 7))
    assert largest_array(squared_distances, x, y) == 11 * 13
    gradient = jax.grad(lambda x, y: jnp.sin(squared_distances(x, y)).sum())
    assert largest_array(gradient, x, y) < 11 * 13 * 7


def test_gradient_of_squared_distances_is_right():
    rng = np.random.default_rng(1)
    x, y, c = rng.normal(size=(5, 4)), rng.normal(size=(3, 4)), rng.normal(size=(5, 3))
    gradients = jax.grad(lambda x, y: jnp.sum(squared_distances(x, y) * c), (0, 1))(
        *(jnp.asarray(side, jnp.float32) for side in (x, y))
    )
    differences = 2 * c[..., None] * (x[:, None] - y[None])
    np.testing.assert_allclose(gradients[0], differences.sum(1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gradients[1], -differences.sum(0), rtol=1e-4, atol=1e-5)


def test_each_row_is_multiplied_by_its_sign():
    rng = np.random.default_rng(2)
    x, y = (np.float32(rng.normal(size=(n, 20))) for n in (5, 3))
    signs = np.float32(rng.choice([-1, 1], (5, 3)))
    expected = np.sum((x[:, None] - signs[..., None] * np.float64(y)) ** 2, axis=2)
    got = squared_distances(x, y, jnp.asarray(signs))
    np.testing.assert_allclose(got, expected, rtol=1e-6)
