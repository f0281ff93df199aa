"""What a run says in short, each thing once for all settings."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.measures.protocols import PROTOCOLS
from experiments.paper.sections import Section, Table
from experiments.runs.rows import Rows, of_setting, select

_MINUS = "\N{MINUS SIGN}"


class _Gap(NamedTuple):
    """A space's accuracy less another's, under one protocol."""

    title: str
    protocol: str
    space: str
    other: str


_TASK, _LEARNED = "original_abs_task", "original_abs_task_embedding"
_GAIN = _Gap("atlas less end-to-end", "oracle", "merged", "original_abs")
_CONTROL = _Gap("task known less end-to-end", "oracle", _TASK, "original_abs")
_BEYOND = _Gap("atlas less task known", "oracle", "merged", _TASK)
_BLIND = (
    _Gap("atlas less end-to-end", "blind", "merged", "original_abs"),
    _Gap("atlas less mean of embeddings", "blind", "merged", "mean_abs"),
    _Gap("atlas less concatenation", "blind", "merged", "concat_abs"),
)
GAPS = (
    _GAIN,
    _CONTROL,
    _BEYOND,
    _Gap("atlas less task learned", "oracle", "merged", _LEARNED),
    *_BLIND,
)


def section(rows: Rows, titles: Mapping[tuple[str, str], str]) -> Section:
    """The gaps in accuracy, a line a setting, and what they mean.

    Args:
        rows: of the results.
        titles: of each (scenario, setting) that has rows, in the order to be shown.
    """
    of = {key: of_setting(rows, key) for key in titles}
    gaps = {g: {key: _by_seed(of[key], g) for key in of} for g in GAPS}
    measured = [g for g in GAPS if any(gaps[g].values())]
    lines = [
        [f"{' '.join(key)}: {title}", *(_cell(gaps[g][key]) for g in measured)]
        for key, title in titles.items()
    ]
    head = ["setting", *(f"{g.title}, {g.protocol}" for g in measured)]
    means = {g: [float(np.mean(x)) for x in gaps[g].values() if x] for g in measured}
    # Either all seeds of a setting have a number or its mean is none.
    means = {g: [m for m in of_gap if np.isfinite(m)] for g, of_gap in means.items()}
    facts = [*_with_oracle(gaps, means), *_without(means), *noise(of), _LIMITS]
    words = "\n".join([_ABOUT, "", *(f"- {fact}" for fact in facts)])
    return Section("Summary", [Table(head, lines)], words)


_ABOUT = (
    "Gaps in probe accuracy, in points, mean ± standard deviation over seeds. With an "
    "oracle (`oracle`), the charts that a sample belongs to are known; without one "
    '(`blind`), every chart embeds every sample. "Task known" and "task learned" '
    "are the end-to-end space and, beside it, the task."
)
_LIMITS = (
    "The tables do not show other data, encoders or probes; and a high CKA is no "
    "promise of accuracy."
)


def _by_seed(rows: Rows, gap: _Gap) -> list[float]:
    """The gap in points, seed by seed."""
    ours = select(rows, gap.protocol, gap.space, "accuracy")
    theirs = select(rows, gap.protocol, gap.other, "accuracy")
    return [100 * (ours[seed] - theirs[seed]) for seed in ours if seed in theirs]


def _cell(gaps: Sequence[float]) -> str:
    """A gap with its sign; "n/a" where one side is no number."""
    if not gaps or np.isnan(np.mean(gaps)):
        return "n/a"
    mean = f"{np.mean(gaps):+z.1f}".replace("-", _MINUS)
    return f"{mean} ± {np.std(gaps, ddof=1):.1f}" if len(gaps) > 1 else mean


_Means = Mapping[_Gap, Sequence[float]]


def _with_oracle(
    gaps: Mapping[_Gap, Mapping[tuple[str, str], Sequence[float]]], means: _Means
) -> list[str]:
    """What the atlas gains, and what knowing the task gains."""
    facts = []
    if means.get(_GAIN):
        facts.append(f"With an oracle, the atlas is {_count(means[_GAIN])} end-to-end.")
    if means.get(_CONTROL):
        gained = [k for k, gap in gaps[_GAIN].items() if gap and np.mean(gap) > 0]
        known = [gaps[_CONTROL][k] for k in gained]
        alone = bool(known) and all(gap and np.mean(gap) > 0 for gap in known)
        facts.append(
            ("The gain is not from merging alone. " if alone else "")
            + "Given only the task, without merging, end-to-end is "
            f"{_count(means[_CONTROL])} where it was."
        )
    if means.get(_BEYOND):
        facts.append(
            f"The atlas is {_count(means[_BEYOND])} end-to-end with the task known."
        )
    return facts


def _without(means: _Means) -> list[str]:
    """How the atlas compares without an oracle."""
    others = ("end-to-end", "the mean of the embeddings", "their concatenation")
    counts = [
        f"{_count(means[gap])} {other}"
        for gap, other in zip(_BLIND, others, strict=True)
        if means.get(gap)
    ]
    if not counts:
        return []
    *first, last = counts
    listed = f"{', '.join(first)} and {last}" if first else last
    return [f"Without an oracle, the atlas is {listed}."]


def _count(means: Sequence[float]) -> str:
    """In how many settings it is above."""
    above = sum(mean > 0 for mean in means)
    if len(means) == 1:
        return "above" if above else "not above"
    return f"in {above} of {len(means)} settings above"


def noise(of: Mapping[tuple[str, str], Rows]) -> list[str]:
    """The standard errors of an accuracy of one seed."""
    errors, counts = [], []
    for rows in of.values():
        scored = select(rows, PROTOCOLS[0], "original_abs", "scored_rows")
        accuracy = select(rows, PROTOCOLS[0], "original_abs", "accuracy")
        known = [accuracy[seed] for seed in scored if seed in accuracy]
        share = float(np.mean(known)) if known else np.nan
        if np.isfinite(share):
            counts.append(next(iter(scored.values())))
            errors.append(100 * np.sqrt(share * (1 - share) / counts[-1]))
    if not errors:
        return []
    return [
        f"An accuracy of one seed is on {_span(counts, 0)} rows, its standard error "
        f"{_span(errors, 1)} points: gaps much smaller than that are chance."
    ]


def _span(values: Sequence[float], digits: int) -> str:
    """The least and the largest; one where they print alike."""
    low, high = (f"{v:.{digits}f}" for v in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"
