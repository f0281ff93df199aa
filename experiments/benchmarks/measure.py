"""One job measured beside its references and the machine's rates."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.benchmarks import machine, memory, timing
from experiments.benchmarks.references import INSTALL
from experiments.benchmarks.timing import Subject

Row = dict[str, Any]


class Disagreement(ValueError):
    """Ours and a reference do not compute the same."""


@dataclass(frozen=True)
class Bench:
    """What every job is given.

    Attributes:
        quick: small sizes, on which no bar is judged.
        repeats: rounds of a comparison.
        torch: the module, or None where it is not installed.
        alone: no reference has a turn, and no bar is judged.
        tell: called with what is being measured, and the share of the job done.
    """

    quick: bool
    repeats: int
    torch: ModuleType | None
    alone: bool = False
    tell: Callable[[str, float], None] = lambda what, share: None

    @property
    def budget(self) -> float:
        """Seconds that the turns of one subject may take."""
        return 0.5 if self.quick else 8.0

    def in_torch(self, function: Callable, *arrays: Any) -> Callable[[], Any]:
        """The call of a reference on tensors, without what only gradients need."""
        assert self.torch is not None
        torch = self.torch
        tensors = [self.tensor(array) for array in arrays]

        def call() -> Any:
            with torch.inference_mode():
                value = function(torch, *tensors)
            self.wait()
            return value

        return call

    @property
    def on_gpu(self) -> bool:
        """Whether JAX computes on a GPU that torch can use as well."""
        assert self.torch is not None
        return jax.default_backend() == "gpu" and self.torch.cuda.is_available()

    def tensor(self, array: Any) -> Any:
        """The array as a tensor, on JAX's kind of device."""
        assert self.torch is not None
        if isinstance(array, list):
            return [self.tensor(part) for part in array]
        tensor = self.torch.tensor(np.asarray(array))
        return tensor.cuda() if self.on_gpu else tensor

    def wait(self) -> None:
        """Until torch has done what it was asked to."""
        if self.torch is not None and self.on_gpu:
            self.torch.cuda.synchronize()


class Reference(NamedTuple):
    """What ours is compared with.

    Attributes:
        what: what it does, in words.
        call: takes nothing, and returns its result.
        tolerance: its result and ours may differ by so much anywhere; None for one that
            computes something else.
        warm: as in `timing.Subject`.
        scale: ours does so many times the work that the reference is timed on. Its
            result is then the leading part of ours.
    """

    what: str
    call: Callable[[], Any]
    tolerance: float | None = None
    warm: Callable[[], Any] | None = None
    scale: float = 1.0


class Work(NamedTuple):
    """A model of what must be done: multiplications and additions, bytes moved."""

    flops: float
    bytes: float


def by_formula(
    bench: Bench,
    what: str,
    function: Callable,
    arrays: tuple[Any, ...],
    tolerance: float | None,
    **more: Any,
) -> dict[str, Reference]:
    """A formula of `references` in torch, if installed, and in NumPy."""
    baselines = {}
    if bench.torch is not None:
        call = bench.in_torch(function, *arrays)
        baselines["torch"] = Reference(f"{what}, torch", call, tolerance, **more)

    def in_numpy() -> Any:
        with np.errstate(all="ignore"):
            return function(np, *arrays)

    baselines["numpy"] = Reference(f"{what}, NumPy", in_numpy, tolerance, **more)
    return baselines


def compare(
    bench: Bench,
    name: str,
    size: Mapping[str, int],
    ours: Callable[[], Any],
    baselines: Mapping[str, Reference],
    *,
    work: Work | None = None,
    repeats: int | None = None,
    sample_memory: bool = False,
) -> Row:
    """The row of a job: all timings and their descriptions.

    Args:
        bench: what every job is given.
        name: what is compared, in words.
        size: its axes.
        ours: the call of jatlas.
        baselines: the references, by short names.
        work: a model of the job, to set beside the rates of the machine.
        repeats: other than the bench's.
        sample_memory: whether the memory of a call of ours is looked at.

    Raises:
        Disagreement: if a result differs from ours by more than its tolerance.
    """
    if bench.alone:
        baselines = {}
    subjects = {
        "ours": Subject(ours),
        **{key: Subject(one.call, one.warm) for key, one in baselines.items()},
        **machine.rates(),
    }
    rounds = bench.repeats if repeats is None else repeats
    seconds, values = timing.in_turns(subjects, rounds, bench.budget)
    return {
        "name": name,
        "size": dict(size),
        "seconds": seconds,
        "references": _checked(f"{name} {dict(size)}", values, baselines),
        "work": None if work is None else work._asdict(),
        "machine_work": machine.work(),
        "memory": {"peak_bytes": memory.peak(ours) if sample_memory else None},
        "values": {},
        "bars": [],
        "missing": {} if bench.torch or bench.alone else {"torch": INSTALL},
    }


def _checked(
    job: str, values: Mapping[str, Any], baselines: Mapping[str, Reference]
) -> dict[str, Any]:
    """The references' descriptions, and their differences from ours."""
    described = {}
    for key, one in baselines.items():
        error = None
        if one.tolerance is not None:
            error = _difference(values["ours"], values[key])
            if not error <= one.tolerance:
                raise Disagreement(
                    f"{job}: ours and {one.what} differ by {error:.2g}, more than "
                    f"{one.tolerance:.2g}. One of the two is wrong."
                )
        described[key] = {
            "what": one.what,
            "scale": one.scale,
            "difference": error,
            "tolerance": one.tolerance,
        }
    return described


def add_bar(
    bench: Bench,
    row: Row,
    what: str,
    value: float | None,
    *,
    least: float | None = None,
    most: float | None = None,
) -> None:
    """Compare a figure of the row with a bar.

    On the small sizes of --quick none is judged, nor where ours is alone.

    Args:
        bench: what every job is given.
        row: whose figure it is.
        what: the figure, in words.
        value: what it is; None or NaN if it was not measured, which meets no bar.
        least: the bar, if more is better.
        most: the bar, if less is better.
    """
    met = None
    if not (bench.quick or bench.alone):
        measured = value is not None
        met = measured and (least is None or value >= least)
        met = bool(met and (most is None or value <= most))
    row["bars"].append(
        {"what": what, "value": value, "least": least, "most": most, "met": met}
    )


def ratio(row: Row, name: str, under: str = "ours") -> float:
    """The median of a reference's times to ours; NaN without it."""
    if name not in row["seconds"]:
        return math.nan
    scale = row["references"].get(name, {}).get("scale", 1.0)
    return timing.middle(timing.ratios(row["seconds"], name, under, scale))


def barred(row: Row) -> str:
    """The bar's reference: the faster of torch and NumPy, if there."""
    names = [name for name in ("torch", "numpy") if name in row["references"]]
    return min(names, key=lambda name: ratio(row, name), default="numpy")


def _difference(ours: Any, theirs: Any) -> float:
    """The largest difference; NaN if only one is NaN.

    A reference may give the leading part of ours.
    """
    theirs = theirs.cpu() if hasattr(theirs, "cpu") else theirs
    theirs = np.asarray(theirs, np.float64)
    part = tuple(slice(length) for length in theirs.shape)
    ours = np.asarray(ours, np.float64)[part]
    if ours.shape != theirs.shape or (np.isnan(ours) != np.isnan(theirs)).any():
        return float("nan")
    return float(np.nanmax(np.abs(ours - theirs), initial=0))
