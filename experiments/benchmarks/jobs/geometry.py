"""Separability, self-similarity and neighbours, beside loops and (N, N) arrays."""

from functools import partial

import jax.numpy as jnp
import numpy as np

import jatlas
from experiments.benchmarks import measure, memory, references
from experiments.benchmarks.jobs.cka import spaces
from experiments.benchmarks.measure import Bench, Row, Work

_NEIGHBORS = 10
# The reference loops over all ordered pairs; this share of them is timed.
_SHARE = 10


def rows(bench: Bench) -> list[Row]:
    """The rows of this job."""
    measured = []
    for number, part in enumerate((_separability, _self_similarity, _neighbors)):
        bench.tell(part.__name__.strip("_").replace("_", "-"), number / 3)
        measured.append(part(bench))
    return measured


def _separability(bench: Bench) -> Row:
    """Beside the paper's double loop over classes, a part of it."""
    c, n, d = (20, 1000, 32) if bench.quick else (200, 10_000, 128)
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(n) % c)
    means = rng.standard_normal((c, d), np.float32)
    space = means[labels] + rng.standard_normal((n, d), np.float32)
    first = c // _SHARE
    formula = partial(references.separability, num_classes=c, first=first)
    what = f"loops over ordered pairs, {first * (c - 1):,} of {c * (c - 1):,} timed"
    baselines = measure.by_formula(
        bench, what, formula, (space, labels), 1e-4, scale=c / first
    )
    ours = partial(
        jatlas.separability, jnp.asarray(space), jnp.asarray(labels), num_classes=c
    )
    # Sums of the rows by class, as a product with one-hot labels; then all pairs.
    work = Work(2.0 * n * c * d + 3.0 * c**2 * d, 4.0 * (n * d + c**2))
    row = measure.compare(
        bench, "separability", {"C": c, "N": n, "D": d}, ours, baselines, work=work
    )
    named = measure.barred(row)
    what = f"times as fast as the double loop in {named}"
    measure.add_bar(bench, row, what, measure.ratio(row, named), least=50)
    return row


def _self_similarity(bench: Bench) -> Row:
    """Beside two (N, N) arrays of cosines."""
    n, d = (500, 32) if bench.quick else (10_000, 128)
    arrays = spaces(n, d)
    x, y = (jnp.asarray(space) for space in arrays)
    what = "(N, N) cosines, rows correlated"
    baselines = measure.by_formula(
        bench, what, references.self_similarity, arrays, 1e-5
    )
    ours = partial(jatlas.metrics.self_similarity_correlation, x, y)
    # Three moments of (D, D), and each applied to all rows; no (N, N) product.
    work = Work(2.0 * 6 * n * d**2, 4.0 * 2 * n * d)
    name = "self-similarity correlation"
    row = measure.compare(bench, name, {"N": n, "D": d}, ours, baselines, work=work)
    row["memory"]["temporary_bytes"] = memory.temporaries(
        jatlas.metrics.self_similarity_correlation, x, y
    )
    return row


def _neighbors(bench: Bench) -> Row:
    """Mutual neighbors, beside (N, N) inner products and top k."""
    n, d = (500, 32) if bench.quick else (10_000, 128)
    arrays = spaces(n, d)
    x, y = (jnp.asarray(space) for space in arrays)
    what = f"(N, N) inner products, the {_NEIGHBORS} largest"
    formula = partial(references.mutual_neighbors, k=_NEIGHBORS)
    # Of two inner products that differ by rounding, either may be the tenth.
    baselines = measure.by_formula(bench, what, formula, arrays, 1e-3)
    ours = partial(jatlas.metrics.mutual_neighbors, k=_NEIGHBORS)
    work = Work(2.0 * 2 * n**2 * d, 4.0 * 2 * n * d)
    size = {"N": n, "D": d, "k": _NEIGHBORS}
    row = measure.compare(
        bench, "mutual neighbours", size, partial(ours, x, y), baselines, work=work
    )
    row["memory"]["temporary_bytes"] = memory.temporaries(ours, x, y)
    return row
