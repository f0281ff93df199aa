"""All measurements of one setting and seed without an oracle."""

from dataclasses import dataclass
from typing import Annotated, Any

import jax
import numpy as np
import tyro

from experiments.blind import cell, present, scores, spaces, trust
from experiments.blind.cell import Cell
from experiments.blind.methods import CURVES, METHODS
from experiments.data.dataset import Dataset
from experiments.encoders import chart_kinds
from experiments.runs import benches, deals, seeds
from experiments.runs.benches import Bench
from experiments.runs.deals import Unit
from experiments.runs.options import Options
from experiments.runs.rows import Rows
from experiments.runs.settings import Setting
from experiments.runs.terminal import Report, part_of

MOST_CHARTS = 6  # whose sets, 63 of them, are all measured


@dataclass(frozen=True)
class BlindOptions(Options):
    """The flags of merging without an oracle."""

    widths: Annotated[tuple[int, ...], tyro.conf.arg(metavar="INT [INT ...]")] = (
        16,
        32,
        64,
        256,
    )
    """Other widths than --num-anchors, for the picture of accuracy against width."""

    @property
    def all_widths(self) -> tuple[int, ...]:
        """That of the tables, and the others."""
        return (self.num_anchors, *self.widths)


def measure(bench: Bench, setting: Setting, seed: int, report: Report) -> Rows:
    """All that is measured of one setting and seed."""
    options = bench.options
    embedded = cell.embed(bench, setting, seed, part_of(report, 0.0, 0.3))
    key = seeds.fold(benches.key(seed, setting), seeds.MERGED_SPACES)
    named = {"scenario": setting.scenario, "setting": setting.name, "seed": seed}
    measured = accuracies(embedded, options, key, part_of(report, 0.3, 0.7))
    rows = [{"of": "accuracy", **row} for row in measured]
    charts = present.measured(
        embedded, options.num_anchors, key, part_of(report, 0.7, 0.9)
    )
    rows += [{"of": "present", **row} for row in charts]
    report("calibration and doubt", 0.9)
    rows.append({"of": "trust", **trust.measured(embedded, options.num_anchors, key)})
    return [named | row for row in rows]


def check(options: BlindOptions) -> None:
    """Raise ValueError for widths or charts that cannot be run."""
    widths = options.all_widths
    if min(widths) < 2 or len(set(widths)) < len(widths):
        raise ValueError(
            f"--num-anchors and --widths must be different, 2 or more; got {widths}."
        )
    if len(options.charts) > 1:
        raise ValueError(
            f"--charts takes one kind here, got {' '.join(options.charts)}."
        )
    if options.held_out < max(widths):
        raise ValueError(
            f"--num-held-out {options.held_out} leaves too few samples for a space "
            f"{max(widths)} wide; hold out as many or more."
        )


def units(options: BlindOptions, dataset: Dataset) -> list[Unit]:
    """All settings of all seeds.

    Raises:
        ValueError: if a unit has too many charts, or too few samples that may be
            anchors.
    """
    bench, made = deals.bare(options, dataset), deals.chosen(options, dataset)
    width = _width(options, dataset)
    for unit in made:
        setting, seed = unit.of
        tasks, pool = deals.deal(bench, setting, seed)
        if len(tasks.seen) > MOST_CHARTS:
            raise ValueError(
                f"{setting.name} has {len(tasks.seen)} charts; of more than "
                f"{MOST_CHARTS} there are too many sets to measure each."
            )
        most = max(*options.all_widths, width * len(tasks.seen))
        if pool.sum() < most:
            raise ValueError(
                f"{setting.name}, seed {seed}: {pool.sum()} samples may be anchors, "
                f"and the widest space takes {most}. Give a larger --num-held-out in B "
                "and C, more training images in A, or smaller --num-anchors and "
                "--widths."
            )
        nothing = np.empty((dataset.labels.size, 0), np.float32)
        bare = cell.of(nothing, [], tasks, dataset.labels, pool, seed)
        spaces.anchors_of_all(bare, most, jax.random.key(seed))
    return made


def _width(options: BlindOptions, dataset: Dataset) -> int:
    """How wide the charts' embeddings are, without an encoder."""
    images, kind = dataset.images, chart_kinds.kind(options.charts[0])
    # A frozen encoder's features may be of any width: that of the chart is its own.
    shape = images.shape[1:] if kind.variant is None else (1,)
    chart = kind.make(shape, len(dataset.class_names))
    dtype = images.dtype if chart.takes_integers else np.float32
    state = jax.eval_shape(chart.init, jax.random.key(0))
    image = jax.ShapeDtypeStruct((1, *shape), dtype)
    return jax.eval_shape(chart.embed, state, image).shape[1]


def accuracies(
    embedded: Cell, options: BlindOptions, key: jax.Array, report: Report
) -> list[dict[str, Any]]:
    """A row for each method, width, classifier, and part of the samples.

    Besides the methods each chart alone, of which the best is for `choose` to say.
    """
    full = sum(x.shape[1] for x in embedded.charts)
    jobs: list[tuple[str, str, int]] = [(m, "at", options.num_anchors) for m in METHODS]
    jobs += [(name, "full", full) for name, m in METHODS.items() if m.wide]
    jobs += [(name, "curve", w) for name in CURVES for w in options.widths if w != full]
    rows = []
    for done, (name, role, width) in enumerate(jobs):
        report(f"{METHODS[name].title}, {width} wide", done / len(jobs))
        space = METHODS[name].make(embedded, width, key)
        about = {"method": name, "role": role, "width": space.shape[1]}
        rows += [about | row for row in scores.scored(embedded, space, key)]
    for m, chart in enumerate(embedded.charts):
        about = {"method": f"chart{m}", "role": "at", "width": chart.shape[1]}
        rows += [about | row for row in scores.scored(embedded, chart, key)]
    return rows
