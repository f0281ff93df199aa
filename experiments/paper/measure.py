"""From a data set to rows of results, unit by unit.

A unit is a (setting, seed).
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from experiments.data import storage
from experiments.measures import metrics, protocols, splits
from experiments.measures.embedding import embed
from experiments.measures.protocols import PROTOCOLS, Embedded
from experiments.runs import benches, deals
from experiments.runs.benches import Bench
from experiments.runs.rows import Rows
from experiments.runs.settings import Setting
from experiments.runs.terminal import Report, part_of
from jatlas.scenarios import Tasks

# The spaces that pictures are drawn from: protocol, and name.
PICTURED = (("both", "original_rel"), ("oracle", "merged"), ("blind", "merged"))


def measure(
    bench: Bench, setting: Setting, seed: int, report: Report
) -> dict[str, Any]:
    """The "rows" of one setting and seed, and the charts' "training".

    The pictures' arrays are written.

    Args:
        bench: from `benches.prepare`.
        setting: one cell of the grid.
        seed: draws everything.
        report: called with what is being done, and how much of the unit is done.
    """
    choice = bench.options.anchor_choice
    training = part_of(report, 0.0, 0.8)
    tasks, embedded = embed(bench, setting, seed, training, choice=choice)
    report("measuring", 0.8)
    measured, pictured = _measure(bench, setting, seed, tasks, embedded)
    name = deals.unit(setting, seed).name
    storage.write_arrays(bench.folder / f"{name}.npz", pictured)
    report("done", 1.0)
    training = benches.training_of(bench, setting, seed, tasks)
    return {"rows": _rows(setting, seed, measured), "training": training}


def _rows(
    setting: Setting, seed: int, measured: dict[str, dict[str, metrics.Values]]
) -> Rows:
    return [
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


def _measure(
    bench: Bench, setting: Setting, seed: int, tasks: Tasks, embedded: Embedded
) -> tuple[dict[str, dict[str, metrics.Values]], dict[str, np.ndarray]]:
    """Metrics by protocol and space, and the pictures' arrays."""
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
        space, labels = make(), bench.dataset.labels
        cuts = splits.cuts(seed, space, tasks, on_test=setting.on_test)
        key = metrics.key_of(seed)
        stop = bench.options.probe_epochs, bench.options.probe_patience
        if name in metrics.CONTROLS:
            control = metrics.CONTROLS[name]
            return metrics.by_classifier(
                space, cuts, labels, tasks, key, *stop, classifier=control
            )
        others = metrics.compared_with(name, references)
        return metrics.measure(
            space, cuts, others, labels, tasks, key, *stop, seed=seed
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
