"""The samples, overlaps and anchors of files before their merge."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from jatlas._src.ids import few, find
from jatlas.files.formats import names
from jatlas.files.formats.array_files import read_ids
from jatlas.files.formats.faults import faults_of
from jatlas.files.formats.places import Place, chart_name, last_name
from jatlas.files.formats.sources import Source, say_notes, union_of
from jatlas.files.readers import OPENERS
from jatlas.files.reports import Say, table
from jatlas.merging.anchors import choose_anchors

_CONSENSUS = (
    "--coordinates consensus (coordinates='consensus') needs none, if two files at a "
    "time share samples."
)

# An overlap of two charts below this share of the smaller is worth a warning.
_THIN = 0.05


class TooFewCommon(ValueError):
    """Too few common samples to draw anchors from."""


class Survey(NamedTuple):
    """M files of embeddings over one axis of N samples.

    Attributes:
        sources: M open files.
        charts: M names, all different.
        ids: (N,), every sample that a chart has, in order of first appearance.
        places: M arrays (N_m,), where among the ids those of each chart stand.
        presence: (M, N), chart m has sample n.
        anchors: (A,), indices into the N samples.
    """

    sources: tuple[Source, ...]
    charts: tuple[str, ...]
    ids: np.ndarray
    places: tuple[Int[np.ndarray, " _"], ...]
    presence: Bool[np.ndarray, "M N"]
    anchors: Int[np.ndarray, " A"]

    @property
    def num_linked(self) -> int:
        """How many samples two charts or more have."""
        return int(self.linked.sum())

    @property
    def linked(self) -> Bool[np.ndarray, " N"]:
        """The samples that two charts or more have."""
        return np.asarray(self.presence.sum(axis=0) > 1)


def survey(sources: Sequence[Source]) -> Survey:
    """Line up the samples of files by their ids, without anchors.

    Raises:
        ValueError: if ids are integers in one file and text in another, or one id is
            so long that it would enlarge all of them.
    """
    if not sources:
        raise ValueError("there are no files to merge; give one at least.")
    kinds = [(str(s.path), names.check_ids("its ids", s.ids)) for s in sources]
    names.check_one_kind(kinds)
    ids, places = union_of(sources)
    presence = np.zeros((len(sources), ids.size), bool)
    for m, place in enumerate(places):
        presence[m, place] = True
    return Survey(
        tuple(sources), _names(sources), ids, places, presence, np.zeros(0, int)
    )


def with_anchors(
    survey: Survey, spec: str, *, id_type: str | None, seed: int
) -> Survey:
    """The survey with anchors: drawn, or listed in a file.

    Raises:
        TooFewCommon: if they are to be drawn, and too few samples are in every file.
        ValueError: if the file of their ids cannot be had, or a chart lacks one.
    """
    return survey._replace(anchors=_anchors(survey, spec, id_type, seed))


def _drawn(seed: int, pool: Bool[np.ndarray, " N"], spec: str) -> np.ndarray:
    try:
        return choose_anchors(seed, pool, int(spec.partition(":")[2]))
    except ValueError as error:
        raise TooFewCommon(
            f"--anchors {spec}: {error} {pool.sum()} samples are in every file; "
            f"{_CONSENSUS}"
        ) from None


def describe(survey: Survey) -> str:
    """A table of the charts, their overlaps, and the anchors."""
    charts = range(len(survey.sources))
    both = _overlap(survey)
    head = ["chart", "file", "samples", "dimension", "numbers", *map(str, charts)]
    rows = [
        [
            f"{m}",
            last_name(survey.sources[m].path),
            f"{survey.sources[m].ids.size}",
            f"{survey.sources[m].rows.shape[1]}",
            str(survey.sources[m].rows.dtype),
            *map(str, both[m]),
        ]
        for m in charts
    ]
    pool = survey.presence.all(axis=0).sum()
    return (
        table([head, *rows], 1)
        + "\n(on the right: how many samples chart m has in common with chart 0, 1, ..)"
        f"\n{survey.ids.size} samples in all, {pool} of them in every chart; "
        f"{_joints(survey)}"
    )


def _joints(survey: Survey) -> str:
    """How many samples hold the charts together, anchors or linked ones."""
    if survey.anchors.size:
        return f"{survey.anchors.size} anchors"
    return f"{survey.num_linked} in two or more"


def warnings(survey: Survey) -> list[str]:
    """What may be wrong with what the files share, in sentences."""
    both, texts = _overlap(survey), names.near_ids(survey.ids)
    for m in range(len(both)):
        for other in range(m):
            smaller = min(both[m, m], both[other, other])
            if both[m, other] < _THIN * smaller:
                texts.append(
                    f"charts {other} and {m} share {both[m, other]} samples, "
                    f"{both[m, other] / smaller:.1%} of the smaller: little holds them "
                    "together."
                )
    narrow = min(source.rows.shape[1] for source in survey.sources)
    if 0 < survey.anchors.size < narrow:
        texts.append(
            f"{survey.anchors.size} anchors are fewer than the {narrow} dimensions of "
            "the narrowest chart: what the anchors do not tell apart is lost."
        )
    return texts


def say_survey(survey: Survey, say: Say) -> None:
    """Say what is in the files, warnings, and what was taken."""
    say(describe(survey))
    for warning in warnings(survey):
        say(f"warning: {warning}")
    say_notes(survey.sources, say)


def _names(sources: Sequence[Source]) -> tuple[str, ...]:
    """Short names of the files, or paths if two agree."""
    short = [chart_name(source.path, OPENERS) for source in sources]
    paths = [str(source.path) for source in sources]
    if len({source.path.resolve() for source in sources}) < len(paths):
        raise ValueError(
            f"a file is given twice: {paths}; a chart joins once. Leave one out."
        )
    return tuple(short if len(set(short)) == len(short) else paths)


def _overlap(survey: Survey) -> Int[np.ndarray, "M M"]:
    present = survey.presence.astype(np.float64)
    return np.rint(present @ present.T).astype(int)


def _anchors(
    survey: Survey, spec: str, id_type: str | None, seed: int
) -> Int[np.ndarray, " A"]:
    """The anchors that "shared:256" means, or the ids in a file."""
    pool = np.asarray(survey.presence.all(axis=0))
    kind, _, number = spec.partition(":")
    if kind != "shared" or not number.isdecimal():
        return _anchors_in(Path(spec), survey, id_type)
    if not pool.any():
        first = [(last_name(s.path), few(s.ids, 3)) for s in survey.sources]
        raise TooFewCommon(
            "no id is in every file, so that there is nothing to merge them by; they "
            f"begin with {first}. Name a sample alike in all"
            + (f"; {_CONSENSUS}" if len(first) > 2 else ".")
        )
    return _drawn(seed, pool, spec)


def _anchors_in(
    file: Path, survey: Survey, id_type: str | None
) -> Int[np.ndarray, " A"]:
    """The anchors that a file lists, all in every chart."""
    if not file.is_file():
        raise ValueError(
            "anchors are shared:NUMBER, of samples in every file, or a file of ids, "
            f"one a line (.txt) or an array (.npy); there is no file {str(file)!r}."
        )
    with faults_of(file):
        wanted = names.as_kind(names.plain_ids(read_ids(file)), id_type)
        of_files = ("the files", names.check_ids("the ids", survey.ids))
        names.check_one_kind(
            [of_files, (str(file), names.check_ids("its ids", wanted))]
        )
        if wanted.size == 0:
            raise ValueError("it is empty; expected the id of one anchor at least.")
        places = find(survey.ids, wanted)
        for m, source in enumerate(survey.sources):
            held = (places >= 0) & survey.presence[m, places]
            if not held.all():
                raise ValueError(missing_anchors(source.path, wanted[~held]))
    return places


def missing_anchors(path: Place, missing: np.ndarray) -> str:
    """The message about a chart's missing anchors, the first ten named."""
    return (
        f"{missing.size} anchors are not in {path}: {few(missing)}. Every "
        "chart must have every anchor."
    )
