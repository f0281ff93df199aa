"""Score kinds of coordinates on held-out linked samples."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jatlas._src.consensus import held_out, linked
from jatlas._src.consensus.held_out import Fold, Totals
from jatlas.files import maps
from jatlas.files.coordinates import Taken, rows_to_fit, take_rows
from jatlas.files.kinds.linked_rows import dtype_of
from jatlas.files.kinds.options import NYSTROEM, PROCRUSTES, Kind
from jatlas.files.reports import Advance
from jatlas.files.survey import Survey
from jatlas.merging import choice, scoring
from jatlas.merging.anchors import choose_anchors
from jatlas.merging.consensus import apply_consensus
from jatlas.merging.relative import similarities
from jatlas.merging.scoring import MergeScore
from jatlas.merging.translation.generalized import fit_procrustes

# So many samples must be left out at least, and as many be left to learn from.
FEWEST = 50
# So many are read into memory at most, linked ones and those of one chart.
MOST_LINKED, MOST_ALONE = 5000, 5000
FOLDS = 3
# Queries of a fold, and other rows that they are looked for among.
_MOST = 200, 5000
# Of mean reciprocal ranks less apart neither is better.
_LEVEL = 0.002
RIDGES, POWERS = (0.3, 1.0, 3.0), (0.5, 1.0, 2.0, 3.0)


class Sample(NamedTuple):
    """Samples of files in memory, and their folds.

    Attributes:
        presence: (M, n), which charts have them.
        rows: M arrays (n, D_m), zero where absent, in float32, or float64 as stored.
        stored: M dtypes, those of the files.
        folds: of the linked samples.
        anchors: (n,), those that a file lists, or those that anchors may be drawn
            among: that all charts have.
        num_anchors: how many are drawn at most.
        seed: of this draw.
        looks: M, of `rows_to_fit`, read at the same time.
    """

    presence: Bool[np.ndarray, "M n"]
    rows: tuple[Float[np.ndarray, "n _"], ...]
    stored: tuple[np.dtype, ...]
    folds: tuple[Fold, ...]
    anchors: Bool[np.ndarray, " n"]
    num_anchors: int
    seed: int
    looks: tuple[Taken, ...] = ()

    def fold_anchors(self, fold: Fold) -> np.ndarray:
        """Places of the anchors while a fold is left out."""
        pool = self.anchors & fold.learned_from
        if not pool.any():
            return np.zeros(0, int)
        return choose_anchors(self.seed, pool, min(self.num_anchors, int(pool.sum())))


class Scored(NamedTuple):
    """A kind of coordinates, its ridge and power chosen, and its score."""

    kind: Kind
    score: MergeScore

    def mean(self, measure: str = "mean_reciprocal_rank") -> float:
        """Of all queries of all pairs of charts."""
        return scoring.over_queries(self.score, measure)


def best_of(scored: Sequence[Scored]) -> Scored:
    """The best; where it is hardly better, one that can grow."""
    best = max(scored, key=Scored.mean)
    grows = [one for one in scored if one.kind.can_grow]
    second = max(grows, key=Scored.mean, default=best)
    return second if second.mean() >= best.mean() - _LEVEL else best


def can_be_held_out(samples: Survey) -> bool:
    """Whether enough samples are linked for some to be left out."""
    return samples.num_linked >= 2 * FEWEST


def draw_sample(
    samples: Survey,
    num_anchors: int | None,
    *,
    seed: int,
    batch_size: int,
    advance: Advance,
    moved: bool = False,
) -> Sample:
    """Read some samples of all files, linked ones and others.

    Args:
        samples: of the files.
        num_anchors: how many anchors the merge draws; None if a file lists those that
            the survey has.
        seed: of all draws.
        batch_size: rows that are read at once.
        advance: gets how many more rows were read.
        moved: whether rows to move the charts by are taken too.
    """
    rng = np.random.default_rng(seed)
    links = samples.linked
    listed = samples.anchors if num_anchors is None else np.zeros(0, int)
    kinds = [np.flatnonzero(links), np.flatnonzero(~links)]
    drawn = [
        rng.permutation(kind)[:most]
        for kind, most in zip(kinds, (MOST_LINKED, MOST_ALONE), strict=True)
    ]
    chosen = np.unique(np.concatenate([*drawn, listed]))
    presence, rows, looks = samples.presence[:, chosen], [], []
    for m, (source, place) in enumerate(
        zip(samples.sources, samples.places, strict=True)
    ):
        of_sample = np.full(samples.ids.size, -1)
        of_sample[place] = np.arange(place.size)
        mine, dtype = presence[m], dtype_of(source)
        x = np.zeros((chosen.size, source.rows.shape[1]), dtype)
        wanted = of_sample[chosen[mine]]
        to_fit = rows_to_fit(source, of_sample[samples.anchors], moved)
        both = np.concatenate([wanted, to_fit])
        taken = take_rows(source, both, batch_size, advance, dtype)
        x[mine] = taken.rows[: wanted.size]
        rows.append(x)
        looks.append(taken._replace(rows=taken.rows[wanted.size :].copy()))
    pool = np.asarray(presence.all(axis=0))
    if num_anchors is None:
        pool = np.isin(chosen, listed)
    return Sample(
        presence,
        tuple(rows),
        tuple(source.rows.dtype for source in samples.sources),
        tuple(held_out.deal_folds(seed, presence, FOLDS, "all", _MOST)),
        pool,
        int(pool.sum()) if num_anchors is None else num_anchors,
        seed,
        tuple(looks),
    )


def score_kinds(
    sample: Sample, kinds: Sequence[Kind], names: Sequence[str]
) -> tuple[list[Scored], list[str]]:
    """The scores of all kinds, and why some have none.

    Args:
        sample: from `draw_sample`.
        kinds: to be scored; those of one transform of the charts together, best so.
        names: of the files.
    """
    reasons: list[str] = []
    with_anchors = [kind for kind in kinds if not kind.is_linked]
    if with_anchors and min(len(sample.fold_anchors(f)) for f in sample.folds) == 0:
        reasons.append("relative, nystroem: no anchor is left when some are held out.")
        with_anchors = []
    totals: dict[Kind, list[Totals]] = {kind: [] for kind in with_anchors}
    for fold in sample.folds:
        for kind, rows in _by_anchors(sample, fold, with_anchors):
            have = sample.presence[:, fold.places]
            arrays = [jnp.asarray(x) for x in rows]
            totals[kind].append(scoring.score_fold(fold, arrays, have))
    scored = {
        kind: Scored(kind, scoring.score_of(parts)) for kind, parts in totals.items()
    }
    for kind in kinds:
        if kind.is_linked:
            try:
                for fold in sample.folds:
                    linked.check_linked(sample.presence, fold.learned_from, names)
            except ValueError as error:
                reasons.append(f"{kind.coordinates}: with samples held out, {error}")
                continue
            best = _rotated if kind.coordinates == PROCRUSTES else _best_consensus
            scored[kind] = best(sample, kind)
    return [scored[kind] for kind in kinds if kind in scored], reasons


def _by_anchors(
    sample: Sample, fold: Fold, kinds: Sequence[Kind]
) -> Iterator[tuple[Kind, list[Float[np.ndarray, "n A"]]]]:
    """Each chart's rows of a fold in coordinates that anchors give."""

    def transform(kind: Kind) -> tuple[bool, float]:
        return kind.center, -1.0 if kind.shrinkage is None else kind.shrinkage

    for _, group in groupby(sorted(kinds, key=transform), key=transform):
        alike = list(group)
        parts = [
            _relative(sample, fold, chart, alike[0])
            for chart in range(len(sample.rows))
        ]
        rows = [x for x, _ in parts]
        for kind in alike:
            if kind.coordinates != NYSTROEM:
                yield kind, rows
                continue
            kernels = [kernel for _, kernel in parts]
            fitted = maps.fit_nystroem(np.mean(kernels, axis=0), kernels)
            scale = np.asarray(fitted.transform.scale)
            yield kind, [x @ scale for x in rows]


def _relative(
    sample: Sample, fold: Fold, chart: int, kind: Kind
) -> tuple[Float[np.ndarray, "n A"], Float[np.ndarray, "A A"]]:
    """Similarities of the fold's rows and of the anchors."""
    x, stored = sample.rows[chart], sample.stored[chart]
    learned = x[sample.presence[chart] & fold.learned_from]
    mean, scale = np.zeros(x.shape[1]), None
    if kind.shrinkage is not None:
        fitted = maps.fit_whiten(learned, kind.shrinkage, stored).transform
        mean, scale = np.asarray(fitted.mean), np.asarray(fitted.scale)
    elif kind.center:
        mean = np.asarray(maps.fit_center(learned).transform.mean)
    anchors = sample.fold_anchors(fold)

    def moved(places: np.ndarray) -> Array:
        rows = (x[places] - mean).astype(np.float32)
        return jnp.asarray(rows if scale is None else rows @ scale)

    at_anchors = moved(anchors)
    both = [
        np.asarray(_similar(rows, at_anchors, kind.similarity, "highest"))
        for rows in (moved(fold.places), at_anchors)
    ]
    return both[0], both[1]


_similar = jax.jit(similarities, static_argnums=(2, 3))


def _best_consensus(sample: Sample, kind: Kind) -> Scored:
    """Consensus coordinates with the ridge and power that score best."""
    ridges = RIDGES if kind.ridge is None else (kind.ridge,)
    powers = POWERS if kind.power is None else (kind.power,)
    rows = _centered(sample)
    widths = [x.shape[1] for x in rows]
    features = min(kind.features or max(widths), sum(widths))
    scores = choice.score_settings(
        rows, sample.presence, sample.folds, ridges, powers, [features]
    )
    scored = [
        Scored(kind._replace(ridge=ridge, power=power), score)
        for (ridge, power, _), score in scores.items()
    ]
    return max(scored, key=Scored.mean)


def _rotated(sample: Sample, kind: Kind) -> Scored:
    """The coordinates of generalized Procrustes, fitted anew for each fold."""
    rows, totals = _centered(sample), []
    for fold in sample.folds:
        maps_of = fit_procrustes(
            rows,
            sample.presence,
            num_features=kind.features,
            where=fold.learned_from,
        )
        moved = [
            apply_consensus(maps_of, chart, jnp.asarray(x[fold.places]))
            for chart, x in enumerate(rows)
        ]
        have = sample.presence[:, fold.places]
        totals.append(scoring.score_fold(fold, moved, have))
    return Scored(kind, scoring.score_of(totals))


def _centered(sample: Sample) -> list[Float[np.ndarray, "n _"]]:
    """Each chart's rows less their mean, in float32; zero where absent."""
    rows = []
    for x, mine in zip(sample.rows, sample.presence, strict=True):
        mean = x[mine].mean(axis=0, dtype=np.float64)
        rows.append(np.where(mine[:, None], x - mean, 0).astype(np.float32))
    return rows
