"""M charts as the library runs them, beside the alternative."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jatlas
from jatlas.charts import embedding

# Height and width of the images, and the steps of each chart that are timed.
_SIZES = {28: 3, 8: 20}
_CLASSES = 10
_BATCH = 100
_EMBEDDED = 400  # images, in chunks of 200

_WAYS = {"one after another": False, "side by side": True}


def measure(quick: bool) -> list[dict[str, Any]]:
    """The comparisons: training and embedding, of large images and of small ones.

    The paper's CNN, batches of 100, on noise. What `jatlas.charts.fit_charts` and
    `jatlas.charts.embed` do by default is to be as fast as the other way of the two,
    one after another or side by side.

    Args:
        quick: two charts of small images only.

    Returns:
        For each a dict of `name`, `size` (its axes), `what` it is compared with, in
        words, and the functions `ours` and `reference`, which take nothing and return
        their result when it is there. The first call compiles.
    """
    num_charts, sides = (2, [8]) if quick else (4, list(_SIZES))
    return [job for side in sides for job in jobs(num_charts, side)]


def jobs(num_charts: int, side: int) -> list[dict[str, Any]]:
    """The comparisons for these charts and images of this size."""
    chart = jatlas.charts.from_module(
        partial(jatlas.charts.CNN, (side, side, 1), _CLASSES)
    )
    num_samples = num_charts * _SIZES[side] * _BATCH
    shape = (max(num_samples, _EMBEDDED), side, side, 1)
    images = jnp.asarray(np.random.default_rng(0).standard_normal(shape, np.float32))
    runs = {
        "trained": _training(chart, images[:num_samples], num_charts),
        "embedding": _embedding(chart, images[:_EMBEDDED], num_charts),
    }
    counts = {"trained": num_samples, "embedding": _EMBEDDED}
    return [
        {
            "name": f"charts {done}, {side}x{side}, M={num_charts}, beside {what}",
            "size": {"M": num_charts, "N": counts[done], "H": side, "W": side},
            "what": what,
            "ours": partial(run, together=None),
            "reference": partial(run, together=together),
        }
        for done, run in runs.items()
        for what, together in _WAYS.items()
        if together != embedding.side_by_side(None)  # beside itself, there is but noise
    ]


def _training(
    chart: jatlas.charts.Chart, images: jax.Array, num_charts: int
) -> Callable[..., jatlas.charts.Charts]:
    """One epoch of each chart on an equal share of samples."""
    number = np.arange(len(images))
    presence = number % num_charts == np.arange(num_charts)[:, None]
    every, none = np.ones(_CLASSES, bool), np.zeros(len(images), bool)
    tasks = jatlas.scenarios.Tasks(
        classes=np.tile(every, (num_charts, 1)),
        shared=every,
        presence=presence,
        seen=presence,
        validation=np.zeros_like(presence),
        held_out=none,
        test=none,
    )

    def run(together: bool | None) -> jatlas.charts.Charts:
        charts = jatlas.charts.fit_charts(
            jax.random.key(0), chart, images, number % _CLASSES, tasks,
            batch_size=_BATCH, max_epochs=1, together=together,
        )  # fmt: skip
        return jax.block_until_ready(charts)

    return run


def _embedding(
    chart: jatlas.charts.Chart, images: jax.Array, num_charts: int
) -> Callable[..., jax.Array]:
    """Embeddings by charts that are not trained."""
    states = jax.vmap(chart.init)(jax.random.split(jax.random.key(0), num_charts))
    none = np.zeros((num_charts, 0))
    charts = jatlas.charts.Charts(chart, states, none, none, np.full(num_charts, -1))

    def run(together: bool | None) -> jax.Array:
        return jax.block_until_ready(
            jatlas.charts.embed(charts, images, together=together)
        )

    return run
