"""A run: every setting and seed measured, each kept when it is done."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro

from experiments.blind import cell, present, scores, spaces, trust
from experiments.blind.cell import Cell
from experiments.blind.methods import CURVES, METHODS
from experiments.data import storage
from experiments.encoders.chart_kinds import KINDS
from experiments.paper import measure
from experiments.runs import benches
from experiments.runs.benches import Bench, Report
from experiments.runs.config import Options
from experiments.runs.settings import Setting

MOST_CHARTS = 6  # whose sets, 63 of them, are all measured


@dataclass(frozen=True)
class Blind:
    """Measure merged spaces when nothing is known of a sample, against all others.

    Writes blind.json, blind.md and three pictures. If it is interrupted, the same
    command goes on where it was.
    """

    dataset: str = "fashion_mnist_7k"
    """As of `python -m experiments`."""
    num_training: int | None = None
    """Only so many of the training images, the first; all if unset."""
    settings: tuple[str, ...] = ("S4_N2", "S2_N2", "P80_20", "T2")
    """Cells of the scenarios; `python -m experiments --help` says how they are named.
    """
    charts: Annotated[str, tyro.conf.arg(metavar="KIND")] = "cnn"
    """The kind of charts."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Each seed draws the tasks, the charts, the anchors and the probes anew."""
    width: int = 128
    """A, the width of the merged spaces."""
    widths: tuple[int, ...] = (16, 32, 64, 256)
    """Other widths, for the picture of accuracy against width."""
    num_held_out: int = 512
    """In B and C, training samples kept from every task, to be anchors."""
    data_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where prepared data sets are kept; the user's cache if unset."""
    manual_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where the files of a data set are that was downloaded by hand."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where the results go; results/blind/DATASET if left out."""


def options(blind: Blind) -> Options:
    """The run whose charts these are."""
    return Options(
        dataset=blind.dataset,
        num_training=blind.num_training,
        settings=blind.settings,
        charts=blind.charts,
        seeds=blind.seeds,
        num_anchors=blind.width,
        num_held_out=blind.num_held_out,
        data_dir=blind.data_dir,
        manual_dir=blind.manual_dir,
        out=blind.out or Path("results") / "blind" / blind.dataset,
    )


def part(bench: Bench, setting: Setting, seed: int) -> Path:
    """The file that is there when a unit is done."""
    return bench.folder / f"blind_{setting.scenario}_{setting.name}_seed{seed}.json"


def unit(
    blind: Blind, bench: Bench, setting: Setting, seed: int, report: Report
) -> list[dict[str, Any]]:
    """All that is measured of one setting and seed; from the disk if it is there."""
    file = part(bench, setting, seed)
    if file.exists():
        return storage.read_json(file)
    own = cell.embed(bench, setting, seed, partial(measure.scaled, report, 0.0, 0.3))
    key = jax.random.fold_in(benches.key(seed, setting), 2**31 - 1)
    named = {"scenario": setting.scenario, "setting": setting.name, "seed": seed}
    found = accuracies(own, blind, key, partial(measure.scaled, report, 0.3, 0.7))
    rows = [{"of": "accuracy", **row} for row in found]
    charts = present.measured(
        own, blind.width, key, partial(measure.scaled, report, 0.7, 0.9)
    )
    rows += [{"of": "present", **row} for row in charts]
    report("calibration and doubt", 0.9)
    rows.append({"of": "trust", **trust.measured(own, blind.width, key)})
    rows = [named | row for row in rows]
    storage.write_json(file, rows)
    benches.forget(bench, setting, seed, len(own.charts))
    return rows


def check(blind: Blind, bench: Bench, units: Sequence[tuple[Setting, int]]) -> None:
    """Raise ValueError if a unit has too few samples that may be anchors.

    Args:
        blind: the widths.
        bench: the data; no encoders are needed.
        units: of the run.
    """
    images, labels = bench.dataset.images, bench.dataset.labels
    kind = KINDS[blind.charts]
    # A frozen encoder's features may be of any width: that of the chart is its own.
    shape = images.shape[1:] if kind.variant is None else (1,)
    chart = kind.make(shape, len(bench.dataset.class_names))
    image = jax.ShapeDtypeStruct((1, *shape), np.float32)
    if chart.takes_integers:
        image = jax.ShapeDtypeStruct((1, *shape), images.dtype)
    state = jax.eval_shape(chart.init, jax.random.key(0))
    width = jax.eval_shape(chart.embed, state, image).shape[1]
    for setting, seed in units:
        tasks, pool = measure.deal(bench, setting, seed)
        if len(tasks.seen) > MOST_CHARTS:
            raise ValueError(
                f"{setting.name} has {len(tasks.seen)} charts; of more than "
                f"{MOST_CHARTS} there are too many sets to measure each."
            )
        most = max(blind.width, *blind.widths, width * len(tasks.seen))
        if pool.sum() < most:
            raise ValueError(
                f"{setting.name}, seed {seed}: {pool.sum()} samples may be anchors, "
                f"and the widest space takes {most}. Give a larger --num-held-out in B "
                "and C, more training images in A, or smaller --width and --widths."
            )
        nothing = np.empty((labels.size, 0), np.float32)
        bare = cell.of(nothing, [], tasks, labels, pool, seed)
        spaces.anchors_of_all(bare, most, jax.random.key(seed))


def accuracies(
    own: Cell, blind: Blind, key: jax.Array, report: Report
) -> list[dict[str, Any]]:
    """A row for each method, width, classifier, and part of the samples.

    Besides the methods each chart alone, of which the best is for `choose` to say.
    """
    full = sum(x.shape[1] for x in own.charts)
    jobs: list[tuple[str, str, int]] = [(m, "at", blind.width) for m in METHODS]
    jobs += [(name, "full", full) for name, m in METHODS.items() if m.wide]
    jobs += [(name, "curve", w) for name in CURVES for w in blind.widths if w != full]
    rows = []
    for done, (name, role, width) in enumerate(jobs):
        report(f"{METHODS[name].title}, {width} wide", done / len(jobs))
        space = METHODS[name].make(own, width, key)
        about = {"method": name, "role": role, "width": space.shape[1]}
        rows += [about | row for row in scores.scored(own, space, key)]
    for m, chart in enumerate(own.charts):
        about = {"method": f"chart{m}", "role": "at", "width": chart.shape[1]}
        rows += [about | row for row in scores.scored(own, chart, key)]
    return rows
