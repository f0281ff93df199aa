"""Measures of two spaces, each beside the form that published code has."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

import jatlas
from experiments.benchmarks import measure, memory
from experiments.benchmarks import reference_measures as references
from experiments.benchmarks.jobs import pairs
from experiments.benchmarks.jobs.cka import spaces
from experiments.benchmarks.measure import Bench, Reference, Row, Work
from jatlas import metrics

_NEIGHBORS = 10


class Case(NamedTuple):
    """A measure and its published form.

    Attributes:
        name: in words.
        ours: a function of x and y.
        what: the published form, in words.
        formula: of `reference_measures`.
        products: how many products of two (N, D) arrays it is made of.
        tolerance: what the two may differ by.
    """

    name: str
    ours: Callable[..., Any]
    what: str
    formula: Callable[..., Any]
    products: int
    tolerance: float = 1e-4


# Whose time grows with N D^2, and with N^2.
IN_FEATURES = (
    Case(
        "Procrustes angle",
        metrics.procrustes_distance,
        "singular values of X'Y",
        references.procrustes_angle,
        1,
    ),
    Case(
        "mean squared CCA",
        metrics.mean_squared_cca,
        "QR of both, singular values",
        references.mean_squared_cca,
        3,
    ),
    Case("SVCCA", metrics.svcca, "SVD of both", references.svcca, 3, 1e-3),
    Case("PWCCA", metrics.pwcca, "QR of both, SVD", references.pwcca, 4),
    Case(
        "linear predictivity",
        metrics.predictivity,
        "ridge regression, fold by fold",
        references.predictivity,
        5,
    ),
    Case(
        "minibatch CKA, batches of 250",
        partial(metrics.minibatch_cka, batch_size=250),
        "(n, n) kernels, batch by batch",
        partial(references.minibatch_cka, size=250),
        3,
        1e-3,
    ),
)
IN_PAIRS = (
    Case("HSIC", metrics.hsic, "(N, N) kernels", references.hsic, 2, 1e-2),
    Case(
        "CKNNA",
        partial(metrics.cknna, k=_NEIGHBORS),
        "(N, N) kernels and masks",
        partial(references.cknna, k=_NEIGHBORS),
        2,
        1e-3,
    ),
    Case(
        "Jaccard of neighbors",
        partial(metrics.jaccard_neighbors, k=_NEIGHBORS),
        "(N, N) cosines",
        partial(references.jaccard_neighbors, k=_NEIGHBORS),
        2,
        1e-3,
    ),
    Case(
        "cycles of neighbors",
        partial(metrics.cycle_neighbors, k=_NEIGHBORS, similarity="cosine"),
        "(N, N) cosines, neighbors of neighbors",
        partial(references.cycle_neighbors, k=_NEIGHBORS),
        2,
        2e-3,
    ),
    Case(
        "rank-biased overlap",
        partial(metrics.rank_biased_neighbors, k=_NEIGHBORS),
        "(N, N) cosines, depth by depth",
        partial(references.rank_biased_neighbors, k=_NEIGHBORS),
        2,
        1e-3,
    ),
    Case("RSA", metrics.rsa, "(N, N) correlations", references.rsa, 2),
    Case(
        "RSA, Spearman",
        partial(metrics.rsa, method="spearman"),
        "(N, N) correlations, sorted twice",
        references.rsa_spearman,
        2,
    ),
)


# Whose time grows with N A: relative representations, of anchors that are rows of y.
IN_ANCHORS = tuple(
    Case(
        f"relative, {name}",
        partial(jatlas.relativize, similarity=name),
        what,
        formula,
        1,
        1e-3,
    )
    for name, what, formula in (
        ("cosine", "unit rows, their products", references.cosines),
        ("angular", "arc cosines of products", references.angles),
        ("euclidean", "squares less twice the products", references.distances),
    )
)


def rows(bench: Bench) -> list[Row]:
    """The rows of this job; of a quick run the first."""
    if bench.quick:
        bench.tell(IN_FEATURES[0].name, 0.0)
        return [_of_case(bench, IN_FEATURES[0], 300, 16, Work(2.0 * 300 * 16**2, 0))]
    anchored = [(n, case) for n in (1000, 10_000) for case in IN_ANCHORS]
    cases = [
        *((case, (5000, 128), 2.0 * 5000 * 128**2) for case in IN_FEATURES),
        *((case, (1000, 128), 2.0 * 1000**2 * 128) for case in IN_PAIRS),
    ]
    measured = []
    for number, (n, case) in enumerate(anchored):
        bench.tell(case.name, number / (len(cases) + len(anchored) + 3))
        measured.append(_to_anchors(bench, case, n, 300, 128))
    for number, (case, (n, d), product) in enumerate(cases, len(anchored)):
        bench.tell(case.name, number / (len(cases) + len(anchored) + 3))
        work = Work(case.products * product, 4.0 * 2 * n * d)
        measured.append(_of_case(bench, case, n, d, work))
    bench.tell("Kendall", 0.9)
    measured.append(_kendall(bench, 1000, 128))
    bench.tell("all pairs", 0.93)
    measured.append(_all_pairs(bench, 8, 3000, 256))
    bench.tell("anchors grown", 0.97)
    return [*measured, pairs.grown(bench, 300, 8, 64)]


def _of_case(bench: Bench, case: Case, n: int, d: int, work: Work) -> Row:
    """A measure of two spaces."""
    arrays = spaces(n, d)
    x, y = (jnp.asarray(space) for space in arrays)
    baselines = measure.by_formula(
        bench, case.what, case.formula, arrays, case.tolerance
    )
    size = {"N": n, "D": d}
    ours = partial(case.ours, x, y)
    row = measure.compare(bench, case.name, size, ours, baselines, work=work)
    row["memory"]["temporary_bytes"] = memory.temporaries(case.ours, x, y)
    return row


def _to_anchors(bench: Bench, case: Case, n: int, a: int, d: int) -> Row:
    """Similarities of N rows to A anchors."""
    x, y = spaces(n, d)
    arrays = x, y[:a]
    baselines = measure.by_formula(
        bench, case.what, case.formula, arrays, case.tolerance
    )
    ours = partial(case.ours, *map(jnp.asarray, arrays))
    work = Work(2.0 * n * a * d, 4.0 * (n * d + a * d + n * a))
    size = {"N": n, "A": a, "D": d}
    return measure.compare(bench, case.name, size, ours, baselines, work=work)


def _kendall(bench: Bench, n: int, d: int) -> Row:
    """RSA by Kendall's correlation, beside SciPy's."""
    x, y = spaces(n, d)
    ours = partial(metrics.rsa, jnp.asarray(x), jnp.asarray(y), method="kendall")
    call = partial(references.rsa_kendall, x, y)
    baselines = {"scipy": Reference("kendalltau of all pairs, SciPy", call, 1e-4)}
    work = Work(2.0 * 2 * n**2 * d, 4.0 * 2 * n * d)
    size = {"N": n, "D": d}
    return measure.compare(bench, "RSA, Kendall", size, ours, baselines, work=work)


def _all_pairs(bench: Bench, m: int, n: int, d: int) -> Row:
    """CKA of all pairs of layers, beside a loop over them."""
    rng = np.random.default_rng(0)
    layers = [rng.standard_normal((n, d), np.float32)]
    for _ in range(m - 1):
        turn = rng.standard_normal((d, d), np.float32) / np.float32(d**0.5)
        layers.append(np.tanh(layers[-1] @ turn) + np.float32(0.1) * layers[0])
    stacked = np.stack(layers)
    baselines = measure.by_formula(
        bench, "pair by pair", references.cka_matrix, (stacked,), 1e-4
    )
    device = jnp.asarray(stacked)

    def ours() -> Any:
        return metrics.compare_spaces(device).values["cka"]

    size = {"M": m, "N": n, "D": d}
    work = Work(2.0 * m * (m + 1) / 2 * n * d**2, 4.0 * m * n * d)
    return measure.compare(bench, "CKA of all pairs", size, ours, baselines, work=work)
