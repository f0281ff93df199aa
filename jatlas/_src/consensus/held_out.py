"""Linked samples held out in folds, and how charts find them."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jatlas._src import arrays
from jatlas._src.arrays import AnyArray
from jatlas._src.consensus.linked import Stacked, linked_samples
from jatlas._src.pairs.ranks import ranks_and_nearest
from jatlas._src.seeds import Seed, generator

# Queries of a fold, and rows that they are looked for among: more say no more.
MOST_QUERIES, MOST_ROWS = 2048, 20_000
# Of the nearest, so many are looked at.
NEAREST = 10


class Totals(NamedTuple):
    """Sums over queries, for every pair of charts (query, answer).

    Attributes:
        queries: (M, M), how many there were.
        reciprocal: (M, M), of 1 / rank.
        first: (M, M), of those that come first.
        among_ten: (M, M), of those among the ten nearest.
        chance: (M, M), of what 1 / rank would be by chance.
        alone: (M, M), of the share, among the ten nearest, of rows that the query's
            chart alone has.
        fair: (M, M), of their share among all rows.
    """

    queries: np.ndarray
    reciprocal: np.ndarray
    first: np.ndarray
    among_ten: np.ndarray
    chance: np.ndarray
    alone: np.ndarray
    fair: np.ndarray


class Fold(NamedTuple):
    """Samples held out together.

    Attributes:
        held_out: (n,), their places.
        learned_from: (N,), all other samples.
        others: (G,), places of samples that are in no query; empty where queries are
            looked for among held-out samples only.
    """

    held_out: np.ndarray
    learned_from: Bool[np.ndarray, " N"]
    others: np.ndarray

    @property
    def places(self) -> np.ndarray:
        """Places of all rows that are needed, held-out samples first."""
        return np.concatenate([self.held_out, self.others])


def deal_folds(
    key: Seed,
    presence: Bool[np.ndarray, "M N"],
    folds: int,
    among: str,
    most: tuple[int, int] = (MOST_QUERIES, MOST_ROWS),
) -> Iterator[Fold]:
    """Deal linked samples into folds.

    Each fold gets as many of every kind of presence. `most` are the queries of a fold
    and the other rows that they are looked for among, at most.
    """
    most_queries, most_rows = most
    rng = generator(key)
    linked = np.flatnonzero(linked_samples(presence))
    linked = linked[rng.permutation(linked.size)]
    _, kind = np.unique(presence[:, linked], axis=1, return_inverse=True)
    linked = linked[np.argsort(kind.reshape(-1), kind="stable")]
    for fold in range(folds):
        mine = linked[fold::folds]
        learned_from = np.ones(presence.shape[1], bool)
        learned_from[mine] = False
        held_out = np.sort(mine[rng.permutation(mine.size)[:most_queries]])
        others = np.flatnonzero(learned_from & presence.any(axis=0))
        if among == "linked":
            others = others[:0]
        elif others.size > most_rows:
            others = np.sort(rng.choice(others, most_rows, replace=False))
        yield Fold(held_out, learned_from, others)


def scored(
    rows: Sequence[Float[Array, "n K"]],
    presence: Bool[np.ndarray, "M n"],
    others: Float[Array, "G K"],
    others_presence: Bool[np.ndarray, "M G"],
) -> Totals:
    """How well each chart's rows of held-out samples find each other chart's.

    Args:
        rows: M arrays, each chart's rows of the fold's samples in one space.
        presence: (M, n), the samples that each chart has.
        others: (G, K), merged rows of samples that are not in the fold.
        others_presence: (M, G), who has them.
    """
    num_charts = presence.shape[0]
    totals = Totals(*np.zeros((7, num_charts, num_charts)))
    for query in range(num_charts):
        alone = others_presence[query] & (others_presence.sum(axis=0) == 1)
        for answer in range(num_charts):
            both = presence[query] & presence[answer]
            if query == answer or not both.any():
                continue
            size = int(both.sum()) + others.shape[0]
            sums = _pair(rows[query], rows[answer], both, others, alone)
            entries = [both.sum(), *map(float, sums[:3])]
            entries += [both.sum() * _by_chance(size), float(sums[3])]
            entries.append(both.sum() * alone.sum() / size)
            for total, entry in zip(totals, entries, strict=True):
                total[query, answer] += entry
    return totals


@jax.jit
def _pair(
    queries: Float[Array, "n K"],
    answers: Float[Array, "n K"],
    both: Bool[AnyArray, " n"],
    others: Float[Array, "G K"],
    alone: Bool[AnyArray, " G"],
) -> Float[Array, " 4"]:
    prepared = partial(_unit_rows, where=both)
    queries, answers = prepared(queries), prepared(answers)
    gallery = jnp.concatenate([answers, arrays.unit(arrays.widen(others))])
    candidates = jnp.concatenate([both, jnp.ones(len(others), bool)])
    places = jnp.arange(len(queries))
    ranks, near = ranks_and_nearest(
        queries, gallery, answers, places, candidates, min(NEAREST, len(gallery))
    )
    alike = jnp.concatenate([jnp.zeros(len(answers), bool), alone])[near]
    values = [1 / ranks, ranks <= 1, ranks <= NEAREST, jnp.mean(alike, axis=1)]
    return jnp.stack([jnp.sum(jnp.where(both, x, 0)) for x in values])


def _unit_rows(x: AnyArray, where: Any) -> Array:
    return arrays.unit(arrays.keep(arrays.widen(x), where))


def _by_chance(size: int) -> float:
    """(1 + 1/2 + ... + 1/n) / n."""
    return float(np.sum(1 / np.arange(1, size + 1)) / size)


def check_present(embeddings: Stacked, presence: Bool[np.ndarray, "M N"]) -> None:
    """Raise ValueError, naming charts and rows, unless present rows are finite."""
    for chart, (x, mine) in enumerate(zip(embeddings, presence, strict=True)):
        rows = np.asarray(x)
        bad = np.flatnonzero(mine & ~np.isfinite(rows).all(axis=1))
        if bad.size:
            raise ValueError(
                f"{bad.size} present rows of chart {chart} hold NaN or infinity: rows "
                f"{bad[:10].tolist()}. Mend them, or set their presence to False."
            )
