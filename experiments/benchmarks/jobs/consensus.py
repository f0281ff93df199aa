"""Consensus coordinates: beside their own products, and beside cca-zoo's GCCA."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from cca_zoo.linear import GCCA

import jatlas
from experiments.benchmarks import measure, memory, references
from experiments.benchmarks.jobs.merge import Case, data
from experiments.benchmarks.measure import Bench, Reference, Row, Work

_TIMES = 3  # the bar of fitting, in times of its product alone
_LATENT = 128  # coordinates that cca-zoo is asked for


def rows(bench: Bench) -> list[Row]:
    """The rows of this job."""
    large, small = Case(8, 50_000, 128, 128), Case(8, 10_000, 128, 128)
    if bench.quick:
        large, small = Case(3, 1000, 16, 16), Case(3, 500, 16, 16)
    measured = []
    parts = [(_fitted, large), (_merged, large), (_beside_cca_zoo, small)]
    for number, (part, case) in enumerate(parts):
        bench.tell(part.__name__.strip("_").replace("_", " "), number / len(parts))
        measured.append(part(bench, case))
    return measured


def _arrays(case: Case) -> tuple[Any, Any]:
    """Embeddings and presence on the device."""
    x, _, presence = data(case)
    return jnp.asarray(x), jnp.asarray(presence)


def _size(case: Case) -> dict[str, int]:
    return {"M": case.m, "N": case.n, "D": case.d}


def _fitted(bench: Bench, case: Case) -> Row:
    """Fitting, beside the product of all charts side by side with itself."""
    x, presence = _arrays(case)
    width = case.m * case.d
    side_by_side = jnp.ones((case.n, width))
    product = jax.jit(lambda rows: jnp.dot(rows.T, rows, precision="highest"))

    def ours() -> Any:
        return jatlas.fit_consensus(x, presence, num_features=width).agreement

    alone = Reference("X'X of all charts side by side", lambda: product(side_by_side))
    formula = "the definition, charts one after another"
    arrays = (np.asarray(x), np.asarray(presence))
    formulas = measure.by_formula(bench, formula, references.consensus, arrays, 1e-3)
    work = Work(2.0 * case.n * width * (width + case.d), 4.0 * case.n * width)
    named = {"product": alone, "numpy": formulas["numpy"]}
    row = measure.compare(
        bench, "consensus, fit", _size(case), ours, named, work=work, sample_memory=True
    )
    row["memory"]["temporary_bytes"] = memory.temporaries(
        jax.jit(partial(jatlas.fit_consensus, num_features=width)), x, presence
    )
    takes = 1 / measure.ratio(row, "product")
    measure.add_bar(bench, row, "times the time of X'X alone", takes, most=_TIMES)
    row["values"] |= _streamed(x, presence)
    return row


def _streamed(x: Any, presence: Any) -> dict[str, Any]:
    """Peak memory of the running state, at half the samples and all."""
    num_charts, num_samples, width = x.shape
    batch = num_samples // 20

    def streamed(count: int) -> Any:
        state = jatlas.running.consensus.empty([width] * num_charts)
        for start in range(0, count, batch):
            part = slice(start, start + batch)
            state = jatlas.running.consensus.add(state, x[:, part], presence[:, part])
        return jatlas.running.consensus.value(state).agreement

    return {
        f"peak of the running state, N={count:,}, bytes": memory.peak(
            partial(streamed, count)
        )
        for count in (num_samples // 2, num_samples)
    }


def _merged(bench: Bench, case: Case) -> Row:
    """Merging, beside a product of as many flops."""
    x, presence = _arrays(case)
    consensus = jatlas.fit_consensus(x, presence, num_features=case.a)
    left = jnp.ones((case.n, case.m * case.d))
    right = jnp.ones((case.m * case.d, case.a))
    product = jax.jit(partial(jnp.dot, precision="highest"))
    what = "jnp.dot, (N, M D) by (M D, K)"
    named = {"dot": Reference(what, lambda: product(left, right))}
    ours = partial(jatlas.merge_consensus, consensus, x, presence)
    size = {**_size(case), "K": case.a}
    row = measure.compare(bench, "consensus, merge", size, ours, named, work=case.work)
    rate = measure.ratio(row, "dot")
    measure.add_bar(bench, row, "share of jnp.dot's rate", rate, least=0.75)
    return row


def _beside_cca_zoo(bench: Bench, case: Case) -> Row:
    """Fitting all charts on all samples, beside the GCCA of cca-zoo."""
    x = np.asarray(_arrays(case)[0])
    everywhere, charts = jnp.ones(x.shape[:2], bool), jnp.asarray(x)
    latent = min(_LATENT, case.d)

    def theirs() -> Any:
        return GCCA(latent, shrinkage=0.1).fit(list(x)).weights_[0]

    def ours() -> Any:
        return jatlas.fit_consensus(charts, everywhere, num_features=latent).agreement

    named = {"cca-zoo": Reference("cca-zoo's GCCA", theirs)}
    size = {**_size(case), "K": latent}
    width = case.m * case.d
    work = Work(2.0 * case.n * width * (width + case.d), 4.0 * case.n * width)
    row = measure.compare(bench, "consensus, all present", size, ours, named, work=work)
    speed = measure.ratio(row, "cca-zoo")
    measure.add_bar(bench, row, "times as fast as cca-zoo's GCCA", speed, least=10)
    return row
