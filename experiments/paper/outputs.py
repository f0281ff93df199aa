"""The pictures and the page of a finished run."""

from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from experiments.data import storage
from experiments.paper import tables
from experiments.paper.page import document
from experiments.paper.page.points import Cell
from experiments.paper.plots import accuracies, figures, gallery
from experiments.plots import saving
from experiments.runs import deals
from experiments.runs.benches import Bench
from experiments.runs.experiment import Run
from experiments.runs.settings import Setting, titles_of


def show(run: Run, results: dict[str, Any]) -> None:
    """Draw the first seed's spaces and all accuracies; write the page.

    Args:
        run: all of whose units are done.
        results: what `results.json` holds.

    Raises:
        ValueError: if what is on the disk is not of this run.
        OSError: if a file cannot be read or written.
    """
    first, settings = run.options.seeds[0], results["settings"]
    of = [unit.of for unit in run.units]
    shown = [setting for setting, seed in of if seed == first]
    accuracy = run.folder / "accuracy.png"
    titles = titles_of(settings["options"]["settings"])
    # More threads would not be faster, and pictures are to be the same every time.
    with threadpool_limits(1):
        cells = [cell(run.bench, run.folder, setting, first) for setting in shown]
        saving.save(accuracies.accuracy_figure(results["rows"], titles), accuracy)
        document.write(
            run.folder / "report.html",
            tables.report(results),
            settings,
            results["rows"],
            cells,
            run.bench.dataset,
            {"accuracy": accuracy},
        )


def cell(bench: Bench, folder: Path, setting: Setting, seed: int) -> Cell:
    """One setting and seed for the page, with its pictures drawn."""
    dataset, name = bench.dataset, f"{setting.scenario}_{setting.name}"
    file = bench.folder / f"{deals.unit(setting, seed).name}.npz"
    arrays = figures.with_tsne(storage.read_arrays(file), dataset.class_names)
    tasks, _ = deals.deal(bench, setting, seed)
    # As the rows of the arrays stand, which the page checks by the labels.
    sample = np.flatnonzero(tasks.test & tasks.presence.any(axis=0))
    heading = f"{dataset.name}, {setting.scenario}: {setting.title}; seed {seed}"
    files = gallery.draw(folder, name, arrays, dataset, heading)
    presence = tasks.presence[:, sample]
    return Cell(
        f"{setting.scenario} {setting.name}",
        setting.title,
        arrays,
        sample,
        presence,
        files,
    )
