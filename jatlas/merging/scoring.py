"""Score any merge by linked samples held out from it."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jatlas._src import arrays, border
from jatlas._src.arrays import AnyArray
from jatlas._src.border import on_host
from jatlas._src.consensus import held_out, linked
from jatlas._src.consensus.held_out import Fold, Totals
from jatlas._src.seeds import Seed
from jatlas.merging.mean import masked_mean

Stacked = Float[AnyArray, "M N D"] | Sequence[Float[AnyArray, "N _"]]
Coordinates = Callable[[Any, Any, Any], Any]

AMONG = ("linked", "all")


class MergeScore(NamedTuple):
    """How well held-out samples find each other, chart by chart.

    Entry (i, j) is for queries by chart i whose answers are chart j's rows; NaN where
    no linked sample is in both, and on the diagonal.

    Attributes:
        mean_reciprocal_rank: (M, M), in [0, 1], the mean of 1 / rank of the answer.
        recall_at_1: (M, M), the share of queries to which the answer is the nearest.
        recall_at_10: (M, M), the share that have it among their ten nearest.
        chance: (M, M), the mean reciprocal rank of a random order.
        sole_share: (M, M), the share, among the ten nearest, of rows that the query's
            chart alone has. Far above `fair_share`, the merge sorts by chart. Zero
            where only held-out samples are looked among.
        fair_share: (M, M), the share of such rows among all.
        queries: (M, M), how many there were.
    """

    mean_reciprocal_rank: Float[np.ndarray, "M M"]
    recall_at_1: Float[np.ndarray, "M M"]
    recall_at_10: Float[np.ndarray, "M M"]
    chance: Float[np.ndarray, "M M"]
    sole_share: Float[np.ndarray, "M M"]
    fair_share: Float[np.ndarray, "M M"]
    queries: Float[np.ndarray, "M M"]


@border.promoting
def score_merge(
    key: Seed,
    coordinates: Coordinates,
    embeddings: Float[AnyArray, "M N D"] | Sequence[Float[AnyArray, "N _"]],
    presence: Bool[AnyArray, "M N"],
    *,
    folds: int = 5,
    among: str = "linked",
) -> MergeScore:
    """Score a merge without labels, by held-out linked samples.

    Linked samples, those of two or more charts, are dealt into folds. For each fold the
    coordinates are learned without it, and then every chart's rows of its samples are
    looked for by every other chart's rows, by cosine. Runs on the host.

    Args:
        key: an integer or a JAX key; deals the folds.
        coordinates: the merge: a function of (embeddings, presence, where) to each
            chart's rows in common coordinates, (M, N, K) or M arrays (N, K), that
            learns from samples `where`, (N,), only. Anchors are to be chosen among
            these too.
        embeddings: (M, N, D), or M arrays (N, D_m).
        presence: (M, N), boolean.
        folds: 2 or more.
        among: "linked": the answers are looked for among the held-out samples that the
            two charts have; "all": among all samples in one index, each with the charts
            that it has, but for the held-out ones, of which the index has the one chart
            alone. At most 2,048 queries a fold, and 20,000 rows.

    Returns:
        A `MergeScore`, arrays on the host.

    Raises:
        ValueError: if the shapes or dtypes are not these, folds is below 2 or above the
            number of linked samples, a present row holds NaN or infinity, or charts are
            not joined by linked samples when a fold is left out.

    Example:
        >>> import jax
        >>> from jatlas import apply_consensus, fit_consensus
        >>> hidden = jax.random.normal(jax.random.key(0), (200, 8))
        >>> turn = jax.random.normal(jax.random.key(1), (2, 8, 12))
        >>> charts, both = hidden @ turn, jnp.ones((2, 200), bool)
        >>> def consensus(embeddings, presence, where):
        ...     maps = fit_consensus(embeddings, presence, where=where)
        ...     return [apply_consensus(maps, m, x) for m, x in enumerate(embeddings)]
        >>> score = score_merge(0, consensus, charts, both)
        >>> bool(score.mean_reciprocal_rank[0, 1] > 0.95), score.chance[0, 1].round(2)
        (True, np.float64(0.11))

    Source: Voorhees, "The TREC-8 question answering track report" (1999), for the
    reciprocal rank.
    """
    present = check_scored(embeddings, presence, folds, among)
    totals = []
    for fold in held_out.deal_folds(key, present, folds, among):
        linked.check_linked(present, fold.learned_from)
        rows = coordinates(embeddings, presence, jnp.asarray(fold.learned_from))
        _check_rows(rows, present.shape)
        places = fold.places
        rows = [jnp.asarray(border.native(x))[places] for x in rows]
        totals.append(score_fold(fold, rows, present[:, places]))
    return score_of(totals)


def check_scored(
    embeddings: Stacked, presence: Any, folds: int, among: str
) -> Bool[np.ndarray, "M N"]:
    """The presence on the host; ValueError unless it can be scored."""
    arrays.check_on_host("scoring a merge", embeddings=embeddings, presence=presence)
    present = on_host("presence", presence)
    linked.check_charts(embeddings, present, None)
    if among not in AMONG:
        raise ValueError(f"unknown among {among!r}; known are {', '.join(AMONG)}.")
    arrays.check_count("folds", folds, 2)
    if present.shape[0] < 2:
        raise ValueError("one chart has no other to be found by; give two at least.")
    linked.check_linked(present)
    num_linked = int(linked.linked_samples(present).sum())
    if folds > num_linked:
        raise ValueError(
            f"folds must be at most the number of linked samples, {num_linked}, got "
            f"{folds}."
        )
    held_out.check_present(embeddings, present)
    return present


def _check_rows(rows: Any, shape: tuple[int, int]) -> None:
    arrays.check_equal(
        "the number of charts M of the embeddings and of the coordinates",
        [shape[0], len(rows)],
        "The function gives each chart's rows, (M, N, K).",
    )
    arrays.check_equal(
        "the number of samples N and that of each chart's coordinates",
        [shape[1], *(x.shape[0] for x in rows)],
        "The function gives rows of all samples, (M, N, K).",
    )


def score_fold(
    fold: Fold, rows: Sequence[Float[Array, "n K"]], presence: Bool[np.ndarray, "M n"]
) -> Totals:
    """Sums over the queries of one fold.

    Rows are each chart's, of the samples `fold.places`.
    """
    size = fold.held_out.size
    have = presence[:, size:]
    merged = masked_mean(jnp.stack([x[size:] for x in rows]), have)
    return held_out.scored([x[:size] for x in rows], presence[:, :size], merged, have)


def score_of(totals: Sequence[Totals]) -> MergeScore:
    """Means over the queries of all folds."""
    sums = Totals(*(np.sum(parts, axis=0) for parts in zip(*totals, strict=True)))
    count = np.where(sums.queries == 0, np.nan, sums.queries)
    means = dict(zip(MergeScore._fields, (x / count for x in sums[1:]), strict=False))
    return MergeScore(**means, queries=sums.queries)


def over_queries(score: MergeScore, measure: str = "mean_reciprocal_rank") -> float:
    """A measure's mean over all queries of all pairs of charts."""
    values = np.nan_to_num(getattr(score, measure))
    return float(np.sum(values * score.queries) / np.sum(score.queries))
