"""Choose the kind of coordinates for a merge of files."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from jatlas.files.coordinates import FITTED_ON, Taken
from jatlas.files.kinds.consensus import check_joined
from jatlas.files.kinds.doubts import FEWEST_SHARED, at_chance, few_linked, warn
from jatlas.files.kinds.held_out_score import (
    FEWEST,
    Sample,
    Scored,
    best_of,
    can_be_held_out,
    draw_sample,
    score_kinds,
)
from jatlas.files.kinds.linked_rows import dtype_of
from jatlas.files.kinds.options import ANCHORS, AUTO, CONSENSUS, RELATIVE, Kind, tried
from jatlas.files.kinds.score_table import label, score_table
from jatlas.files.reports import Advance, Say
from jatlas.files.survey import Survey, TooFewCommon, with_anchors

# What charts are moved by is kept after a score if all of it takes so many bytes.
_IN_MEMORY = 2**28


class Candidates(NamedTuple):
    """Kinds of coordinates that files can be merged in.

    Attributes:
        samples: of the files, with the anchors if any kind takes them.
        kinds: that can be fitted.
        num_anchors: how many are drawn; None if a file lists them.
        reasons: why other kinds cannot be.
    """

    samples: Survey
    kinds: list[Kind]
    num_anchors: int | None
    reasons: list[str]


def candidates(
    samples: Survey,
    kind: Kind,
    anchors: str | Path | None,
    *,
    id_type: str | None,
    seed: int,
) -> Candidates:
    """The kinds that `kind` means and the files allow.

    Raises:
        ValueError: if none is left, or the anchors cannot be had.
    """
    kinds, num_anchors, reasons = tried(kind), None, []
    hopeless = None
    if not isinstance(anchors, str | Path | None):
        raise ValueError(
            'anchors must be "shared:NUMBER" or the path of a file of ids, got '
            f"{type(anchors).__name__}. Save the ids with np.save, and give its path."
        )
    spec = str(anchors or ANCHORS)
    name, _, number = spec.partition(":")
    if not kind.is_linked:
        try:
            samples = with_anchors(samples, spec, id_type=id_type, seed=seed)
        except TooFewCommon as error:
            if kind.coordinates != AUTO or anchors is not None:
                raise
            kinds = [one for one in kinds if one.coordinates == CONSENSUS]
            common = int(samples.presence.all(axis=0).sum())
            reasons.append(
                f"relative, nystroem: {common} samples are in every file, too few for "
                f"--anchors {spec}."
            )
            # Where no sample is in two files the ids are wrong, and this shows them.
            hopeless = None if samples.num_linked else str(error)
        if name == "shared" and number.isdecimal():
            num_anchors = int(number)
    if any(one.is_linked for one in kinds):
        try:
            check_joined(samples)
        except ValueError as error:
            if len(kinds) == 1:
                raise ValueError(hopeless or str(error)) from None
            kinds = [one for one in kinds if one.coordinates != CONSENSUS]
            reasons.append(f"consensus: {error}")
    return Candidates(samples, kinds, num_anchors, reasons)


def is_scored(samples: Survey, kind: Kind, heard: bool) -> bool:
    """Whether a score is needed, to choose or to be shown."""
    if len(samples.sources) < 2 or not can_be_held_out(samples):
        return False
    consensus = kind.coordinates == CONSENSUS
    open_options = consensus and None in (kind.ridge, kind.power)
    return heard or kind.coordinates == AUTO or open_options


def scores(
    given: Candidates, *, seed: int, batch_size: int, advance: Advance
) -> tuple[Sample, list[Scored], list[str]]:
    """The held-out scores of the candidates, and why some have none."""
    sample = draw_sample(
        given.samples,
        given.num_anchors,
        seed=seed,
        batch_size=batch_size,
        advance=advance,
        moved=takes_moved(given),
    )
    paths = [str(source.path) for source in given.samples.sources]
    scored, reasons = score_kinds(sample, given.kinds, paths)
    return sample, scored, [*given.reasons, *reasons]


def choose(
    given: Candidates,
    kind: Kind,
    scored: bool,
    *,
    seed: int,
    batch_size: int,
    advance: Advance,
    say: Say,
) -> tuple[Kind, tuple[Taken, ...]]:
    """The wanted kind, or the best, and rows to fit it on.

    Where one that can grow is level with the best, it is taken. There are rows only if
    the files were read for a score.

    Args:
        given: the kinds that can be.
        kind: that is wanted, perhaps `AUTO`.
        scored: whether to score them.
        seed: of the draw of held-out samples.
        batch_size: rows that are read at once.
        advance: gets how many more rows were read.
        say: gets the scores, and what was chosen.
    """
    best, looks = [default(given.kinds)], tuple[Taken, ...]()
    if scored:
        sample, results, reasons = scores(
            given, seed=seed, batch_size=batch_size, advance=advance
        )
        looks = sample.looks
        if results:
            say(score_table(sample, given.samples.charts, results))
            best = [best_of(results).kind]
            warn(at_chance(best_of(results).score, given.samples.charts), say)
        for reason in reasons:
            say(f"not scored: {reason}")
        warn(few_linked(given.samples), say)
    elif len(given.samples.sources) == 1:
        say("one file: nothing is merged, its samples only get coordinates")
    else:
        _check_few(given, kind)
        say(
            f"no held-out score: fewer than {2 * FEWEST} samples are in two files or "
            f"more, {given.samples.num_linked}"
        )
        if kind.is_linked:
            warn(few_linked(given.samples, FEWEST_SHARED), say)
        elif best[0].is_linked:  # and not asked for
            warn(few_linked(given.samples), say)
    (chosen,) = best
    if kind.coordinates == AUTO:
        say(f"coordinates: {label(chosen)}")
    return chosen, looks


def _check_few(given: Candidates, kind: Kind) -> None:
    """Raise ValueError if no kind suits so few linked samples."""
    few = given.samples.num_linked < FEWEST_SHARED
    if few and kind.coordinates == AUTO and all(one.is_linked for one in given.kinds):
        raise ValueError(
            f"{few_linked(given.samples)} With --coordinates consensus "
            "(coordinates='consensus') they are merged all the same."
        )


def takes_moved(given: Candidates) -> bool:
    """Whether a score takes what charts are moved by, if they are."""
    size = sum(
        min(source.ids.size, FITTED_ON)
        * source.rows.shape[1]
        * np.dtype(dtype_of(source)).itemsize
        for source in given.samples.sources
    )
    return _is_moved(given) and size <= _IN_MEMORY


def is_read_again(given: Candidates) -> bool:
    """Whether a fit can read the files again after a score."""
    linked = any(kind.is_linked for kind in given.kinds)
    return linked or (_is_moved(given) and not takes_moved(given))


def _is_moved(given: Candidates) -> bool:
    return any(kind.center or kind.shrinkage is not None for kind in given.kinds)


def default(kinds: list[Kind]) -> Kind:
    """The kind without a score: relative where possible, else consensus."""
    plain = [kind for kind in kinds if kind.name == RELATIVE]
    return (plain or kinds)[0]
