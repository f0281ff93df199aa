"""Warnings about merges and translations that find little."""

import warnings
from collections.abc import Sequence

import numpy as np

from jatlas.files.kinds.held_out_score import FEWEST
from jatlas.files.reports import Say
from jatlas.files.survey import Survey
from jatlas.merging.scoring import MergeScore

# A map is learned from so many samples of two charts at least.
FEWEST_SHARED = 20
# What finds samples less than so many times better than chance is doubtful.
_CLEARLY = 5
_IDS = "do equal ids mean equal samples? Are there more samples that the files share?"


class DoubtfulMerge(UserWarning):
    """A merge or translation that finds samples hardly better than chance."""


def warn(text: str, say: Say) -> None:
    """Say it, and warn with a `DoubtfulMerge`; nothing for an empty text."""
    if text:
        say(f"warning: {text}")
        warnings.warn(text, DoubtfulMerge, stacklevel=6)


def at_chance(score: MergeScore, charts: Sequence[str]) -> str:
    """What is wrong with a held-out score; empty if nothing is.

    Args:
        score: of M charts.
        charts: M names.

    >>> many, few = np.full((2, 2), 0.5), np.full((2, 2), 0.2)
    >>> at_chance(MergeScore(*[many] * 3, few, *[few] * 2, np.eye(2)[::-1]), "ab")[:42]
    'held-out samples are found hardly better t'
    >>> at_chance(MergeScore(*[many] * 3, few / 3, *[few] * 2, np.eye(2)[::-1]), "ab")
    ''
    """
    every = np.ones((len(charts), len(charts)), bool)
    if doubt := _hardly_better(score, every):
        return f"held-out samples are found {doubt}: {_IDS}"
    for m, name in enumerate(charts):
        of_chart = np.zeros_like(every)
        of_chart[m] = of_chart[:, m] = True
        if doubt := _hardly_better(score, of_chart):
            return (
                f"{name}: its samples find those of the others, and are found, {doubt}:"
                " do its ids mean the samples that they mean in the other files?"
            )
    return ""


def asked_at_chance(score: MergeScore, query: int, answer: int) -> str:
    """`at_chance` of one chart's queries for another's rows."""
    asked = np.zeros(score.queries.shape, bool)
    asked[query, answer] = True
    doubt = _hardly_better(score, asked)
    return f"held-out samples are found {doubt}: {_IDS}" if doubt else ""


def _hardly_better(score: MergeScore, where: np.ndarray) -> str:
    """The ranks of some queries beside chance; empty if clearly above it."""
    weights = np.where(where, score.queries, 0)
    if not weights.any():
        return ""
    rank, chance = (
        float(np.sum(np.nan_to_num(x) * weights) / weights.sum())
        for x in (score.mean_reciprocal_rank, score.chance)
    )
    if rank >= _CLEARLY * chance:
        return ""
    return (
        f"hardly better than by chance (mean reciprocal rank {rank:.3f}, by chance "
        f"{chance:.3f})"
    )


def few_linked(samples: Survey, fewest: int = 2 * FEWEST) -> str:
    """What is wrong if few samples link files; else empty."""
    if samples.num_linked < fewest:
        return (
            f"{samples.num_linked} samples are in two files or more: what is learned "
            f"from so few finds little, and how much is not known. {2 * FEWEST} are "
            f"needed for a held-out score, {FEWEST_SHARED} for add and translate. "
            "Embed more samples by both models."
        )
    for m, name in enumerate(samples.charts):
        shared = int((samples.presence[m] & samples.linked).sum())
        if shared < FEWEST_SHARED:
            return (
                f"{name}: {shared} of its samples are in another file, and "
                f"{FEWEST_SHARED} are needed for add and translate: what is learned "
                "from so few finds little. Embed more samples by both models."
            )
    return ""
