"""ResNet-20 against the same network in NumPy, in training and after."""

from functools import partial

import jax
import numpy as np
import pytest
from flax import nnx

from jatlas.charts import ResNet20, from_module

SHAPE = (11, 8, 3)  # an odd side, so that the rounding of a halving shows
CHART = from_module(partial(ResNet20, SHAPE, 5))


def convolve(x, kernel, stride):
    """Cross-correlation with a margin of one pixel, by loops over the kernel."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = x.shape[1:3]
    return sum(
        padded[:, i : i + height : stride, j : j + width : stride] @ kernel[i, j]
        for i in range(3)
        for j in range(3)
    )


class Reference:
    """The network by the paper's words, in float64."""

    def __init__(self, state, training):
        wide = partial(jax.tree.map, lambda leaf: np.asarray(leaf, np.float64))
        self.params, self.statistics = wide(state.params), wide(state.statistics)
        self.training, self.moved = training, []

    def norm(self, x, scale, running):
        mean, var = running["mean"], running["var"]
        if self.training:
            batch = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
            self.moved.append(0.9 * mean + 0.1 * batch[0])
            self.moved.append(0.9 * var + 0.1 * batch[1])
            mean, var = batch
        return (x - mean) / np.sqrt(var + 1e-5) * scale["scale"] + scale["bias"]

    def embed(self, x):
        p, r = self.params, self.statistics
        x = convolve(x, p["stem"]["kernel"], 1)
        x = np.maximum(self.norm(x, p["norm"], r["norm"]), 0)
        for number in range(9):
            own, stride = p["blocks"][number], 2 if number in (3, 6) else 1
            running = r["blocks"][number]
            y = convolve(x, own["conv1"]["kernel"], stride)
            y = np.maximum(self.norm(y, own["norm1"], running["norm1"]), 0)
            y = convolve(y, own["conv2"]["kernel"], 1)
            y = self.norm(y, own["norm2"], running["norm2"])
            around = np.zeros_like(y)
            new = y.shape[-1] - x.shape[-1]
            around[..., new // 2 : y.shape[-1] - new // 2] = x[:, ::stride, ::stride]
            x = np.maximum(y + around, 0)
        return x.mean(axis=(1, 2))

    def logits(self, x):
        return (
            self.embed(x) @ self.params["head"]["kernel"] + self.params["head"]["bias"]
        )


@pytest.fixture(scope="module")
def state():
    """As after some training: scales, biases and statistics of no round value."""
    rng = np.random.default_rng(0)
    start = jax.jit(CHART.init)(jax.random.key(0))

    def trained(leaf):
        moved = rng.uniform(0, 0.3, leaf.shape).astype(leaf.dtype)
        return np.asarray(leaf + moved if leaf.ndim == 1 else leaf)

    return jax.tree.map(trained, start)


def test_the_network_is_the_papers(state):
    images = np.random.default_rng(1).normal(size=(4, *SHAPE)).astype(np.float32)
    reference = Reference(state, training=False)
    embedding = jax.jit(CHART.embed)(state, images)
    assert embedding.shape == (4, 64)
    np.testing.assert_allclose(embedding, reference.embed(images), rtol=1e-4, atol=1e-5)


def test_in_training_it_is_normalised_by_its_batch_and_the_statistics_move(state):
    images = np.random.default_rng(1).normal(size=(4, *SHAPE)).astype(np.float32)
    reference = Reference(state, training=True)
    logits, rest = jax.jit(CHART.train)(state, images)
    np.testing.assert_allclose(logits, reference.logits(images), rtol=1e-3, atol=1e-3)
    stem, first = rest["norm"], rest["blocks"][0]["norm1"]
    last = rest["blocks"][8]["norm2"]
    assert len(reference.moved) == 2 * 19
    for place, found in ((0, stem), (2, first), (36, last)):
        mean, variance = reference.moved[place : place + 2]
        np.testing.assert_allclose(found["mean"], mean, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found["var"], variance, rtol=1e-3)


def test_kernels_begin_as_he_et_al_have_them():
    """Normal, of variance 2 / fan-in, no two alike, and by the key."""
    init = jax.jit(CHART.init)
    params = init(jax.random.key(0)).params
    kernels = [params["stem"], *(params["blocks"][n]["conv2"] for n in range(9))]
    for entry in kernels:
        kernel = np.asarray(entry["kernel"])
        deviation = np.sqrt(2 / np.prod(kernel.shape[:-1]))
        assert kernel.std() == pytest.approx(deviation, rel=0.1)
        assert abs(kernel.mean()) < 0.15 * deviation
        assert np.abs(kernel).max() > 2.3 * deviation  # not cut off at 2
    first, second = (np.asarray(k["kernel"]) for k in kernels[1:3])
    assert np.abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.1
    other = init(jax.random.key(1)).params["blocks"][0]["conv2"]["kernel"]
    assert np.abs(np.corrcoef(first.ravel(), np.ravel(other))[0, 1]) < 0.1


def test_it_has_the_papers_number_of_parameters():
    """.27 M with ten classes, the table of section 4.2."""
    model = nnx.eval_shape(lambda: ResNet20((32, 32, 3), 10, rngs=nnx.Rngs(0)))
    leaves = jax.tree.leaves(nnx.state(model, nnx.Param))
    assert sum(leaf.size for leaf in leaves) == 269_722


def test_small_images_are_refused():
    with pytest.raises(ValueError, match="8 x 8 pixels or more, got 28 x 7"):
        ResNet20((28, 7, 3), 10, rngs=nnx.Rngs(0))
