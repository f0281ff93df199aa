"""How time grows: exponents, fitted over two decades of one axis."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

import jatlas
from experiments.benchmarks import measure, timing
from experiments.benchmarks.jobs.cka import spaces
from experiments.benchmarks.jobs.merge import Case, data
from experiments.benchmarks.measure import Bench, Row
from experiments.benchmarks.timing import Subject

_WITHIN = 0.1  # of 1, the bar


class Fit(NamedTuple):
    """The line through the logarithms of times and sizes.

    Attributes:
        exponent: its slope.
        error: the standard error of the slope.
    """

    exponent: float
    error: float


class Sweep(NamedTuple):
    """A job at several sizes of one axis.

    Attributes:
        name: of the job.
        axis: which is varied.
        sizes: of that axis; where a fixed cost of the call no longer shows.
        quick: the sizes of a quick run.
        fixed: the other axes.
        make: the axis's size and the other axes to the call that is timed.
        barred: whether the exponent is to be 1.
    """

    name: str
    axis: str
    sizes: Sequence[int]
    quick: Sequence[int]
    fixed: dict[str, int]
    make: Callable[..., Callable[[], Any]]
    barred: bool = True


def _merge(**axes: int) -> Callable[[], Any]:
    case = Case(axes["M"], axes["N"], axes["D"], axes["A"])
    return partial(jatlas.merge, *(jnp.asarray(array) for array in data(case)))


def _cka(**axes: int) -> Callable[[], Any]:
    return partial(jatlas.cka, *map(jnp.asarray, spaces(axes["N"], axes["D"])))


SWEEPS = (
    Sweep(
        "merge", "N", (10_000, 30_000, 100_000, 300_000, 1_000_000), (500, 1000, 2000),
        {"M": 4, "D": 64, "A": 64}, _merge,
    ),
    Sweep(
        "merge", "M", (1, 3, 10, 30, 100), (1, 2, 4),
        {"N": 10_000, "D": 128, "A": 128}, _merge,
    ),
    Sweep(
        "merge", "A", (8, 25, 80, 250, 800), (8, 16, 32),
        {"M": 4, "N": 4000, "D": 64}, _merge, barred=False,
    ),
    Sweep(
        "linear CKA", "N", (2000, 6000, 20_000, 60_000, 200_000), (500, 1000, 2000),
        {"D": 64}, _cka,
    ),
)  # fmt: skip


def rows(bench: Bench) -> list[Row]:
    """A row for each sweep."""
    measured = []
    for number, sweep in enumerate(SWEEPS):
        bench.tell(f"{sweep.name}, {sweep.axis}", number / len(SWEEPS))
        measured.append(_swept(bench, sweep))
    return measured


def fit(sizes: Sequence[float], seconds: Sequence[float]) -> Fit:
    """Least squares on the logarithms: seconds grow as size to the exponent.

    Raises:
        ValueError: if there are fewer than three points, which have no error.
    """
    if len(sizes) < 3:
        raise ValueError(
            f"an exponent needs three sizes or more, got {len(sizes)}: through two "
            "points goes a line whatever they are."
        )
    x, y = np.log(sizes), np.log(seconds)
    x, y = x - x.mean(), y - y.mean()
    slope = (x @ y) / (x @ x)
    variance = np.sum((y - slope * x) ** 2) / (len(x) - 2)
    return Fit(float(slope), math.sqrt(variance / (x @ x)))


def _swept(bench: Bench, sweep: Sweep) -> Row:
    """All sizes in turns, so that other load affects all alike.

    The least time of each size is fitted: what adds to it is not the job's.
    """
    sizes = sweep.quick if bench.quick else sweep.sizes
    calls = {
        str(size): Subject(sweep.make(**sweep.fixed, **{sweep.axis: size}))
        for size in sizes
    }
    seconds, _ = timing.in_turns(calls, bench.repeats, bench.budget)
    least = [min(timing.known(seconds[str(size)])) for size in sizes]
    fitted = fit(sizes, least)
    row: Row = {
        "name": f"{sweep.name}, growth in {sweep.axis}",
        "size": sweep.fixed,
        "axis": sweep.axis,
        "sizes": list(sizes),
        "seconds": seconds,
        "exponent": fitted.exponent,
        "error": fitted.error,
        "bars": [],
    }
    if sweep.barred:
        measure.add_bar(
            bench, row, f"exponent of time in {sweep.axis}", fitted.exponent,
            least=1 - _WITHIN, most=1 + _WITHIN,
        )  # fmt: skip
    return row
