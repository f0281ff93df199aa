"""The vanilla CNN against the same network in NumPy, and its shapes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jatlas.charts import CNN, from_module
from jatlas.charts.cnn import max_pool


def convolve(x, kernel, bias):
    """Cross-correlation that keeps the size, by loops over the kernel."""
    high, wide = kernel.shape[:2]
    padded = np.pad(x, ((0, 0), (high // 2,) * 2, (wide // 2,) * 2, (0, 0)))
    out = np.zeros((*x.shape[:3], kernel.shape[3])) + bias
    for i in range(high):
        for j in range(wide):
            window = padded[:, i : i + x.shape[1], j : j + x.shape[2]]
            out += window @ kernel[i, j]
    return out


def silu(x):
    return x / (1 + np.exp(-x))


def pool(x):
    n, h, w, c = x.shape
    out = np.empty((n, h // 2, w // 2, c))
    for i in range(h // 2):
        for j in range(w // 2):
            window = x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
            out[:, i, j] = window.max(axis=(1, 2))
    return out


@pytest.mark.parametrize("shape", [(28, 28, 1), (8, 8, 1), (9, 7, 3)])
def test_the_network_is_the_papers(shape):
    model = CNN(shape, 10, rngs=nnx.Rngs(0))
    images = np.random.default_rng(0).normal(size=(3, *shape))
    weights = jax.tree.map(lambda w: np.asarray(w, np.float64), nnx.state(model))

    def layer(name):
        entry = weights[name]
        return entry["kernel"][...], entry["bias"][...]

    x = pool(silu(convolve(images, *layer("conv1"))))
    x = pool(silu(convolve(x, *layer("conv2"))))
    kernel, bias = layer("embedding")
    embedding = x.reshape(3, -1) @ kernel + bias
    kernel, bias = layer("head")
    images = jnp.array(images, jnp.float32)
    assert embedding.shape == (3, 128)
    np.testing.assert_allclose(model.embed(images), embedding, atol=2e-5)
    np.testing.assert_allclose(model(images), embedding @ kernel + bias, atol=2e-5)


def test_pooling_drops_an_odd_last_row_and_column():
    x = jnp.arange(15.0).reshape(1, 3, 5, 1)
    assert max_pool(x)[0, :, :, 0].tolist() == [[6.0, 8.0]]


def test_small_images_are_refused():
    with pytest.raises(ValueError, match="4 x 4 pixels or more, got 3 x 8"):
        CNN((3, 8, 1), 10, rngs=nnx.Rngs(0))


def test_a_chart_is_its_module():
    chart = from_module(partial(CNN, (8, 8, 1), 10, num_features=5))
    state = chart.init(jax.random.key(3))
    model = CNN((8, 8, 1), 10, num_features=5, rngs=nnx.Rngs(jax.random.key(3)))
    images = jax.random.normal(jax.random.key(1), (2, 8, 8, 1))
    np.testing.assert_array_equal(chart.embed(state, images), model.embed(images))
    np.testing.assert_array_equal(chart.logits(state, images), model(images))
    logits, rest = chart.train(state, images)
    np.testing.assert_array_equal(logits, model(images))
    assert jax.tree.leaves(rest) == []


def test_running_statistics_are_kept_apart_and_move_in_training_only():
    class Normalised(nnx.Module):
        def __init__(self, rngs):
            self.norm = nnx.BatchNorm(3, rngs=rngs)

        def embed(self, images):
            return self.norm(images.mean(axis=(1, 2)))

        def __call__(self, images):
            return self.embed(images)

    chart = from_module(Normalised)
    state = chart.init(jax.random.key(0))
    images = 5 + jax.random.normal(jax.random.key(1), (20, 2, 2, 3))
    logits, rest = chart.train(state, images)
    np.testing.assert_allclose(logits.mean(axis=0), np.zeros(3), atol=1e-5)
    mean = images.mean(axis=(0, 1, 2))  # momentum .99, from 0 on
    np.testing.assert_allclose(rest["norm"]["mean"], 0.01 * mean, rtol=1e-4)
    np.testing.assert_array_equal(state.statistics["norm"]["mean"], np.zeros(3))
    # Outside of training these are used, not the statistics of the batch.
    variance = np.asarray(rest["norm"]["var"])
    expected = (images.mean(axis=(1, 2)) - 0.01 * mean) / np.sqrt(variance + 1e-5)
    moved = chart.embed(state._replace(statistics=rest), images)
    np.testing.assert_allclose(moved, expected, rtol=1e-4)


@pytest.mark.slow
def test_each_key_gives_another_chart():
    chart = from_module(partial(CNN, (8, 8, 1), 10, num_features=5))
    states = jax.jit(jax.vmap(chart.init))(jax.random.split(jax.random.key(0), 3))
    kernels = np.asarray(states.params["conv1"]["kernel"])
    assert kernels.shape == (3, 5, 5, 1, 16)
    assert np.abs(kernels[0] - kernels[1]).max() > 0.1
