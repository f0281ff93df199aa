"""A chart of raw images is the chart of prepared ones."""

import re
from functools import partial

import jax
import numpy as np

import jatlas
from jatlas.charts import Chart, ChartState, with_preprocessing

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 1), dtype=np.uint8)


def linear():
    def rows(state, images):
        return images.reshape(len(images), -1) @ state.params

    return Chart(
        init=lambda key: ChartState(jax.random.normal(key, (16, 5)), {}),
        train=lambda state, images: (rows(state, images), {"seen": images.sum()}),
        embed=rows,
        logits=lambda state, images: -rows(state, images),
    )


def test_images_are_prepared_first_wherever_they_go():
    chart = linear()
    raw = with_preprocessing(chart, lambda images: images / 255.0 - 0.5)
    prepared = IMAGES / np.float32(255.0) - np.float32(0.5)
    state = raw.init(jax.random.key(0))
    np.testing.assert_array_equal(state.params, chart.init(jax.random.key(0)).params)
    for name in ("embed", "logits"):
        got = getattr(raw, name)(state, jax.numpy.asarray(IMAGES))
        expected = getattr(chart, name)(state, prepared)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    logits, rest = raw.train(state, jax.numpy.asarray(IMAGES))
    np.testing.assert_allclose(logits, chart.embed(state, prepared), rtol=1e-5)
    np.testing.assert_allclose(rest["seen"], prepared.sum(), rtol=1e-5)


def test_only_a_chart_that_prepares_them_takes_integers():
    assert not linear().takes_integers
    assert with_preprocessing(linear(), partial(np.multiply, 2)).takes_integers


def test_the_help_of_the_package_begins_with_every_name():
    """Below it are hundreds of lines that the models inherit from Flax."""
    named = set(re.findall(r"`(\w+)`", jatlas.charts.__doc__))
    assert named == set(jatlas.charts.__all__)
