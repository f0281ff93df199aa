"""All of a finished run that is to be looked at: the pictures and the page."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from experiments.paper import measure, tables
from experiments.paper.page import document
from experiments.paper.page.points import Cell
from experiments.paper.plots import accuracies, figures, gallery
from experiments.runs import storage
from experiments.runs.benches import Bench
from experiments.runs.settings import Setting


def show(
    bench: Bench,
    units: Sequence[tuple[Setting, int]],
    titles: Mapping[tuple[str, str], str],
    written: Mapping[str, Any],
    text: str,
) -> None:
    """Draw the spaces of the first seed and all accuracies, and write the page.

    Args:
        bench: of the run.
        units: settings and seeds, all of which are done.
        titles: of each (scenario, setting), in the order to be shown.
        written: what `results.json` holds.
        text: of `table.md`.

    Raises:
        ValueError: if what is on the disk is not of this run.
        OSError: if a file cannot be read or written.
    """
    folder, first = bench.options.folder, bench.options.seeds[0]
    shown = [setting for setting, seed in units if seed == first]
    accuracy = folder / "accuracy.png"
    # More threads would not be faster, and pictures are to be the same every time.
    with threadpool_limits(1):
        cells = [cell(bench, setting, first) for setting in shown]
        figures.save(accuracies.accuracy_figure(written["rows"], titles), accuracy)
        document.write(
            folder / "report.html",
            tables.report(written["settings"], written["rows"], titles),
            written["settings"],
            written["rows"],
            cells,
            bench.dataset,
            {"accuracy": accuracy},
        )


def cell(bench: Bench, setting: Setting, seed: int) -> Cell:
    """One setting and seed, as the page shows it; its pictures are drawn."""
    dataset, name = bench.dataset, f"{setting.scenario}_{setting.name}"
    file = measure.part(bench, setting, seed).with_suffix(".npz")
    arrays = figures.with_tsne(storage.read_arrays(file), dataset.class_names)
    tasks, _ = measure.deal(bench, setting, seed)
    # As the rows of the arrays stand, which the page checks by the labels.
    sample = np.flatnonzero(tasks.test & tasks.presence.any(axis=0))
    heading = f"{dataset.name}, {setting.scenario}: {setting.title}; seed {seed}"
    files = gallery.draw(bench.options.folder, name, arrays, dataset, heading)
    presence = tasks.presence[:, sample]
    return Cell(
        f"{setting.scenario} {setting.name}",
        setting.title,
        arrays,
        sample,
        presence,
        files,
    )
