"""Small tasks of each scenario, and embeddings: for the tests of what is measured."""

import numpy as np
import pytest

from experiments.measures.protocols import Embedded, Space
from jatlas.scenarios import (
    part_shared_part_novel,
    same_classes_disjoint_samples,
    totally_disjoint,
)

N, D, A, C = 240, 4, 5, 8  # 20 training and 10 test samples a class
LABELS = (np.arange(N) % C).astype(np.int32)
TEST = np.arange(N) >= 160
TASKS = {
    "A": part_shared_part_novel(0, LABELS, num_shared=2, num_novel=2, test=TEST),
    "B": same_classes_disjoint_samples(0, LABELS, num_held_out=15, test=TEST),
    "C": totally_disjoint(0, LABELS, num_tasks=2, num_held_out=15, test=TEST),
}
every_scenario = pytest.mark.parametrize("scenario", "ABC")


def is_used(scenario):
    """As in the main job, all that are in some task; in A, some are in none there."""
    used = TASKS[scenario].presence.any(axis=0)
    used[:10] &= scenario != "A"
    return used


def embeddings(scenario) -> Embedded:
    """Random ones; NaN of samples that are not needed, as in the main job."""
    rng = np.random.default_rng(1)
    tasks, used = TASKS[scenario], is_used(scenario)
    pool = tasks.seen.all(axis=0) if scenario == "A" else tasks.held_out
    anchors = rng.permutation(np.flatnonzero(pool))[:A]
    charts = rng.normal(size=(len(tasks.seen), N, D)).astype(np.float32)
    unneeded = ~used
    unneeded[anchors] = False
    assert unneeded.any()
    charts[:, unneeded] = np.nan
    reference = rng.normal(size=(N, D)).astype(np.float32)
    return Embedded(reference, charts, anchors, tasks.presence, used, C)


def one_row_a_sample(scenario, rows=None) -> Space:
    """The space of `rows`, (N, anything), of the used samples."""
    (used,) = np.nonzero(is_used(scenario))
    rows = np.zeros((N, 1), np.float32) if rows is None else rows
    padded = np.zeros_like(rows)
    padded[: used.size] = rows[used]
    return Space(padded, np.pad(used, (0, N - used.size), constant_values=-1))
