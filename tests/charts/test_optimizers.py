"""The optimizers against their definitions in NumPy."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jatlas.charts import adam, sgd_cosine


def test_adam_clips_the_norm_of_the_gradient():
    """By the definition of Adam, in NumPy, on gradients below and above the bound."""
    gradients = [np.array([0.3, -0.4]), np.array([30.0, 40.0]), np.array([-1.0, 2.0])]
    optimizer, x = adam(0.1), jnp.zeros(2)
    state, m, v, expected = optimizer.init(x), 0.0, 0.0, np.zeros(2)
    for t, g in enumerate(gradients, start=1):
        update, state = optimizer.update(jnp.array(g), state)
        x = optax.apply_updates(x, update)
        g = g * min(1.0, 10.0 / np.linalg.norm(g))
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        expected -= 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(x, expected, rtol=1e-5)


def test_sgd_is_that_of_the_definition():
    """Clipped, decayed, with momentum, along half a cosine; in NumPy."""
    gradients = [np.array([0.3, -0.4]), np.array([30.0, 40.0]), np.array([-1.0, 2.0])]
    optimizer, start = sgd_cosine(4, weight_decay=0.01), np.array([1.0, -2.0])
    x, expected, velocity = jnp.array(start), start.copy(), 0.0
    state = optimizer.init(x)
    for t, g in enumerate([*gradients, gradients[0], gradients[0]]):
        update, state = optimizer.update(jnp.array(g), state, x)
        x = optax.apply_updates(x, update)
        g = g * min(1.0, 10.0 / np.linalg.norm(g)) + 0.01 * expected
        velocity = 0.9 * velocity + g
        rate = 0.1 * (1 + np.cos(np.pi * min(t, 4) / 4)) / 2
        expected = expected - rate * velocity
        np.testing.assert_allclose(x, expected, rtol=1e-5)


def test_the_same_arguments_give_the_same_optimizer():
    """So that nothing is compiled twice."""
    assert adam(0.1) is adam(0.1) is not adam(0.2)
    assert sgd_cosine(9) is sgd_cosine(9, 0.1, weight_decay=1e-4) is not sgd_cosine(10)


@pytest.mark.usefixtures("unchecked")
def test_no_steps_are_refused():
    with pytest.raises(ValueError, match="num_steps must be a whole number of 1"):
        sgd_cosine(0)
