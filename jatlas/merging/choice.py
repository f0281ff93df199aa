"""Consensus coordinates whose options held-out samples have chosen."""

import itertools
from collections.abc import Iterator, Sequence
from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jatlas._src import border
from jatlas._src.arrays import AnyArray
from jatlas._src.consensus import held_out, linked, moments, solving
from jatlas._src.consensus.held_out import Fold, Totals
from jatlas._src.consensus.solving import Consensus
from jatlas._src.seeds import Seed
from jatlas.merging import scoring
from jatlas.merging.consensus import (
    apply_consensus,
    fit_consensus,
    number_of_features,
)
from jatlas.merging.scoring import MergeScore

Stacked = Float[AnyArray, "M N D"] | Sequence[Float[AnyArray, "N _"]]


@border.promoting
def choose_consensus(
    key: Seed,
    embeddings: Float[AnyArray, "M N D"] | Sequence[Float[AnyArray, "N _"]],
    presence: Bool[AnyArray, "M N"],
    *,
    ridges: Sequence[float] = (0.3, 1.0, 3.0),
    powers: Sequence[float] = (0.5, 1.0, 2.0, 3.0, 5.0),
    num_features: int | Sequence[int] | None = None,
    normalize: bool = False,
    folds: int = 5,
    among: str = "linked",
) -> tuple[Consensus, Float[np.ndarray, "M M"]]:
    """The consensus by which held-out linked samples find each other best.

    For every fold of linked samples the map is fitted on the others, anew for each
    ridge, and rows of the fold are looked for from chart to chart, as `score_merge`
    does. The options with the highest mean reciprocal rank, over all queries of all
    pairs of charts, are then fitted on all linked samples. Runs on the host.

    Args:
        key: an integer or a JAX key; deals the folds.
        embeddings: (M, N, D), or M arrays (N, D_m).
        presence: (M, N), boolean.
        ridges: to choose from, each above 0.
        powers: to choose from, `agreement_power`, none negative.
        num_features: as in `fit_consensus`, or several to choose from: the first K
            coordinates of one map are the map of K.
        normalize: as in `fit_consensus`.
        folds: 2 or more.
        among: where the answers are looked for: "linked" for charts whose rows are to
            find each other, "all" for one index in which rows of single charts and of
            several lie; see `score_merge`.

    Returns:
        The `Consensus`, with the chosen ridge and agreement_power in it, and its score,
        (M, M): the mean reciprocal rank of held-out samples, queries by chart i among
        rows of chart j. NaN where no linked sample is in both. Of as many settings as
        are tried it is the best, and so a little too high.

    Raises:
        ValueError: as `score_merge` and `fit_consensus`, and if there is no ridge,
            power or num_features to choose from, or one is out of range.

    Example:
        >>> hidden = jax.random.normal(jax.random.key(0), (200, 8))
        >>> turn = jax.random.normal(jax.random.key(1), (2, 8, 12))
        >>> charts, both = hidden @ turn, jnp.ones((2, 200), bool)
        >>> consensus, score = choose_consensus(0, charts, both)
        >>> bool(score[0, 1] > 0.95), consensus.weights.shape
        (True, (2, 12, 12))

    Source: as for `fit_consensus`.
    """
    present = scoring.check_scored(embeddings, presence, folds, among)
    _check_options("ridges", ridges, [x > 0 for x in ridges], "above")
    _check_options("powers", powers, [x >= 0 for x in powers], "not below")
    features = _all_features(embeddings, num_features)
    dealt = list(held_out.deal_folds(key, present, folds, among))
    for fold in dealt:
        linked.check_linked(present, fold.learned_from)
    scores = score_settings(
        embeddings, present, dealt, ridges, powers, features, normalize
    )
    best = max(scores, key=lambda setting: scoring.over_queries(scores[setting]))
    consensus = fit_consensus(
        embeddings,
        jnp.asarray(present),
        num_features=best[2],
        ridge=best[0],
        agreement_power=best[1],
        normalize=normalize,
    )
    return consensus, scores[best].mean_reciprocal_rank


def score_settings(
    embeddings: Stacked,
    presence: Bool[np.ndarray, "M N"],
    folds: Sequence[Fold],
    ridges: Sequence[float],
    powers: Sequence[float],
    features: Sequence[int],
    normalize: bool = False,
) -> dict[tuple[float, float, int], MergeScore]:
    """The held-out score of every ridge, power and K, in their order."""
    settings = itertools.product(ridges, powers, features)
    totals: dict[tuple[float, float, int], list[Totals]] = {
        each: [] for each in settings
    }
    maps = _fold_maps(embeddings, presence, folds, ridges, max(features), normalize)
    for fold, ridge, consensus in maps:
        places = fold.places
        rows = [
            apply_consensus(consensus, chart, jnp.asarray(border.native(x[places])))
            for chart, x in enumerate(embeddings)
        ]
        for power, width in itertools.product(powers, features):
            weights = consensus.agreement[:width] ** power
            weighted = [x[:, :width] * weights for x in rows]
            total = scoring.score_fold(fold, weighted, presence[:, places])
            totals[ridge, power, width].append(total)
    return {setting: scoring.score_of(parts) for setting, parts in totals.items()}


def _fold_maps(
    embeddings: Stacked,
    presence: Bool[np.ndarray, "M N"],
    folds: Sequence[Fold],
    ridges: Sequence[float],
    num_features: int,
    normalize: bool,
) -> Iterator[tuple[Fold, float, Consensus]]:
    """For each fold and ridge, the map of the other folds.

    Coordinates are not weighted by agreement yet. Of linked samples only. Few are
    fitted anew; of many, the moments of each fold are taken once, and those of all
    other folds combined.
    """
    places = np.flatnonzero(linked.linked_samples(presence))
    rows = [jnp.asarray(border.native(x[places])) for x in embeddings]
    have, features = jnp.asarray(presence[:, places]), min(num_features, places.size)
    if places.size < sum(moments.dimensions_of(embeddings)):
        for fold in folds:
            where = jnp.asarray(fold.learned_from[places])
            for ridge in ridges:
                consensus = fit_consensus(
                    rows,
                    have,
                    where=where,
                    num_features=features,
                    ridge=ridge,
                    agreement_power=0.0,
                    normalize=normalize,
                )
                yield fold, ridge, consensus
        return
    size = -(-places.size // len(folds))
    states = []
    for fold in folds:
        mine = np.flatnonzero(~fold.learned_from[places])
        padded = np.resize(mine, size)
        where = jnp.arange(size) < mine.size
        parts = [x[padded] for x in rows]
        states.append(_moments(parts, have[:, padded], where, normalize))
    for number, fold in enumerate(folds):
        others = reduce(_combined, states[:number] + states[number + 1 :])
        for ridge in ridges:
            yield fold, ridge, _solved(others, features, ridge, 0.0)


_moments = jax.jit(moments.moments_of, static_argnames="normalize")
_combined = jax.jit(moments.combined)
_solved = jax.jit(solving.of_moments, static_argnames="num_features")


def _all_features(
    embeddings: Stacked, given: int | Sequence[int] | None
) -> Sequence[int]:
    """All K to choose from; ValueError unless they are in range."""
    if not isinstance(given, Sequence):
        return [number_of_features(embeddings, given)]
    if not given:
        raise ValueError("num_features must be a number or several, got none.")
    return [number_of_features(embeddings, one) for one in given]


def _check_options(
    name: str, options: Sequence[float], in_range: Sequence[bool], words: str
) -> None:
    if not len(options) or not all(in_range) or np.inf in options:
        raise ValueError(
            f"{name} must be one or more finite numbers, {words} 0, got "
            f"{list(options)}."
        )
