"""Samples that only one chart knows find copies that another knows."""

from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

import jatlas
from experiments.two_encoders import cca
from experiments.two_encoders.maps import METHODS, Joined, Method, Side
from jatlas._src import arrays

K = 10  # of the recall, and of the neighbours
SHRINKAGE = 0.1  # of the white spaces' covariances: that of the first published tables
METRICS = {
    "mrr": "mean reciprocal rank",
    "recall_1": "recall at 1",
    f"recall_{K}": f"recall at {K}",
    "neighbours": "neighbours kept",
}
# A chart looked for by another: what the mean reciprocal rank of one direction is.
DIRECTIONS = {"mrr_ab": (0, 1), "mrr_ba": (1, 0)}


def chance(num_samples: int) -> dict[str, float]:
    """What an order drawn at random has, in the mean."""
    return {
        "mrr": float(np.sum(1 / np.arange(1, num_samples + 1)) / num_samples),
        "recall_1": 1 / num_samples,
        f"recall_{K}": K / num_samples,
        "neighbours": K / (num_samples - 1),
    }


def transformed(space: np.ndarray, pool: np.ndarray) -> dict[str, np.ndarray]:
    """Embeddings raw, of length one, centered and white.

    Args:
        space: (N, D), a chart's embeddings.
        pool: (N,), the samples that transforms are fitted on.
    """
    fits = {
        "centered": jatlas.fit_center,
        "white": partial(jatlas.fit_whiten, shrinkage=SHRINKAGE),
        "default": jatlas.fit_whiten,
    }
    spaces = {"raw": space, "unit": cca.unit(space)}
    for name, fit in fits.items():
        transform = fit(space, where=pool)
        spaces[name] = np.asarray(jatlas.apply_transform(transform, space))
    return spaces


def sides(
    spaces: dict[str, np.ndarray], pool: np.ndarray, anchors: np.ndarray
) -> dict[str, Side]:
    """A chart's anchors and scored samples, by space."""
    return {name: Side(x[anchors], x[~pool]) for name, x in spaces.items()}


def draw(num_samples: int, num_pool: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the pool, (N,) boolean, and the order of its anchors."""
    order = np.random.default_rng(seed).permutation(num_samples)[:num_pool]
    pool = np.zeros(num_samples, bool)
    pool[order] = True
    return pool, order


def rows(first: dict[str, Side], second: dict[str, Side]) -> list[dict[str, Any]]:
    """A row a method and metric; charts are from `sides`."""
    return [
        {"method": key, "metric": metric, "value": value}
        for key, method in METHODS.items()
        for metric, value in measure(method, first, second).items()
    ]


def measure(
    method: Method, first: dict[str, Side], second: dict[str, Side]
) -> dict[str, float]:
    """Retrieval, and how many neighbors of its chart a sample keeps.

    Args:
        method: how the charts' rows come into one space.
        first: a chart, from `sides`; row n of both is the same sample.
        second: another.

    Returns:
        mrr, recall_1, recall_10, neighbours: each the mean of both directions; and mrr
        of each, the queries being of the first chart (mrr_ab) or the second (mrr_ba).
    """
    charts = first, second
    joined = _joined(method, *(chart[method.space] for chart in charts))
    both = [
        _one_way(*spaces, chart["raw"].rows)
        for spaces, chart in zip(joined, charts, strict=True)
    ]
    means = {name: float(np.mean([way[name] for way in both])) for name in METRICS}
    ways = zip(DIRECTIONS, both, strict=True)
    return means | {name: way["mrr"] for name, way in ways}


def _joined(method: Method, a: Side, b: Side) -> tuple[Joined, Joined]:
    """Queries and gallery in one space, for either side's queries."""
    if not method.symmetric:
        return method.join(a, b), method.join(b, a)
    spaces = method.join(a, b)
    if method.hindsight:
        spaces = max(spaces, key=lambda each: cca.reciprocal_rank(*each))
    return spaces, spaces[::-1]


def _one_way(queries: Any, gallery: Any, raw: np.ndarray) -> dict[str, float]:
    queries, gallery = (jnp.asarray(x) for x in (queries, gallery))
    score = jatlas.metrics.retrieval(queries, gallery, K)
    kept = jatlas.metrics.mutual_neighbors(arrays.unit(raw), arrays.unit(queries), K)
    return {
        "mrr": float(score.mean_reciprocal_rank),
        "recall_1": float(score.recall_at_1),
        f"recall_{K}": float(score.recall_at_k),
        "neighbours": float(kept),
    }
