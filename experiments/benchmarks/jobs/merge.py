"""Merge, beside a plain matrix product and the paper's formula."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jatlas
from experiments.benchmarks import measure, memory, references, timing
from experiments.benchmarks.measure import Bench, Reference, Row, Work

_PRESENT = 0.7  # share of the samples that a chart has
_ROWS = 1000  # on which errors are taken against float64


class Case(NamedTuple):
    """What is merged: M charts of D features, in the paper's letters."""

    m: int
    n: int
    d: int
    a: int

    @property
    def size(self) -> dict[str, int]:
        """By the names of the axes."""
        return {"M": self.m, "N": self.n, "D": self.d, "A": self.a}

    @property
    def work(self) -> Work:
        """A model of the work: a product, one read, one write.

        The product is of (N, M D) and (M D, A); all is read once, the atlas written.
        """
        inputs = self.m * self.d * (self.n + self.a)
        product = 2.0 * self.n * self.m * self.d * self.a
        return Work(product, 4.0 * (inputs + self.n * self.a) + self.m * self.n)


def rows(bench: Bench) -> list[Row]:
    """The rows of this job."""
    cases = [Case(8, n, 128, 256) for n in (10_000, 50_000)]
    if bench.quick:
        cases = [Case(4, n, 64, 64) for n in (500, 1000)]
    measured = []
    for number, case in enumerate(cases):
        bench.tell(f"N={case.n:,}", number / 5)
        measured.append(_stacked(bench, case))
    for number, part in enumerate((_list, _streamed, _narrow)):
        bench.tell(part.__name__.strip("_"), (2 + number) / 5)
        measured.append(part(bench, cases[-1] if part is _streamed else cases[0]))
    return measured


def data(case: Case, dims: list[int] | None = None) -> tuple[Any, Any, np.ndarray]:
    """Random embeddings and anchors in NumPy, and presence.

    No sample is without a chart. Stacked, or lists if each chart has a dimension of its
    own.
    """
    rng = np.random.default_rng(0)
    presence = rng.random((case.m, case.n)) < _PRESENT
    presence[0] |= ~presence.any(axis=0)

    def drawn(count: int) -> Any:
        if dims is None:
            return rng.standard_normal((case.m, count, case.d), np.float32)
        return [rng.standard_normal((count, d), np.float32) for d in dims]

    return drawn(case.n), drawn(case.a), presence


def _references(
    bench: Bench, case: Case, arrays: tuple[Any, Any, np.ndarray]
) -> dict[str, Reference]:
    """The paper's formula, and a matrix product of as many flops."""
    left = jnp.ones((case.n, case.m * case.d))
    right = jnp.ones((case.m * case.d, case.a))
    product = jax.jit(partial(jnp.dot, precision="highest"))
    formula = "normalised products stacked to (M, N, A), masked mean"
    baselines = measure.by_formula(bench, formula, references.merge, arrays, 1e-5)
    what = "jnp.dot, (N, M D) by (M D, A)"
    return {"dot": Reference(what, lambda: product(left, right)), **baselines}


def _stacked(bench: Bench, case: Case) -> Row:
    """M charts of one dimension: the three bars."""
    arrays = data(case)
    x, a, p = (jnp.asarray(array) for array in arrays)
    baselines = _references(bench, case, arrays)
    ours = partial(jatlas.merge, x, a, p)
    row = measure.compare(
        bench, "merge", case.size, ours, baselines, work=case.work, sample_memory=True
    )
    temporaries = memory.temporaries(jatlas.merge, x, a, p)
    row["memory"]["temporary_bytes"] = temporaries
    row["memory"]["output_bytes"] = 4 * case.n * case.a
    whole = 4 * case.m * case.n * case.a
    share = None if temporaries is None else temporaries / whole
    rate = measure.ratio(row, "dot")
    measure.add_bar(bench, row, "share of jnp.dot's rate", rate, least=0.75)
    named = measure.barred(row)
    speed = measure.ratio(row, named)
    what = f"times as fast as the formula in {named}"
    measure.add_bar(bench, row, what, speed, least=2)
    what = "temporaries as a share of the (M, N, A) array"
    measure.add_bar(bench, row, what, share, most=0.15)
    return row


def _list(bench: Bench, case: Case) -> Row:
    """M charts of different dimensions, D on average."""
    spread = np.linspace(0.5, 1.5, case.m) * case.d
    dims = [int(d) for d in spread.round()]
    arrays = data(case, dims)
    x, a = ([jnp.asarray(chart) for chart in charts] for charts in arrays[:2])
    p = jnp.asarray(arrays[2])
    baselines = _references(bench, case, arrays)
    name = f"merge, D from {dims[0]} to {dims[-1]}"
    ours = partial(jatlas.merge, x, a, p)
    row = measure.compare(bench, name, case.size, ours, baselines, work=case.work)
    row["memory"]["temporary_bytes"] = memory.temporaries(jatlas.merge, x, a, p)
    return row


def _streamed(bench: Bench, case: Case) -> Row:
    """Embeddings in a mapped file, a batch of samples at a time.

    Its memory above the atlas is taken for half the samples too: it should not grow.
    """
    arrays = data(case)
    a, p = jnp.asarray(arrays[1]), arrays[2]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "embeddings.npy"
        np.save(file, arrays[0])
        mapped = np.load(file, mmap_mode="r")
        in_memory = jnp.asarray(arrays[0])
        whole = partial(jatlas.merge, in_memory, a, jnp.asarray(p))
        batch = case.n // 10

        def streamed(count: int = case.n) -> Any:
            kept = np.ascontiguousarray(p[:, :count])
            return jatlas.merge(mapped[:, :count], a, kept, batch_size=batch)

        baselines = {"whole": Reference("ours, in memory and whole", whole, 1e-5)}
        row = measure.compare(
            bench, "merge, from a mapped file", case.size | {"batch": batch}, streamed,
            baselines, work=case.work, sample_memory=True,
        )  # fmt: skip
        for count in (case.n // 2, case.n):
            taken = memory.peak(partial(streamed, count))
            above = None if taken is None else taken - 4 * count * case.a
            row["values"][f"peak above the atlas, N={count:,}, bytes"] = above
    return row


def _narrow(bench: Bench, case: Case) -> Row:
    """Embeddings in bfloat16: the time beside float32's, the errors against float64."""
    arrays = data(case)
    wide = [jnp.asarray(array) for array in arrays]
    narrow = [array.astype(jnp.bfloat16) for array in wide[:2]] + wide[2:]
    ours, single = partial(jatlas.merge, *narrow), partial(jatlas.merge, *wide)
    baselines = {"float32": Reference("ours, in float32", single, 2e-2)}
    row = measure.compare(
        bench, "merge, bfloat16", case.size, ours, baselines, work=case.work
    )
    some = slice(0, _ROWS)
    exact, rounded = (
        _in_float64(x[:, some], a, wide[2][:, some]) for x, a, _ in (wide, narrow)
    )
    merged = np.asarray(ours()[some], np.float64)
    error = np.abs(merged - exact).max()
    single_error = np.abs(np.asarray(single()[some], np.float64) - exact).max()
    row["values"] |= {
        "largest error against float64": float(error),
        "of it not from rounding the inputs": float(np.abs(merged - rounded).max()),
        "largest error in float32": float(single_error),
        "times float32's": float(error / single_error),
    }
    return row


def _in_float64(x: jax.Array, a: jax.Array, p: jax.Array) -> np.ndarray:
    """The formula on what the arrays hold, in float64."""
    x, a = (np.asarray(array.astype(jnp.float32), np.float64) for array in (x, a))
    return references.merge(np, x, a, np.asarray(p))


def rate(row: Row) -> float:
    """Samples a second of a row."""
    return row["size"]["N"] / timing.middle(timing.known(row["seconds"]["ours"]))
