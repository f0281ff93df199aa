"""How many anchors, and which: `python -m experiments.anchors`.

The charts of a run are trained once; then the atlas is made and measured with 16 to 512
anchors, chosen in each of four ways. On the embedded data and 2 cores about a minute a
setting and seed.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax.numpy as jnp
import tyro
from rich.console import Console

import jatlas
from experiments.data import storage
from experiments.measures import metrics, protocols, splits
from experiments.measures.protocols import Embedded
from experiments.paper import measure
from experiments.runs import benches, runner, terminal
from experiments.runs.benches import Bench, Report
from experiments.runs.config import PROTOCOLS, Options
from experiments.runs.rows import in_cell
from experiments.runs.settings import Scenario, Setting
from jatlas.scenarios import Tasks

METHODS = ("uniform", "balanced", "farthest", "kmeans")


@dataclass(frozen=True)
class Sweep:
    """Measure the atlas with other numbers of anchors, and other choices of them.

    Writes sweep.json and sweep.md. If it is interrupted, the same command goes on.
    """

    dataset: str = "fashion_mnist_7k"
    """As of `python -m experiments`."""
    scenario: tuple[Scenario, ...] = ("A", "C")
    """A: part of the classes shared. B: same classes, disjoint samples. C: disjoint."""
    settings: tuple[str, ...] = ("S4_N2", "T2")
    """Cells of the scenarios; `python -m experiments --help` says how they are named.
    """
    charts: Annotated[str, tyro.conf.arg(metavar="KIND,...")] = "cnn"
    """Kinds of charts, by commas."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each seed draws the tasks, the charts, the anchors and the probes anew."""
    numbers: tuple[int, ...] = (16, 32, 64, 128, 256, 512)
    """The numbers of anchors."""
    max_epochs: int | None = None
    """The most epochs that a chart is trained."""
    data_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where prepared data sets and features are kept; the user's cache if unset."""
    manual_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where the files of a data set are that was downloaded by hand."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where the results go; results/sweep/DATASET if left out."""


def options(sweep: Sweep) -> Options:
    """The run whose charts these are.

    Held out are twice as many samples as the most anchors: of fewer there would not be
    enough of every class for a balanced choice.
    """
    return Options(
        dataset=sweep.dataset,
        scenario=sweep.scenario,
        settings=sweep.settings,
        charts=sweep.charts,
        seeds=sweep.seeds,
        num_anchors=max(sweep.numbers),
        num_held_out=2 * max(sweep.numbers),
        max_epochs=sweep.max_epochs,
        data_dir=sweep.data_dir,
        manual_dir=sweep.manual_dir,
        out=sweep.out or Path("results") / "sweep" / sweep.dataset,
    )


def unit(
    numbers: Sequence[int], bench: Bench, setting: Setting, seed: int, report: Report
) -> list[dict[str, Any]]:
    """A row for each number, choice, protocol and metric; from the disk if it can be.

    Args:
        numbers: of anchors.
        bench: from `job.plan`.
        setting: one cell.
        seed: draws everything.
        report: called with what is being done, and how much of the unit is done.
    """
    file = part(bench, setting, seed)
    if file.exists():
        return storage.read_json(file)
    _, pool = measure.deal(bench, setting, seed)
    tasks, embedded = measure.embed(
        bench, setting, seed, lambda what, share: report(what, 0.5 * share)
    )
    cells = [(count, method) for count in numbers for method in METHODS]
    rows = []
    for done, (count, method) in enumerate(cells):
        report(f"{count} anchors, {method}", 0.5 + 0.5 * done / len(cells))
        told = replace(bench.options, num_anchors=count, anchor_choice=method)
        other = bench._replace(options=told)
        anchors = measure.choose(other, setting, seed, pool, embedded.charts[0])
        embedded = embedded._replace(anchors=anchors)
        cell = {"scenario": setting.scenario, "setting": setting.name}
        cell |= {"anchors": count, "choice": method, "seed": seed}
        rows += [cell | row for row in _measured(bench, setting, seed, tasks, embedded)]
    storage.write_json(file, rows)
    benches.forget(bench, setting, seed, len(tasks.seen))
    return rows


def part(bench: Bench, setting: Setting, seed: int) -> Path:
    """The file that is there when a unit is done."""
    return bench.folder / f"sweep_{setting.scenario}_{setting.name}_seed{seed}.json"


def table(rows: list[dict[str, Any]]) -> str:
    """The accuracies and CKA of the atlas in Markdown, setting by setting."""
    lines = [
        "# Anchors: how many, and which\n",
        "Accuracy of the paper's probe and CKA with the end-to-end chart's relative "
        "space of the same anchors; mean ± standard deviation over seeds. `farthest` "
        "and `kmeans` are chosen in the first chart's space.\n",
    ]
    for setting in dict.fromkeys((r["scenario"], r["setting"]) for r in rows):
        mine = [r for r in rows if (r["scenario"], r["setting"]) == setting]
        columns = [(m, p) for m in ("accuracy", "cka") for p in PROTOCOLS]
        head = " | ".join(f"{m}, {p}" for m, p in columns)
        lines += [f"## {', '.join(setting)}\n", f"| anchors | choice | {head} |"]
        lines.append("|---" * (2 + len(columns)) + "|")
        for cell in dict.fromkeys((r["anchors"], r["choice"]) for r in mine):
            own = [r for r in mine if (r["anchors"], r["choice"]) == cell]
            cells = " | ".join(_cell(own, *column) for column in columns)
            lines.append(f"| {cell[0]} | {cell[1]} | {cells} |")
        lines.append("")
    return "\n".join(lines)


def main(sweep: Sweep) -> None:
    """The whole sweep, as the command makes it."""
    if not sweep.numbers or min(sweep.numbers) < 1:
        sys.exit(f"error: --numbers must be 1 or more, and not none: {sweep.numbers}")
    told = options(sweep)
    console = Console(highlight=False, soft_wrap=True)
    runner.keep_compiled()
    with terminal.endings(console):
        plan = runner.planned(told, console, numbers=list(sweep.numbers))
        rows = runner.rows_of(plan, console, part, partial(unit, sweep.numbers))
        file = told.folder / "sweep.json"
        storage.write_json(file, {"settings": plan.settings, "rows": rows})
        text = table(storage.read_json(file)["rows"])
        storage.write_text(told.folder / "sweep.md", text)
    console.print(text, markup=False)


def _measured(
    bench: Bench, setting: Setting, seed: int, tasks: Tasks, embedded: Embedded
) -> list[dict[str, Any]]:
    """Accuracy and CKA of the atlas under both protocols."""
    labels = bench.dataset.labels
    spaces = {
        "oracle": protocols.oracle_spaces(embedded, tasks.test),
        "blind": protocols.blind_spaces(embedded),
    }
    like = protocols.relative_reference(embedded)
    rows = []
    for protocol in PROTOCOLS:
        space = spaces[protocol]["merged"]()
        paper = {"": splits.cuts(seed, space, tasks, on_test=setting.on_test)[""]}
        values = metrics.measure(
            space,
            paper,
            {},
            labels,
            tasks,
            metrics.key_of(seed),
            bench.options.probe_epochs,
            bench.options.probe_patience,
            control=metrics.probe,  # accuracies, and nothing else
        )
        tested = protocols.rows_of_test(space, tasks)
        values["cka"] = float(
            jatlas.cka(
                jnp.asarray(tested.rows),
                jnp.asarray(like[tested.sample]),
                where=tested.sample >= 0,
            )
        )
        rows += [
            {"protocol": protocol, "metric": metric, "value": value}
            for metric, value in values.items()
        ]
    return rows


def _cell(rows: list[dict[str, Any]], metric: str, protocol: str) -> str:
    wanted = (metric, protocol)
    return in_cell([r["value"] for r in rows if (r["metric"], r["protocol"]) == wanted])
