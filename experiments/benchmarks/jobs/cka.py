"""CKA beside its (N, N) forms: in features, streamed, in tiles."""

import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jatlas
from experiments.benchmarks import measure, memory, references
from experiments.benchmarks.measure import Bench, Row, Work

_RBF_LIMIT = 1e9  # bytes above the inputs
# The paper's code makes and centres both kernels anew for HSIC(K, L), HSIC(K, K) and
# HSIC(L, L). That is too long to wait for: the reference does it once.
_HSICS = 3


def spaces(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two spaces that have something in common, in NumPy."""
    rng = np.random.default_rng(seed)
    x, noise = (rng.standard_normal((n, d), np.float32) for _ in range(2))
    y = x @ rng.standard_normal((d, d), np.float32) / np.float32(d**0.5) + noise
    return x, y


def linear(bench: Bench) -> list[Row]:
    """Linear CKA at once, and a million rows in chunks."""
    n, d = (1000, 64) if bench.quick else (10_000, 256)
    bench.tell(f"N={n:,}", 0.0)
    at_once = _linear(bench, n, d)
    bench.tell("chunks", 0.7)
    return [at_once, _streamed(bench, d)]


def _work(n: int, d: int) -> Work:
    """X'X, Y'Y and X'Y; the spaces are read once."""
    return Work(2.0 * 3 * n * d**2, 4.0 * 2 * n * d)


def _linear(bench: Bench, n: int, d: int) -> Row:
    """Linear CKA beside kernels centered by products and by means.

    The paper's code does it by products. A product form takes minutes: it is warmed up
    on a part of the rows, and run once in the one of torch and NumPy that a bar is of.
    """
    arrays = spaces(n, d)
    x, y = (jnp.asarray(space) for space in arrays)
    few = tuple(space[: n // 10] for space in arrays)
    what = "(N, N) kernels, H K H of each once"
    formula = references.cka_by_products
    products = partial(measure.by_formula, bench, what, formula)
    first = next(iter(products(few, 1e-5)))
    warm, whole = (products(parts, 1e-5)[first] for parts in (few, arrays))
    means = measure.by_formula(
        bench, "(N, N) kernels, means taken off", references.cka_by_means, arrays, 1e-5
    )
    baselines = {
        first: whole._replace(warm=warm.call),
        f"{first}, by means": means[first],
    }
    work = _work(n, d)
    row = measure.compare(
        bench, "linear CKA", {"N": n, "D": d}, partial(jatlas.cka, x, y), baselines,
        work=work, sample_memory=True,
    )  # fmt: skip
    row["memory"]["temporary_bytes"] = memory.temporaries(jatlas.cka, x, y)
    speed = _HSICS * measure.ratio(row, first)
    what = f"times as fast as H K H in {first}, {_HSICS} times as in the paper's code"
    measure.add_bar(bench, row, what, speed, least=1000)
    difference = row["references"].get(first, {}).get("difference")
    measure.add_bar(bench, row, "difference from its value", difference, most=1e-5)
    return row


def _streamed(bench: Bench, d: int) -> Row:
    """`running.cka.add`, a chunk a turn.

    Each chunk is drawn from its key when it is due.
    """
    chunk, counts = (1000, (5, 10)) if bench.quick else (10_000, (10, 100))

    @jax.jit
    def drawn(number: Any) -> tuple[jax.Array, jax.Array]:
        keys = jax.random.split(jax.random.key(number, impl="rbg"))
        x, noise = (jax.random.normal(key, (chunk, d)) for key in keys)
        return x, x[:, ::-1] + noise

    x, y = drawn(0)
    sums = "sums of products, not centred, not to be debiased"
    baselines = measure.by_formula(bench, sums, references.moments, (x, y), None)
    empty = jatlas.running.cka.empty(d, d)
    work = _work(chunk, d)
    row = measure.compare(
        bench, "linear CKA, a chunk of rows", {"N": chunk, "D": d},
        partial(jatlas.running.cka.add, empty, x, y), baselines, work=work,
    )  # fmt: skip

    def streamed(count: int) -> tuple[float, jax.Array]:
        """Seconds that so many chunks took, their drawing left out; and CKA."""
        state, took = empty, 0.0
        for number in range(count):
            rows = jax.block_until_ready(drawn(number))
            began = time.perf_counter()
            state = jax.block_until_ready(jatlas.running.cka.add(state, *rows))
            took += time.perf_counter() - began
            del rows  # else the next would be drawn while they are held
        return took, jatlas.running.cka.value(state)

    row["memory"]["output_bytes"] = memory.size(empty)
    temporaries = memory.temporaries(jatlas.running.cka.add, empty, x, y)
    row["memory"]["temporary_bytes"] = temporaries
    streamed(1)  # what is compiled takes memory, too
    for count in counts:
        result: list[tuple[float, jax.Array]] = []
        taken = memory.peak(lambda: result.append(streamed(count)))  # noqa: B023
        took, value = result[0]
        n = count * chunk
        row["values"] |= {
            f"seconds a hundred thousand rows, N={n:,}": took * 1e5 / n,
            f"peak, N={n:,}, bytes": taken,
            f"CKA, N={n:,}": float(value),
        }
    return row


def rbf(bench: Bench) -> list[Row]:
    """RBF CKA: beside the (N, N) form, and at a larger N."""
    d = 32 if bench.quick else 128
    beside, alone = ((300,), 600) if bench.quick else ((3000, 10_000), 20_000)
    rows = []
    for number, n in enumerate(beside):
        bench.tell(f"N={n:,}", 0.3 * number)
        # At 10,000 the formulas take their time: once is enough of it.
        repeats = 1 if n > 5000 else None
        rows.append(_rbf(bench, n, d, repeats, references_too=True))
    bench.tell(f"N={alone:,}", 0.8)
    return [*rows, _rbf(bench, alone, d, 1, references_too=False)]


def _rbf(
    bench: Bench, n: int, d: int, repeats: int | None, *, references_too: bool
) -> Row:
    arrays = spaces(n, d)
    x, y = (jnp.asarray(space) for space in arrays)
    ours = partial(jatlas.cka, kernel="rbf")
    baselines = {}
    if references_too:
        what = "(N, N) kernels, the median of all distances, means taken off"
        formula = partial(measure.by_formula, bench, what, references.rbf_cka)
        few = formula(tuple(space[: n // 10] for space in arrays), 1e-5)
        baselines = {
            name: baseline._replace(warm=few[name].call)
            for name, baseline in formula(arrays, 1e-5).items()
        }
    # Distances of all pairs, by products; what is less is not a model but a method.
    work = Work(2.0 * 2 * n**2 * d, 4.0 * 2 * n * d)
    row = measure.compare(
        bench, "RBF CKA", {"N": n, "D": d}, partial(ours, x, y), baselines, work=work,
        repeats=repeats, sample_memory=True,
    )  # fmt: skip
    temporaries = memory.temporaries(ours, x, y)
    row["memory"]["temporary_bytes"] = temporaries
    for name in baselines:
        figure = f"times as fast as the formula in {name}"
        measure.add_bar(bench, row, figure, measure.ratio(row, name), least=2)
    if not references_too:
        what = "bytes above the inputs"
        measure.add_bar(bench, row, what, temporaries, most=_RBF_LIMIT)
    return row
