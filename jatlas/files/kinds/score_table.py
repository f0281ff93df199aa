"""Held-out scores as text."""

from collections.abc import Sequence

import numpy as np

from jatlas.files.kinds.doubts import at_chance
from jatlas.files.kinds.held_out_score import Sample, Scored, best_of
from jatlas.files.kinds.options import CONSENSUS, Kind
from jatlas.files.reports import table

# Shares are shown for so many charts, or in the mean.
_MOST_CHARTS = 6
_MEASURES = ("mean_reciprocal_rank", "recall_at_1", "recall_at_10")


def score_table(sample: Sample, charts: Sequence[str], scored: Sequence[Scored]) -> str:
    """How well held-out samples were looked for, a kind a line.

    On the right stands what share of the ten nearest rows is known to the query's chart
    alone, and in brackets the share of such rows among all.
    """
    queries = int(scored[0].score.queries.sum())
    others = max(fold.others.size for fold in sample.folds)
    shown = len(charts) <= _MOST_CHARTS
    head = ["coordinates", "mean reciprocal rank", "recall at 1", "at 10"]
    head += [f"only in {name}" for name in charts] if shown else ["only in one"]
    rows = [
        [
            label(one.kind),
            *(f"{one.mean(measure):.3f}" for measure in _MEASURES),
            *(f"{mine:.2f} ({fair:.2f})" for mine, fair in _shares(one, shown)),
        ]
        for one in scored
    ]
    chance = [
        "by chance",
        f"{scored[0].mean('chance'):.3f}",
        f"{1 / (others + 1):.3f}",
        f"{min(10 / (others + 1), 1):.3f}",
    ]
    rows.append(chance + [""] * (len(head) - len(chance)))
    return (
        f"held out: {queries} searches for a sample of one file by its row in another, "
        f"among {others} others\n{table([head, *rows], 0)}\n"
        "(only in: share of the ten nearest that the searching file alone has; in "
        "brackets the fair share)"
    )


def label(kind: Kind) -> str:
    """A kind as the command spells it, with its ridge and power."""
    if kind.coordinates != CONSENSUS or kind.ridge is None:
        return kind.name
    return f"{kind.name} --ridge {kind.ridge:g} --power {kind.power:g}"


def advice(scored: Sequence[Scored], charts: Sequence[str]) -> str:
    """Which kind to take, and whether any is good enough."""
    best = best_of(scored)
    text = f"take --coordinates {label(best.kind)} (merge then tries no others)"
    if not best.kind.can_grow:
        text += " (no new chart can be added to it later)"
    if doubt := at_chance(best.score, charts):
        return f"{text}, but {doubt}"
    mine, fair = best.mean("sole_share"), best.mean("fair_share")
    if mine > fair + 0.3:
        return (
            f"{text}; mind that {mine:.0%} of the nearest rows are of the searching "
            f"file alone, where {fair:.0%} would be fair"
        )
    return text


def _shares(one: Scored, by_chart: bool) -> list[tuple[float, float]]:
    """The share of sole rows among the nearest, and the fair one."""
    names = ("sole_share", "fair_share")
    if not by_chart:
        return [(one.mean(names[0]), one.mean(names[1]))]
    weights = one.score.queries
    total = np.maximum(weights.sum(axis=1), 1)
    mine, fair = (
        np.sum(np.nan_to_num(getattr(one.score, name)) * weights, axis=1) / total
        for name in names
    )
    return list(zip(mine.tolist(), fair.tolist(), strict=True))
