"""Warnings about merges and translations that find little."""

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jatlas.files.kinds.held_out_score import FEWEST
from jatlas.files.recipe import Recipe
from jatlas.files.reports import Say
from jatlas.files.survey import Survey
from jatlas.merging.scoring import MergeScore, over_queries

# A map is learned from so many samples of two charts at least.
FEWEST_SHARED = 20
# Two charts are taken for one encoder's if the cosine of their maps' rows is above one,
# and their means and deviations differ by less than the other, in deviations.
_AGREE, _APART = 0.25, 0.35
# What finds samples less than so many times better than chance is doubtful, unless it
# goes so much of the way from chance to always: among few, chance alone is much.
_CLEARLY, _SHARE = 5, 0.05
_IDS = "do equal ids mean equal samples? Are there more samples that the files share?"


_LIBRARY = str(Path(__file__).parents[2]) + os.sep


class DoubtfulMerge(UserWarning):
    """A merge or translation that finds samples hardly better than chance."""


def warn(text: str, say: Say) -> None:
    """Say it, and warn with a `DoubtfulMerge`; nothing for an empty text."""
    if text:
        say(f"warning: {text}")
        warnings.warn(text, DoubtfulMerge, stacklevel=_level_of_caller())


def _level_of_caller() -> int:
    """How far above a warning the code is that called the library.

    Python's filter shows a text once for a place: at one of the library's a second
    merge would be silent.
    """
    files, frame = [], sys._getframe(1)
    while frame is not None:
        files.append(frame.f_code.co_filename)
        frame = frame.f_back  # type: ignore[assignment]
    ours = [level for level, file in enumerate(files) if file.startswith(_LIBRARY)]
    return max(ours) + 2


def at_chance(score: MergeScore, charts: Sequence[str]) -> str:
    """What is wrong with a held-out score; empty if nothing is.

    Args:
        score: of M charts.
        charts: M names.

    >>> found, each = np.full((2, 2), 0.08), np.eye(2)[::-1]
    >>> at_chance(MergeScore(*[found] * 3, found / 2, *[found] * 2, each), "ab")[:42]
    'held-out samples are found hardly better t'
    >>> at_chance(MergeScore(*[found] * 3, found / 6, *[found] * 2, each), "ab")
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
    asked = score._replace(queries=np.where(where, score.queries, 0))
    if not asked.queries.any():
        return ""
    rank, chance = over_queries(asked), over_queries(asked, "chance")
    if rank >= min(_CLEARLY * chance, chance + _SHARE * (1 - chance)):
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


def same_model(recipe: Recipe, chart: int, shared: Sequence[int]) -> str:
    """Why a chart seems to be of an encoder before it.

    Charts that share samples, so many with each before it, tell it by these. Without
    such, their rows go to the same places by either's map, for the maps of one encoder
    are alike. Empty if none does.
    """
    if recipe.consensus is None:
        return ""
    for other in range(chart):
        if shared[other] < 2 and _alike(recipe, other, chart):
            return (
                f"{_name(recipe, chart)}: its rows go to the same places by the map of "
                f"chart {other}, {_name(recipe, other)!r}: are both of one encoder? "
                "Then it counts twice, and its map is learned from less. Add such "
                "samples with add --chart (chart=...), or merge both files as one "
                "folder."
            )
    return ""


def _name(recipe: Recipe, chart: int) -> str:
    return recipe.charts[chart] if recipe.charts else str(chart)


def _alike(recipe: Recipe, one: int, other: int) -> bool:
    """Whether two charts' known rows and maps are much alike."""
    maps = recipe.consensus
    assert maps is not None
    x, y = (maps.known[m].astype(np.float64) for m in (one, other))
    if x.shape[1] != y.shape[1] or min(len(x), len(y)) < FEWEST_SHARED:
        return False
    spread = np.array([x.std(axis=0), y.std(axis=0)])
    varies = (spread > 0).all(axis=0)
    shift = np.linalg.norm(x.mean(axis=0) - y.mean(axis=0))
    ratio = np.log(spread[0][varies] / spread[1][varies])
    if shift > _APART * np.linalg.norm(spread[0]) or not varies.any():
        return False
    if np.sqrt(np.mean(ratio**2)) > _APART:
        return False
    both = [
        (y - maps.means[m]) / maps.scales[m] @ maps.weights[m] for m in (one, other)
    ]
    a, b = (rows - rows.mean(axis=0) for rows in both)
    return bool(np.sum(a * b) > _AGREE * np.linalg.norm(a) * np.linalg.norm(b))
