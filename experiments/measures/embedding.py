"""The spaces of a unit: tasks dealt, charts trained, anchors chosen."""

import numpy as np

import jatlas
from experiments.measures.protocols import Embedded
from experiments.runs import benches, deals
from experiments.runs.benches import Bench
from experiments.runs.deals import Choice
from experiments.runs.settings import Setting
from experiments.runs.terminal import Report, part_of
from jatlas.scenarios import Tasks


def embed(
    bench: Bench,
    setting: Setting,
    seed: int,
    report: Report,
    *,
    choice: Choice = "uniform",
    num_anchors: int | None = None,
) -> tuple[Tasks, Embedded]:
    """The tasks of a unit, and what the spaces are made of.

    Args:
        bench: from `benches.prepare`.
        setting: one cell of the grid.
        seed: draws everything.
        report: called with what is being done, and how much of it is done.
        choice: how the anchors are chosen, in the first chart's space.
        num_anchors: A; that of the options if None.
    """
    tasks, pool = deals.deal(bench, setting, seed)
    reference = benches.reference(bench, seed, part_of(report, 0.0, 0.12))
    charts = benches.charts(bench, setting, seed, tasks, part_of(report, 0.12, 1.0))
    anchors = deals.choose(
        bench, setting, seed, pool, charts[0], num_anchors=num_anchors, choice=choice
    )
    jatlas.check_anchors(anchors, np.ones_like(tasks.presence), seen=tasks.seen)
    return tasks, Embedded(
        reference,
        charts,
        anchors,
        tasks.presence,
        tasks.presence.any(axis=0),
        tasks.shared.size,
        bench.options.comparison,
    )
