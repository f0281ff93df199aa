"""How time and memory grow: exponents, fitted over one axis."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jatlas
from experiments.benchmarks import measure, memory, timing
from experiments.benchmarks.jobs.cka import spaces
from experiments.benchmarks.jobs.merge import Case, data
from experiments.benchmarks.measure import Bench, Row
from experiments.benchmarks.timing import Subject

_WITHIN = 0.1  # of what is expected, the bar


class Fit(NamedTuple):
    """The line through the logarithms of times and sizes.

    Attributes:
        exponent: its slope.
        error: the standard error of the slope.
    """

    exponent: float
    error: float


class Made(NamedTuple):
    """A function of arrays, and arrays of a size."""

    function: Callable[..., Any]
    arrays: Sequence[Any]


class Sweep(NamedTuple):
    """A job at several sizes of one axis.

    Attributes:
        name: of the job.
        axis: which is varied.
        sizes: of that axis; where a fixed cost of the call no longer shows.
        fixed: the other axes.
        make: the axis's size and the other axes to what is timed.
        expected: the exponent that time is to have; None where other work shows too.
    """

    name: str
    axis: str
    sizes: Sequence[int]
    fixed: dict[str, int]
    make: Callable[..., Made]
    expected: float | None = None

    @property
    def quick(self) -> Sequence[int]:
        """Sizes that take no time."""
        return tuple(s if s <= 100 else s // 20 for s in self.sizes[:3])


def _merge(**axes: int) -> Made:
    case = Case(axes["M"], axes["N"], axes["D"], axes["A"])
    return Made(jatlas.merge, [jnp.asarray(array) for array in data(case)])


def _consensus(**axes: int) -> Made:
    case = Case(axes["M"], axes["N"], axes["D"], axes["D"])
    x, _, presence = data(case)
    fit = jax.jit(partial(jatlas.fit_consensus, num_features=axes["D"]))
    return Made(fit, [jnp.asarray(x), jnp.asarray(presence)])


def _spaces(measure_of: Callable[..., Any]) -> Callable[..., Made]:
    """Of a measure of two spaces."""

    def make(**axes: int) -> Made:
        return Made(measure_of, [*map(jnp.asarray, spaces(axes["N"], axes["D"]))])

    return make


def _classes(**axes: int) -> Made:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((axes["N"], axes["D"]), np.float32)
    labels = np.arange(axes["N"]) % axes["C"]
    by_class = partial(jatlas.separability, num_classes=axes["C"])
    return Made(by_class, [jnp.asarray(x), jnp.asarray(labels)])


def _probe(**axes: int) -> Made:
    x, _ = spaces(axes["N"], axes["D"])
    labels = jnp.arange(axes["N"]) % 10
    fit = partial(jatlas.fit_probe, jax.random.key(0), num_classes=10, max_epochs=3)
    return Made(fit, [jnp.asarray(x), labels])


_CKA = _spaces(jatlas.cka)
_RBF = _spaces(partial(jatlas.cka, kernel="rbf"))
_NEIGHBORS = _spaces(partial(jatlas.metrics.mutual_neighbors, k=10))
_RSA = _spaces(jatlas.metrics.rsa)
_MERGED = {"M": 4, "N": 10_000, "D": 128, "A": 128}


def _but(axes: dict[str, int], axis: str) -> dict[str, int]:
    return {name: size for name, size in axes.items() if name != axis}


SWEEPS = (
    Sweep(
        "merge", "N", (10_000, 30_000, 100_000, 300_000, 1_000_000),
        {"M": 4, "D": 64, "A": 64}, _merge, 1,
    ),
    Sweep("merge", "M", (1, 3, 10, 30, 100), _but(_MERGED, "M"), _merge, 1),
    Sweep(
        "merge", "A", (8, 25, 80, 250, 800), {"M": 4, "N": 4000, "D": 64}, _merge
    ),
    Sweep(
        "merge", "D", (8, 25, 80, 250, 800), {"M": 4, "N": 4000, "A": 64}, _merge
    ),
    Sweep(
        "consensus, fit", "N", (2000, 6000, 20_000, 60_000, 200_000),
        {"M": 4, "D": 64}, _consensus,
    ),
    Sweep(
        "linear CKA", "N", (2000, 6000, 20_000, 60_000, 200_000), {"D": 64}, _CKA, 1
    ),
    Sweep(
        "separability", "N", (2000, 6000, 20_000, 60_000, 200_000),
        {"C": 10, "D": 64}, _classes,
    ),
)  # fmt: skip
# What grows with the square or cube of an axis, or takes seconds at its least.
SHORTER = (
    Sweep("consensus, fit", "M", (2, 4, 8, 16), {"N": 4000, "D": 64}, _consensus),
    Sweep("consensus, fit", "D", (32, 64, 128, 256), {"M": 4, "N": 4000}, _consensus),
    Sweep("linear CKA", "D", (64, 128, 256, 512), {"N": 4000}, _CKA),
    Sweep("RBF CKA", "N", (500, 1000, 2000, 4000), {"D": 64}, _RBF),
    Sweep("mutual neighbours", "N", (1000, 2000, 4000, 8000), {"D": 64}, _NEIGHBORS),
    Sweep("RSA", "N", (500, 1000, 2000, 4000), {"D": 64}, _RSA),
    Sweep("separability", "C", (10, 40, 160), {"N": 20_000, "D": 64}, _classes),
    Sweep("probe", "N", (1000, 2000, 4000, 8000), {"D": 64}, _probe),
    Sweep("probe", "D", (64, 256, 1024), {"N": 2000}, _probe),
)


def rows(bench: Bench) -> list[Row]:
    """A row for each sweep; of a quick run the first two."""
    measured = []
    sweeps = SWEEPS[:2] if bench.quick else SWEEPS + SHORTER
    for number, sweep in enumerate(sweeps):
        bench.tell(f"{sweep.name}, {sweep.axis}", number / len(sweeps))
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
    made = [sweep.make(**sweep.fixed, **{sweep.axis: size}) for size in sizes]
    programs = [memory.program(one.function, *one.arrays) for one in made]
    calls = {
        str(size): Subject(partial(program, *one.arrays))
        for size, program, one in zip(sizes, programs, made, strict=True)
    }
    seconds, _ = timing.in_turns(calls, bench.repeats, bench.budget)
    least = [min(timing.known(seconds[str(size)])) for size in sizes]
    taken = [memory.temporaries_of(program) for program in programs]
    fitted = fit(sizes, least)
    row: Row = {
        "name": f"{sweep.name}, growth in {sweep.axis}",
        "size": sweep.fixed,
        "axis": sweep.axis,
        "sizes": list(sizes),
        "seconds": seconds,
        "exponent": fitted.exponent,
        "error": fitted.error,
        "temporary_bytes": taken,
        "memory_exponent": fit(sizes, taken).exponent if all(taken) else None,
        "bars": [],
    }
    if sweep.expected is not None:
        measure.add_bar(
            bench, row, f"exponent of time in {sweep.axis}", fitted.exponent,
            least=sweep.expected - _WITHIN, most=sweep.expected + _WITHIN,
        )  # fmt: skip
    return row
