"""The paper's claims, checked against a run.

They are what held in every published cell.
"""

import re
from typing import NamedTuple

import numpy as np

from experiments.measures.protocols import PROTOCOLS
from experiments.paper.sections import Section, Table
from experiments.runs.rows import Rows, of_setting, select, settings_of


class Fact(NamedTuple):
    """One statement about one cell.

    Attributes:
        scenario, setting, protocol: the cell.
        statement: in words.
        more: what is stated to be the larger, the mean over seeds.
        less: what is stated to be the smaller.
        noise: by how much `less` may exceed `more`, because that would be chance.
        holds: whether it does; None if one of the two is no number.
    """

    scenario: str
    setting: str
    protocol: str
    statement: str
    more: float
    less: float
    noise: float
    holds: bool | None


class _Claim(NamedTuple):
    statement: str
    more: tuple[str, str]  # space and metric
    less: tuple[str, str]
    up_to_chance: bool = False


_APART = (
    _Claim(
        "separability: atlas above naive merge",
        ("merged", "separability"),
        ("jumble_abs", "separability"),
    ),
    _Claim(
        "separability: atlas above end-to-end",
        ("merged", "separability"),
        ("original_abs", "separability"),
    ),
)
_PROJECTION = _Claim(
    "accuracy: end-to-end relative not above end-to-end, but for chance",
    ("original_abs", "accuracy"),
    ("original_rel", "accuracy"),
    up_to_chance=True,
)
_ABOVE_ORIGINAL = _Claim(
    "accuracy: atlas above end-to-end",
    ("merged", "accuracy"),
    ("original_abs", "accuracy"),
)
CLAIMS: dict[str, tuple[_Claim, ...]] = {
    "A": (
        _Claim(
            "CKA of the atlas with end-to-end: shared classes above novel ones",
            ("merged", "cka_shared"),
            ("merged", "cka_novel"),
        ),
        *_APART,
        _ABOVE_ORIGINAL,
        _Claim(
            "accuracy: atlas above naive merge",
            ("merged", "accuracy"),
            ("jumble_abs", "accuracy"),
        ),
        _PROJECTION,
    ),
    "B": (*_APART, _PROJECTION),
    "C": (
        *_APART,
        _ABOVE_ORIGINAL,
        _PROJECTION,
        _Claim(
            "accuracy: end-to-end with a learned task embedding above atlas",
            ("original_abs_task_embedding", "accuracy"),
            ("merged", "accuracy"),
        ),
    ),
}


def check(rows: Rows) -> list[Fact]:
    """Every direction fact, cell by cell, in the order of the rows.

    A fact is left out where the run did not measure both sides. In A the paper states
    them all; those of B and C held in all cells that it published of these.

    Args:
        rows: of the results, of any number of seeds; a figure is their mean.
    """
    return [
        fact
        for key in settings_of(rows)
        for protocol in PROTOCOLS
        for fact in [
            *_of_cell(key, protocol, rows),
            *_fewer_shared(key, protocol, rows),
        ]
    ]


def section(facts: list[Fact]) -> Section | None:
    """The number of claims that hold, and their table, if any."""
    if not facts:
        return None
    held = {
        protocol: [f.holds for f in facts if f.protocol == protocol]
        for protocol in PROTOCOLS
    }
    counts = ", ".join(
        f"under `{protocol}` {sum(map(bool, holds))} of {len(holds)} hold"
        for protocol, holds in held.items()
    )
    notes = (
        "What held in all cells that the paper published, under its own protocol, "
        f"`oracle`. Here {counts}."
    )
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for fact in facts:
        key = f"{fact.scenario} {fact.setting}", fact.statement
        cells.setdefault(key, {})[fact.protocol] = _in_words(fact)
    lines = [
        [*key, *(cell.get(protocol, "n/a") for protocol in PROTOCOLS)]
        for key, cell in cells.items()
    ]
    table = Table(["setting", "fact", *PROTOCOLS], lines)
    return Section("Direction facts", [table], notes)


def _of_cell(setting: tuple[str, str], protocol: str, rows: Rows) -> list[Fact]:
    rows = of_setting(rows, setting)
    facts = []
    for claim in CLAIMS.get(setting[0], ()):
        more, less = (_mean(rows, protocol, x) for x in (claim.more, claim.less))
        if more is not None and less is not None:
            noise = _chance(rows, protocol, more) if claim.up_to_chance else 0.0
            facts.append(_fact(setting, protocol, claim.statement, more, less, noise))
    return facts


def _fewer_shared(setting: tuple[str, str], protocol: str, rows: Rows) -> list[Fact]:
    """In A, CKA is lower where fewer classes are shared.

    As many classes are novel. With fewer shared classes there are more charts, too.
    """
    sizes_here = _sizes(setting)
    others = {key: _sizes(key) for key in settings_of(rows)}
    more_shared = {
        sizes[0]: key
        for key, sizes in others.items()
        if sizes_here
        and sizes
        and sizes[0] > sizes_here[0]
        and sizes[1] == sizes_here[1]
    }
    if not more_shared:
        return []
    other = more_shared[min(more_shared)]
    more, less = (
        _mean(of_setting(rows, key), protocol, ("merged", "cka"))
        for key in (other, setting)
    )
    if more is None or less is None:
        return []
    statement = f"CKA of the atlas with end-to-end: below that of {other[1]}"
    return [_fact(setting, protocol, statement, more, less, 0.0)]


def _sizes(setting: tuple[str, str]) -> tuple[int, int] | None:
    """The numbers of shared classes, and of novel ones a task."""
    match = re.fullmatch(r"S(\d+)_N(\d+)", setting[1])
    return (int(match[1]), int(match[2])) if match and setting[0] == "A" else None


def _fact(
    setting: tuple[str, str],
    protocol: str,
    statement: str,
    more: float,
    less: float,
    noise: float,
) -> Fact:
    known = bool(np.isfinite([more, less]).all())
    # Without noise both being equal is not enough; with it, it is.
    holds = (less <= more + noise if noise else less < more) if known else None
    return Fact(*setting, protocol, statement, more, less, noise, holds)


def _mean(rows: Rows, protocol: str, of: tuple[str, str]) -> float | None:
    """The mean over seeds; None if it was not measured."""
    values = list(select(rows, protocol, *of).values())
    return float(np.mean(values)) if values else None


def _chance(rows: Rows, protocol: str, accuracy: float) -> float:
    """Two standard errors of the difference of two such accuracies.

    In A each seed draws which rows of the test split are scored. Else all of them are,
    by every seed: more seeds are then no more rows.
    """
    scored = list(select(rows, protocol, "original_abs", "scored_rows").values())
    drawn = any(row["scenario"] == "A" for row in rows)
    count = sum(scored) if drawn else max(scored, default=0)
    return 2 * float(np.sqrt(2 * accuracy * (1 - accuracy) / count)) if count else 0.0


def _in_words(fact: Fact) -> str:
    verdict = {True: "holds", False: "**does not hold**", None: "not known"}[fact.holds]
    chance = f" ± {fact.noise:.3f}" if fact.noise else ""
    return f"{verdict}: {fact.more:.3f} against {fact.less:.3f}{chance}"
