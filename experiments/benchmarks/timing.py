"""Comparable timings: functions take turns on the same arrays."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

# A turn repeats its function until it has taken about so long, in seconds: a clock read
# around a millisecond measures the clock.
SHORTEST = 0.05
_LONG = 1.0  # a first call that takes so long tells enough of how often to call
_MOST = 1000  # calls a turn
_PAUSE = 0.005  # the threads of the one before stop spinning, before the next starts

Seconds = dict[str, list[float | None]]


class Subject(NamedTuple):
    """What is timed.

    Attributes:
        call: takes nothing, and returns its result, of JAX or not.
        warm: what is called first in its place, where `call` takes minutes.
    """

    call: Callable[[], Any]
    warm: Callable[[], Any] | None = None


def in_turns(
    subjects: Mapping[str, Subject], repeats: int, budget: float
) -> tuple[Seconds, dict[str, Any]]:
    """Seconds per call of every subject and round, and first results.

    In a round everyone has a turn, and every round another begins: what else the
    machine does then hits all alike, and the ratio of two of one round is fair. The
    first call, which compiles, is not timed, nor is a short one's first call of each
    turn: it would be timed with the memory caches full of what another has left. All
    are called once at least; one that would by its last turn exceed the budget is left
    out of a round (None).

    Args:
        subjects: by name.
        repeats: the number of rounds.
        budget: seconds that the turns of one subject may take in all.
    """
    values, calls, short = {}, {}, set()
    for name, subject in subjects.items():
        took, result = _clocked(subject.warm or subject.call, 1)
        if subject.warm is None:
            values[name] = result
            if took < _LONG:
                short.add(name)
                took, _ = _clocked(subject.call, 1)
            calls[name] = max(1, round(SHORTEST / max(took, SHORTEST / _MOST)))
    seconds: Seconds = {name: [] for name in subjects}
    spent, last = dict.fromkeys(subjects, 0.0), dict.fromkeys(subjects, 0.0)
    names = list(subjects)
    for number in range(repeats):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            if number and spent[name] + last[name] > budget:
                seconds[name].append(None)
                continue
            time.sleep(_PAUSE)
            count = calls.get(name, 1)
            if name in short:
                _clocked(subjects[name].call, 1)
            last[name], result = _clocked(subjects[name].call, count)
            spent[name] += last[name]
            seconds[name].append(last[name] / count)
            values.setdefault(name, result)
    return seconds, values


def _clocked(call: Callable[[], Any], count: int) -> tuple[float, Any]:
    """Seconds that so many calls take, and the result of the last."""
    result = None
    started = time.perf_counter()
    for _ in range(count):
        result = jax.block_until_ready(call())
    return time.perf_counter() - started, result


def known(seconds: list[float | None]) -> list[float]:
    """The timings that there are."""
    return [value for value in seconds if value is not None]


def ratios(
    seconds: Mapping[str, list[float | None]],
    over: str,
    under: str = "ours",
    scale: float = 1.0,
) -> list[float]:
    """How many times as long `over` took as `under`, round by round.

    Args:
        seconds: as from `in_turns`.
        over: a subject.
        under: another.
        scale: how many times its work would be the whole of what `under` did.
    """
    both = zip(seconds[over], seconds[under], strict=True)
    return [scale * a / b for a, b in both if a is not None and b is not None]


def middle(values: list[float]) -> float:
    """The median; NaN if there are none."""
    return float(np.median(values)) if values else float("nan")
