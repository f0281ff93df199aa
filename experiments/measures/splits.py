"""Splits of a space's rows for training, stopping and scoring."""

from typing import NamedTuple

import numpy as np

from experiments.measures.protocols import Space, of_test_split
from experiments.runs import seeds
from jatlas.scenarios import Tasks


class Cut(NamedTuple):
    """The probe's training, stopping and scoring rows; each (R,)."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def cuts(seed: int, space: Space, tasks: Tasks, *, on_test: bool) -> dict[str, Cut]:
    """All cuts of one space, by their metrics' ending.

    Args:
        seed: draws who is in which part; spaces of the same samples are cut alike.
        space: the space.
        tasks: which samples are of the test split.
        on_test: as in scenario A, where the paper's probe learns from the test split;
            there are then two more: `_leakfree` and, unless the space has more than
            four rows a sample (the probe would take minutes), `_train_split`.

    Returns:
        The paper's cut under the ending "".
    """
    if not on_test:
        return {"": training_split(seed, space, tasks)}
    splits = {
        "": by_rows(seed, space, tasks),
        "_leakfree": by_samples(seed, space, tasks),
    }
    if len(space.sample) <= 4 * tasks.test.size:
        splits["_train_split"] = training_split(seed, space, tasks)
    return splits


def by_rows(seed: int, space: Space, tasks: Tasks) -> Cut:
    """The paper's split in A: test rows, 70 / 15 / 15.

    Where a sample has several rows, they may lie on both sides. Where none has, it is
    `by_samples`: all such spaces are cut alike, whatever the order of their rows.
    """
    real = space.sample[space.sample >= 0]
    if np.unique(real).size == real.size:
        return by_samples(seed, space, tasks)
    rng = seeds.rng(seed, seeds.CUT_ROWS)
    rows = rng.permutation(np.flatnonzero(of_test_split(space, tasks)))
    return _cut(space.sample.size, _in_three(rows))


def by_samples(seed: int, space: Space, tasks: Tasks) -> Cut:
    """The test samples split 70 / 15 / 15.

    All rows of one sample are on one side.
    """
    test = of_test_split(space, tasks)
    return _of_samples(space, _in_three(_drawn(seed, space.sample[test], tasks)))


def training_split(seed: int, space: Space, tasks: Tasks) -> Cut:
    """The paper's split in B and C: train and test splits.

    A tenth of the training samples is for validation, with all rows of each.
    """
    test = of_test_split(space, tasks)
    order = _drawn(seed, space.sample[(space.sample >= 0) & ~test], tasks)
    tenth = order.size // 10
    return _of_samples(space, [order[tenth:], order[:tenth], space.sample[test]])


def _drawn(seed: int, samples: np.ndarray, tasks: Tasks) -> np.ndarray:
    """These samples in an order that depends only on the seed."""
    priority = seeds.rng(seed, seeds.CUT).random(tasks.test.size)
    samples = np.unique(samples)
    return samples[np.argsort(priority[samples])]


def _in_three(order: np.ndarray) -> list[np.ndarray]:
    return np.split(order, [int(0.70 * order.size), int(0.85 * order.size)])


def _of_samples(space: Space, parts: list[np.ndarray]) -> Cut:
    return Cut(*(np.isin(space.sample, part) for part in parts))


def _cut(num_rows: int, parts: list[np.ndarray]) -> Cut:
    return Cut(*(np.isin(np.arange(num_rows), part) for part in parts))
