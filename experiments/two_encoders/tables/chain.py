"""Chains and rings of charts, of which only neighbors share samples.

Two charts that share none are scored: samples that only the one
knows must find their copies that only the other knows.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

import jatlas
from experiments.two_encoders.maps import rotations
from experiments.two_encoders.tables.copies import K

Pairs = list[tuple[int, int]]


class Links(NamedTuple):
    """Which charts share samples, and which do not.

    Attributes:
        near: pairs of charts that share samples.
        far: pairs that share none, and are scored.
    """

    near: Pairs
    far: Pairs


METHODS = {
    "twice": "Procrustes, from chart to chart through a third",
    "linked": "**consensus**, neighbours share samples",
    "rotated": "Procrustes, these two share as many",
    "pair": "**consensus**, these two share as many",
    "together": "**consensus**, all charts share as many",
}
METRICS = {
    "mrr": "mean reciprocal rank",
    f"recall_{K}": f"recall at {K}",
    "near_mrr": "mean reciprocal rank, neighbours",
}


def links(num_charts: int) -> Links:
    """A chain of three charts, a ring of more."""
    near = list(pairwise(range(num_charts)))
    if num_charts > 3:
        near.append((0, num_charts - 1))
    every = [(i, j) for i in range(num_charts) for j in range(i + 1, num_charts)]
    return Links(near, [pair for pair in every if pair not in near])


def num_samples(num_charts: int, num_links: int) -> int:
    """How many samples share charts."""
    return len(links(num_charts).near) * num_links


def presence(num_charts: int, num_links: int) -> np.ndarray:
    """(M, samples): each pair of neighbours has `num_links` samples to itself."""
    near = links(num_charts).near
    have = np.zeros((num_charts, len(near) * num_links), bool)
    for number, pair in enumerate(near):
        have[list(pair), number * num_links : (number + 1) * num_links] = True
    return have


def rows(
    charts: Sequence[np.ndarray], num_links: int, num_scored: int, seed: int
) -> list[dict[str, Any]]:
    """A row a method and metric.

    Args:
        charts: (N, D_m) each, of the same samples.
        num_links: how many samples two neighbors share.
        num_scored: how many are looked for.
        seed: draws who is which.
    """
    have = presence(len(charts), num_links)
    order = np.random.default_rng(seed).permutation(len(charts[0]))
    count = have.shape[1]
    shared = [x[order[:count]] for x in charts]
    scored = [x[order[count : count + num_scored]] for x in charts]
    ours = links(len(charts))
    spaces = {
        "linked": _consensus(shared, have, scored),
        "together": _consensus(
            [x[:num_links] for x in shared],
            np.ones((len(charts), num_links), bool),
            scored,
        ),
    }
    few = [x[:num_links] for x in shared]
    scores = {name: _score_all(x, ours) for name, x in spaces.items()}
    scores["pair"] = _mean_of([_pair(few, scored, *pair) for pair in ours.far])
    scores["rotated"] = _mean_of([_rotated(few, scored, *pair) for pair in ours.far])
    scores["twice"] = _mean_of(
        [_twice(shared, have, scored, *pair, ours.near) for pair in ours.far]
    )
    return [
        {"method": method, "metric": metric, "value": scores[method][metric]}
        for method in METHODS
        for metric in scores[method]
    ]


def _consensus(
    shared: Sequence[np.ndarray], have: np.ndarray, scored: Sequence[np.ndarray]
) -> list[Any]:
    """Scored samples in consensus coordinates, by each chart."""
    fitted = jatlas.fit_consensus(list(shared), have)
    return [
        jatlas.apply_consensus(fitted, chart, jnp.asarray(x))
        for chart, x in enumerate(scored)
    ]


def _score_all(spaces: Sequence[Any], ours: Links) -> dict[str, float]:
    far = _mean_of([_scores(spaces[i], spaces[j]) for i, j in ours.far])
    near = _mean_of([_scores(spaces[i], spaces[j]) for i, j in ours.near])
    return far | {"near_mrr": near["mrr"]}


def _pair(
    shared: Sequence[np.ndarray], scored: Sequence[np.ndarray], i: int, j: int
) -> dict[str, float]:
    both = np.ones((2, len(shared[i])), bool)
    return _scores(*_consensus([shared[i], shared[j]], both, [scored[i], scored[j]]))


def _rotated(
    shared: Sequence[np.ndarray], scored: Sequence[np.ndarray], i: int, j: int
) -> dict[str, float]:
    maps = rotations(shared[i], shared[j])
    moved = [
        (scored[m] - chart_map.mean) @ chart_map.scale
        for m, chart_map in zip((i, j), maps, strict=True)
    ]
    return _scores(*moved)


def _twice(
    shared: Sequence[np.ndarray],
    have: np.ndarray,
    scored: Sequence[np.ndarray],
    start: int,
    end: int,
    near: Pairs,
) -> dict[str, float]:
    """Both rotated into a chart between them; the mean over such charts."""
    scores = []
    for middle in range(len(shared)):
        if {tuple(sorted((start, middle))), tuple(sorted((end, middle)))} - set(near):
            continue
        moved = []
        for chart in (start, end):
            both = have[chart] & have[middle]
            chart_map, pivot = rotations(shared[chart][both], shared[middle][both])
            rows = (scored[chart] - chart_map.mean) @ chart_map.scale
            moved.append(rows @ pivot.scale.T)
        scores.append(_scores(*moved))
    return _mean_of(scores)


def _scores(first: Any, second: Any) -> dict[str, float]:
    """Of both directions."""
    spaces = [jnp.asarray(x) for x in (first, second)]
    ways = [jatlas.metrics.retrieval(*each, K) for each in (spaces, spaces[::-1])]
    return {
        "mrr": float(np.mean([way.mean_reciprocal_rank for way in ways])),
        f"recall_{K}": float(np.mean([way.recall_at_k for way in ways])),
    }


def _mean_of(scores: Sequence[dict[str, float]]) -> dict[str, float]:
    names = scores[0]
    return {name: float(np.mean([each[name] for each in scores])) for name in names}
