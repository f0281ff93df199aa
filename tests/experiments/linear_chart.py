"""A chart that compiles at once: pixels, a matrix, the embedding, a matrix, logits."""

import jax
import jax.numpy as jnp

from jatlas.charts import Chart, ChartState

WIDTH, NUM_CLASSES = 10, 10


def _init(key):
    kernel, head = jax.random.split(key)
    params = {
        "kernel": jax.random.normal(kernel, (64, WIDTH)) / 8,
        "head": jax.random.normal(head, (WIDTH, NUM_CLASSES)) / WIDTH,
    }
    return ChartState(params, {})


def _embed(state, images):
    pixels = images.reshape(images.shape[0], -1).astype(jnp.float32) / 128 - 1
    return pixels @ state.params["kernel"]


def _logits(state, images):
    return _embed(state, images) @ state.params["head"]


# One object for all tests: another would compile anew.
LINEAR = Chart(
    init=_init,
    train=lambda state, images: (_logits(state, images), state.statistics),
    embed=_embed,
    logits=_logits,
    takes_integers=True,
)
