"""The work of one process of `experiments.multihost`, started by it.

It puts its own samples on its devices; merge, CKA and the probe are then the library's
own functions on global arrays, and JAX moves what has to be moved.
"""

import platform
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial, reduce
from importlib import metadata
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.multihost_utils import process_allgather
from jax.sharding import NamedSharding, PartitionSpec

import jatlas
from experiments.data import storage
from experiments.data.catalog import normalize
from experiments.data.dataset import Dataset
from experiments.measures import guesses
from experiments.multihost import report
from experiments.multihost.launcher import UNUSED, MultihostOptions, deal
from experiments.runs import benches, children
from experiments.runs.options import described, from_json

# Rows that are added at once to the running state of CKA.
_CHUNK = 1024


class HostSamples(NamedTuple):
    """The samples of one process, on the host.

    Attributes:
        images: (n, height, width, channels).
        labels: (n,).
        real: (n,), True; what padding adds to it is False.
        learn, validation, test: (n,), boolean: its parts.
    """

    images: np.ndarray
    labels: np.ndarray
    real: np.ndarray
    learn: np.ndarray
    validation: np.ndarray
    test: np.ndarray


class Placed(NamedTuple):
    """Arrays over the devices of all processes; N is padded.

    Attributes:
        embeddings: (M, N, D).
        reference: (N, D), a space to compare the atlas with.
        presence: (M, N), boolean.
        anchors: (M, A, D), on every device.
        labels: (N,).
        real, learn, validation, test: (N,), boolean: no padding, and its parts.
    """

    embeddings: jax.Array
    reference: jax.Array
    presence: jax.Array
    anchors: jax.Array
    labels: jax.Array
    real: jax.Array
    learn: jax.Array
    validation: jax.Array
    test: jax.Array


@partial(jax.jit, static_argnames=("num_charts", "num_features"))
def embed(images: jax.Array, num_charts: int, num_features: int) -> jax.Array:
    """(N, height, width, channels) to (M, N, D) by random projections.

    A tanh follows.
    """
    x = normalize(images).reshape(len(images), -1)
    shape = (num_charts, x.shape[1], num_features)
    kernels = jax.random.normal(jax.random.key(0), shape) / np.sqrt(x.shape[1])
    return jnp.tanh(jnp.einsum("np,mpd->mnd", x, kernels, precision="highest"))


def host_samples(
    options: MultihostOptions, dataset: Dataset
) -> tuple[HostSamples, np.ndarray]:
    """The samples of this process, and (M, n), their presence."""
    samples, presence, _, cuts = deal(options, dataset)
    numbers = np.arange(*cuts[options.process_id : options.process_id + 2])
    rows = samples[numbers]
    test, held = dataset.test[rows], numbers % 10 == 0
    real = np.ones(rows.size, bool)
    split = (real, ~test & ~held, ~test & held, test)
    return HostSamples(dataset.images[rows], dataset.labels[rows], *split), presence[
        :, numbers
    ]


def place(
    mesh: jax.sharding.Mesh, options: MultihostOptions, dataset: Dataset
) -> Placed:
    """This process's samples, and those of the others, over all devices."""
    here, presence = host_samples(options, dataset)
    images, labels, *masks = jatlas.devices.place(mesh, here)
    presence = jatlas.devices.place(mesh, presence, axis=1)
    spaces = embed(images, options.num_charts + 1, options.num_features)
    # Padding is between the samples of one process and the next.
    rows = np.flatnonzero(process_allgather(masks[0], tiled=True))
    rows = rows[deal(options, dataset).anchors]
    everywhere = NamedSharding(mesh, PartitionSpec())
    anchors = jax.jit(lambda x: x[:-1, rows], out_shardings=everywhere)(spaces)
    return Placed(spaces[:-1], spaces[-1], presence, anchors, labels, *masks)


def streamed(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """CKA of all rows, and debiased, each process streaming through its own."""
    state = jatlas.running.cka.empty(x.shape[1], y.shape[1])
    for first in range(0, len(x), _CHUNK):
        rows = np.arange(first, first + _CHUNK)
        some, where = np.minimum(rows, len(x) - 1), rows < len(x)
        state = jatlas.running.cka.add(state, x[some], y[some], where)
    states = process_allgather(state)
    parts = [jax.tree.map(lambda x, p=p: x[p], states) for p in range(len(states[0]))]
    whole = reduce(jatlas.running.cka.combine, parts)
    return float(jatlas.running.cka.value(whole)), float(
        jatlas.running.cka.value(whole, debiased=True)
    )


@jax.jit
def accuracy(probe: jatlas.Probe, atlas: jax.Array, placed: Placed) -> jax.Array:
    """Share of the test samples whose class the probe says."""
    guess = guesses.likely(jatlas.probe_logits(probe, atlas))
    right = (guess == placed.labels) & placed.test
    return right.sum() / placed.test.sum()


def timed(took: list[float], function: Callable, *args: Any, **kwargs: Any) -> Any:
    """What the function gives; its seconds are added to `took`."""
    start = time.perf_counter()
    value = jax.block_until_ready(function(*args, **kwargs))
    took.append(time.perf_counter() - start)
    return value


def run(options: MultihostOptions) -> dict[str, Any]:
    """All of the work; the same results in every process."""
    took: dict[str, list[float]] = defaultdict(list)
    mesh, dataset = jatlas.devices.sample_mesh(), benches.read(options)
    placed = place(mesh, options, dataset)
    for number in range(1, options.repeats + 1):
        charts = placed.embeddings, placed.anchors, placed.presence
        atlas = timed(took["merge"], jatlas.merge, *charts)
        compare = partial(jatlas.cka, atlas, placed.reference, where=placed.real)
        cka = float(timed(took["cka"], compare))
        say(options, f"pass {number} of {options.repeats}: CKA {cka:.6f}")
    num_rows = int(np.diff(deal(options, dataset).cuts)[options.process_id])
    mine, reference = jatlas.devices.local_rows(
        mesh, (atlas, placed.reference), num_rows
    )
    of_stream = timed(took["streamed cka"], streamed, mine, reference)
    learn = partial(
        jatlas.fit_probe, jax.random.key(0), max_epochs=options.probe_epochs
    )
    probe = timed(
        took["probe"],
        learn,
        atlas,
        placed.labels,
        len(dataset.class_names),
        where=placed.learn,
        validation=placed.validation,
    )
    right = float(accuracy(probe, atlas, placed))
    say(options, f"{num_rows} rows, CKA {cka:.6f}, accuracy {right:.4f}")
    part = f"atlas_{options.process_id}_of_{options.num_processes}.npz"
    storage.write_arrays(options.folder / part, {"atlas": mine})
    return {
        "rows": process_allgather(np.int32(num_rows)).tolist(),
        "padded_rows": len(atlas),
        **totals(mine),
        "cka": cka,
        "cka_debiased": float(compare(debiased=True)),
        "cka_streamed": of_stream[0],
        "cka_streamed_debiased": of_stream[1],
        "accuracy": right,
        "seconds": {name: float(np.median(times)) for name, times in took.items()},
        **circumstances(options),
    }


def totals(mine: np.ndarray) -> dict[str, Any]:
    """Figures of the whole atlas by which two runs can be compared."""
    wide = mine.astype(np.float64)
    sums = process_allgather(np.array([wide.sum(), (wide**2).sum()]))
    total, squares = sums.sum(axis=0)
    return {
        "atlas_sum": float(total),
        "atlas_norm": float(np.sqrt(squares)),
        "atlas_first_row": mine[0].tolist(),
    }


def circumstances(options: MultihostOptions) -> dict[str, Any]:
    """Options, devices and versions."""
    versions = {name: metadata.version(name) for name in ("jatlas", "jax", "numpy")}
    return {
        "options": described(options, UNUSED),
        "devices": [str(device) for device in jax.devices()],
        "versions": versions | {"python": platform.python_version()},
    }


def say(options: MultihostOptions, text: str) -> None:
    """A line from this process."""
    name = f"process {options.process_id} of {options.num_processes}"
    sys.stdout.write(f"{name}: {text}\n")  # in one piece, which print is not
    sys.stdout.flush()


def work() -> None:
    """Run a child process while its standard input is open.

    The options come from there.
    """
    children.live(_work)


def _work(task: dict[str, Any]) -> None:
    options = from_json(MultihostOptions, task)
    file = options.folder / "results.json"
    with children.joined(options.member, options.devices):
        if options.process_id == 0:
            file.unlink(missing_ok=True)
        results = run(options)
    if options.process_id == 0:
        storage.write_text(options.folder / "table.md", f"{report.table(results)}\n")
        storage.write_json(file, results)
