"""The projector against the same network in NumPy."""

import jax
import numpy as np
from flax import nnx

from jatlas.charts import Projector


def test_the_network_is_the_papers():
    model = Projector(12, 5, rngs=nnx.Rngs(0))
    features = np.random.default_rng(0).normal(size=(3, 12)).astype(np.float32)
    weights = jax.tree.map(lambda w: np.asarray(w, np.float64), nnx.state(model))

    def layer(name, x):
        return x @ weights[name]["kernel"][...] + weights[name]["bias"][...]

    hidden = layer("hidden", features)
    assert (hidden < 0).any()
    embedding = layer("embedding", np.maximum(hidden, 0))
    assert hidden.shape == (3, 256)
    assert embedding.shape == (3, 128)
    features = jax.numpy.asarray(features)
    both = jax.jit(lambda x: (model.embed(x), model(x)))(features)
    np.testing.assert_allclose(both[0], embedding, atol=1e-5)
    np.testing.assert_allclose(both[1], layer("head", embedding), atol=1e-5)
