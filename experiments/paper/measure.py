"""From a data set to the rows of the results, one (setting, seed) at a time."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import jax
import numpy as np

import jatlas
from experiments.measures import metrics, protocols, splits
from experiments.measures.protocols import Embedded
from experiments.runs import benches, storage
from experiments.runs.benches import Bench, Report
from experiments.runs.config import PROTOCOLS
from experiments.runs.settings import Setting
from jatlas.scenarios import Tasks

# The spaces that pictures are drawn from: protocol, and name.
PICTURED = (("both", "original_rel"), ("oracle", "merged"), ("blind", "merged"))


def unit(bench: Bench, setting: Setting, seed: int, report: Report) -> list[dict]:
    """The rows of one setting and seed: from the disk if they are there, else made.

    Args:
        bench: from `trained.prepare`.
        setting: one cell of the grid.
        seed: draws everything.
        report: called with what is being done, and how much of the unit is done.
    """
    file = part(bench, setting, seed)
    if file.exists():
        return storage.read_json(file)
    tasks, embedded = embed(bench, setting, seed, partial(scaled, report, 0.0, 0.8))
    report("measuring", 0.8)
    measured, pictured = _measure(bench, setting, seed, tasks, embedded)
    rows = [
        {
            "scenario": setting.scenario,
            "setting": setting.name,
            "protocol": protocol,
            "space": space,
            "metric": metric,
            "seed": seed,
            "value": value,
        }
        for protocol, spaces in measured.items()
        for space, values in spaces.items()
        for metric, value in values.items()
    ]
    storage.write_arrays(file.with_suffix(".npz"), pictured)
    storage.write_json(file, rows)  # last: its being there says that the unit is done
    benches.forget(bench, setting, seed, len(tasks.seen))
    report("done", 1.0)
    return rows


def part(bench: Bench, setting: Setting, seed: int) -> Path:
    """The file that is there when a unit is done."""
    return bench.folder / f"{setting.scenario}_{setting.name}_seed{seed}.json"


def embed(
    bench: Bench, setting: Setting, seed: int, report: Report
) -> tuple[Tasks, Embedded]:
    """The tasks of a unit, and what the spaces are made of."""
    tasks, pool = deal(bench, setting, seed)
    reference = benches.reference(bench, seed, partial(scaled, report, 0.0, 0.12))
    charts = benches.charts(
        bench, setting, seed, tasks, partial(scaled, report, 0.12, 1.0)
    )
    anchors = choose(bench, setting, seed, pool, charts[0])
    jatlas.check_anchors(anchors, np.ones_like(tasks.presence), seen=tasks.seen)
    used = tasks.presence.any(axis=0)
    num_classes = tasks.shared.size
    return tasks, Embedded(
        reference, charts, anchors, tasks.presence, used, num_classes
    )


def deal(bench: Bench, setting: Setting, seed: int) -> tuple[Tasks, np.ndarray]:
    """The tasks of one setting and seed, and (N,), who may be an anchor.

    Raises:
        ValueError: if the data set is too small for them, or has other classes.
    """
    dataset, options = bench.dataset, bench.options
    tasks = setting.make(seed, dataset.labels, dataset.test, options.held_out)
    pool = np.asarray(jatlas.anchor_pool(tasks.seen, setting.rule))
    if setting.rule == "unseen":
        pool = pool & tasks.held_out
    return tasks, pool


def choose(
    bench: Bench,
    setting: Setting,
    seed: int,
    pool: np.ndarray,
    embeddings: np.ndarray | None = None,
) -> np.ndarray:
    """The anchors: (A,), indices of samples of the pool.

    Args:
        bench: its options say how many, and how they are chosen.
        setting: whose pool it is.
        seed: draws them.
        pool: (N,), who may be one.
        embeddings: (N, D), the space in which they are to be far apart or central. If
            None, and the options say so, they are drawn at random instead.

    Raises:
        ValueError: if the pool does not hold enough.
    """
    method, by_space = bench.options.anchor_choice, ("farthest", "kmeans")
    if embeddings is None and method in by_space:
        method = "uniform"
    # The charts take the numbers from 0 on.
    return np.asarray(
        jatlas.choose_anchors(
            jax.random.fold_in(benches.key(seed, setting), 2**31),
            pool,
            bench.options.num_anchors,
            method=method,
            labels=bench.dataset.labels if method == "balanced" else None,
            embeddings=embeddings if method in by_space else None,
        )
    )


def _measure(
    bench: Bench, setting: Setting, seed: int, tasks: Tasks, embedded: Embedded
) -> tuple[dict[str, dict[str, metrics.Values]], dict[str, np.ndarray]]:
    """Metrics by protocol and space, and the arrays that pictures are drawn from."""
    spaces = {
        "both": protocols.reference_spaces(embedded),
        "oracle": protocols.oracle_spaces(embedded, tasks.test),
        "blind": protocols.blind_spaces(embedded),
    }
    references = {
        "": protocols.relative_reference(embedded),
        "_original_abs": embedded.reference,
    }

    def values(name: str, make: protocols.Make) -> metrics.Values:
        space = make()
        return metrics.measure(
            space,
            splits.cuts(seed, space, tasks, on_test=setting.on_test),
            metrics.compared_with(name, references),
            bench.dataset.labels,
            tasks,
            metrics.key_of(seed),
            bench.options.probe_epochs,
            bench.options.probe_patience,
            seed=seed,
            control=metrics.CONTROLS.get(name),
        )

    # Two at a time: a small probe keeps no more than one core busy.
    with ThreadPoolExecutor(2) as pool:
        waiting = {
            protocol: {
                name: pool.submit(values, name, make) for name, make in of.items()
            }
            for protocol, of in spaces.items()
        }
        try:
            measured = {
                protocol: {name: future.result() for name, future in of.items()}
                for protocol, of in waiting.items()
            }
        except BaseException:  # Ctrl-C must not wait for all that is queued
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    # The end-to-end space is the same under either protocol: measured once.
    both = measured.pop("both")
    by_protocol = {name: {**both, **measured[name]} for name in PROTOCOLS}
    shown = {
        f"{protocol}/{space}": protocols.rows_of_test(spaces[protocol][space](), tasks)
        for protocol, space in PICTURED
    }
    (sample, *_) = (space.sample for space in shown.values())
    real = sample >= 0
    return by_protocol, {
        "labels": bench.dataset.labels[sample[real]],
        **{name: space.rows[real] for name, space in shown.items()},
    }


def scaled(report: Report, start: float, stop: float, what: str, share: float) -> None:
    """Report the progress of a part as that of the whole."""
    report(what, start + share * (stop - start))
