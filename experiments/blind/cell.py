"""What the merged spaces of one setting and seed are made of, and who learns what."""

from typing import NamedTuple

import numpy as np

from experiments.runs import benches, deals, seeds
from experiments.runs.benches import Bench
from experiments.runs.settings import Setting
from experiments.runs.terminal import Report, part_of
from jatlas.scenarios import Tasks


class Cell(NamedTuple):
    """The charts of one setting and seed; every chart embeds every sample.

    Attributes:
        reference: (N, D), the end-to-end chart's embeddings.
        charts: M arrays (N, D), the task charts'.
        tasks: which samples each chart has seen, which classes it knows.
        labels: (N,).
        pool: (N,), who may be an anchor by the paper's rule.
        train: (N,), training samples of the tasks: spaces and probes are fitted on
            these.
        stop: (N,), half of the tasks' validation samples: by these probes stop.
        choose: (N,), the other half: by these one space is chosen over another.
        test: (N,), the test split.
    """

    reference: np.ndarray
    charts: list[np.ndarray]
    tasks: Tasks
    labels: np.ndarray
    pool: np.ndarray
    train: np.ndarray
    stop: np.ndarray
    choose: np.ndarray
    test: np.ndarray

    @property
    def num_classes(self) -> int:
        """C."""
        return self.tasks.shared.size


def embed(bench: Bench, setting: Setting, seed: int, report: Report) -> Cell:
    """The cell of one setting and seed; charts that are missing are trained.

    No task's chart has learnt from a sample of `stop` and `choose`. (The end-to-end
    chart, whose validation samples are drawn over all classes, has from some.) A chart
    knows its own training samples too well, and a space that is chosen on them is one
    that shows it.
    """
    tasks, pool = deals.deal(bench, setting, seed)
    reference = benches.reference(bench, seed, part_of(report, 0.0, 0.2))
    charts = benches.charts(bench, setting, seed, tasks, part_of(report, 0.2, 1.0))
    return of(reference, charts, tasks, bench.dataset.labels, pool, seed)


def of(
    reference: np.ndarray,
    charts: list[np.ndarray],
    tasks: Tasks,
    labels: np.ndarray,
    pool: np.ndarray,
    seed: int,
) -> Cell:
    """The cell of these charts."""
    held = tasks.validation.any(axis=0) & ~tasks.seen.any(axis=0)
    train = tasks.presence.any(axis=0) & ~tasks.test & ~held
    half = seeds.rng(seed, seeds.HALVES).random(labels.size) < 0.5
    return Cell(
        reference,
        charts,
        tasks,
        labels,
        pool,
        train,
        held & half,
        held & ~half,
        tasks.test,
    )
