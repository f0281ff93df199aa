"""All of a finished run that is to be looked at: the pictures and the page."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from experiments import bars, figures, page, pictures, run, store
from experiments.points import Cell
from experiments.settings import Setting
from experiments.trained import Bench


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
    accuracy = folder / "accuracy.png"
    shown = [setting for setting, seed in units if seed == first]
    # Two at a time. One thread each for products of matrices: more would share the
    # same cores, and pictures are to be the same every time.
    with threadpool_limits(1), ThreadPoolExecutor(2) as pool:
        cells = list(pool.map(lambda setting: cell(bench, setting, first), shown))
    figures.save(bars.accuracy_figure(written["rows"], titles), accuracy)
    page.write(
        folder / "report.html",
        text,
        written["settings"],
        written["rows"],
        cells,
        bench.dataset,
        {"accuracy": accuracy},
    )


def cell(bench: Bench, setting: Setting, seed: int) -> Cell:
    """One setting and seed, as the page shows it; its pictures are drawn."""
    dataset, name = bench.dataset, f"{setting.scenario}_{setting.name}"
    file = run.part(bench, setting, seed).with_suffix(".npz")
    arrays = figures.with_tsne(store.read_arrays(file), dataset.class_names)
    tasks, _ = run.deal(bench, setting, seed)
    # As the rows of the arrays stand, which the page checks by the labels.
    sample = np.flatnonzero(tasks.test & tasks.presence.any(axis=0))
    heading = f"{dataset.name}, {setting.scenario}: {setting.title}; seed {seed}"
    files = pictures.draw(bench.options.folder, name, arrays, dataset, heading)
    presence = tasks.presence[:, sample]
    return Cell(
        f"{setting.scenario} {setting.name}",
        setting.title,
        arrays,
        sample,
        presence,
        files,
    )
