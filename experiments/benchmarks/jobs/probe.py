"""Probes: beside a plain training loop; seeds together, beside one after another."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jatlas
from experiments.benchmarks import measure
from experiments.benchmarks.jobs import reference_probes
from experiments.benchmarks.measure import Bench, Reference, Row, Work
from experiments.measures import guesses

_CLASSES = 10
_SEEDS = 4
_EPOCHS = 10


def rows(bench: Bench) -> list[Row]:
    """The rows of this job."""
    n, d = (500, 64) if bench.quick else (10_000, 256)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, _CLASSES, n)
    means = rng.standard_normal((_CLASSES, d), np.float32) / 12
    space = means[labels] + rng.standard_normal((n, d), np.float32)
    bench.tell("one", 0.0)
    one = _one(bench, space, labels)
    bench.tell("seeds", 0.7)
    return [one, _seeds(bench, space, labels)]


def _work(n: int, d: int) -> Work:
    """Three products a layer and step; a row is read every epoch."""
    weights = d * reference_probes.HIDDEN + reference_probes.HIDDEN * _CLASSES
    return Work(6.0 * n * weights * _EPOCHS, 4.0 * n * d * _EPOCHS)


def _one(bench: Bench, space: np.ndarray, labels: np.ndarray) -> Row:
    """Ten epochs of one probe, with the same training throughout."""
    n, d = space.shape
    x, y = jnp.asarray(space), jnp.asarray(labels)
    same = 2 / n**0.5  # networks that start elsewhere differ by chance

    def ours() -> jax.Array:
        probe = jatlas.fit_probe(
            jax.random.key(0), x, y, _CLASSES, max_epochs=_EPOCHS,
            hidden=reference_probes.HIDDEN, batch_size=reference_probes.BATCH,
        )  # fmt: skip
        return _accuracy(jatlas.probe_logits(probe, x), labels)

    baselines = {}
    if bench.torch is not None:
        train = partial(
            reference_probes.in_torch, bench.torch, bench.tensor(space),
            bench.tensor(labels), _CLASSES, _EPOCHS,
        )  # fmt: skip

        def in_torch(**options: Any) -> np.ndarray:
            return _accuracy(train(**options).cpu(), labels)

        baselines["torch"] = Reference("a torch loop with a DataLoader", in_torch, same)
        sliced = partial(in_torch, loader=False)
        what = "a torch loop, batches by indexing"
        baselines["torch, indexing"] = Reference(what, sliced, same)

    def in_numpy() -> np.ndarray:
        logits = reference_probes.in_numpy(space, labels, _CLASSES, _EPOCHS)
        return _accuracy(logits, labels)

    what = "a NumPy loop, batches by indexing"
    baselines["numpy"] = Reference(what, in_numpy, same)
    size = {"N": n, "D": d, "C": _CLASSES, "epochs": _EPOCHS}
    row = measure.compare(bench, "probe", size, ours, baselines, work=_work(n, d))
    what = "times as fast as a torch loop with a DataLoader"
    speed = measure.ratio(row, "torch") if "torch" in baselines else None
    measure.add_bar(bench, row, what, speed, least=10)
    return row


def _accuracy(logits: Any, labels: np.ndarray) -> np.ndarray:
    """Accuracy on the training rows, for another initialization."""
    return np.mean(guesses.likely(np.asarray(logits)) == labels)


def _seeds(bench: Bench, space: np.ndarray, labels: np.ndarray) -> Row:
    """Probes that differ in their keys, under `jax.vmap` and one after another."""
    n, d = space.shape
    arrays = jnp.asarray(space), jnp.asarray(labels)
    keys = jax.random.split(jax.random.key(0), _SEEDS)

    @jax.jit
    def fit(key: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
        probe = jatlas.fit_probe(key, x, y, _CLASSES, max_epochs=_EPOCHS)
        return jnp.mean(guesses.likely(jatlas.probe_logits(probe, x)) == y)

    def apart() -> jax.Array:
        return jnp.stack([fit(key, *arrays) for key in keys])

    together = jax.jit(jax.vmap(fit, (0, None, None)))
    one_by_one = Reference("ours, one seed after another", apart, 2e-2)
    one = _work(n, d)
    work = Work(one.flops * _SEEDS, one.bytes * _SEEDS)
    size = {"seeds": _SEEDS, "N": n, "D": d, "epochs": _EPOCHS}
    return measure.compare(
        bench, "probe, seeds together", size, partial(together, keys, *arrays),
        {"one by one": one_by_one}, work=work,
    )  # fmt: skip
