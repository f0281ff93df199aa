"""M tasks over N samples, dealt in NumPy on the host."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from jatlas._src import arrays
from jatlas._src.arrays import AnyArray
from jatlas._src.border import on_host
from jatlas._src.seeds import Seed, generator

Percentages = Sequence[Sequence[int | float]]


class Tasks(NamedTuple):
    """M tasks over N samples of C classes.

    Attributes:
        classes: (M, C), the classes of each task.
        shared: (C,), the classes that every task has.
        presence: (M, N), the samples of each task, be they for training, validation or
            test: what the protocol `oracle` knows. Held-out samples are in no task.
        seen: (M, N), the samples that the task's chart is trained on: those of the task
            but for validation and test.
        validation: (M, N), the samples by which the task's chart stops early.
        held_out: (N,), training samples kept from every task, to be anchors.
        test: (N,), the test split.
    """

    classes: Bool[np.ndarray, "M C"]
    shared: Bool[np.ndarray, " C"]
    presence: Bool[np.ndarray, "M N"]
    seen: Bool[np.ndarray, "M N"]
    validation: Bool[np.ndarray, "M N"]
    held_out: Bool[np.ndarray, " N"]
    test: Bool[np.ndarray, " N"]


class Samples(NamedTuple):
    """What all scenarios start from; `priority` is for the validation rule."""

    rng: np.random.Generator
    priority: Float[np.ndarray, " N"]
    labels: Integer[np.ndarray, " N"]
    test: Bool[np.ndarray, " N"]
    num_classes: int
    validation_share: float


def check_samples(
    key: Seed,
    labels: AnyArray,
    num_classes: int | None,
    test: AnyArray | None,
    validation_share: float,
) -> Samples:
    """The arguments that all scenarios take, checked."""
    arrays.check_on_host("a scenario", key=key, labels=labels, test=test)
    labels = on_host("labels", labels)
    if not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1:
        raise ValueError(
            "labels must be a vector of integers 0..C-1, (N,); got "
            f"{labels.dtype}{labels.shape}."
        )
    if labels.size == 0:
        raise ValueError("there are no samples: labels is empty, (0,).")
    if num_classes is None:
        num_classes = int(labels.max()) + 1
    advice = "Number the classes from 0, or give the right num_classes."
    arrays.check_labels(labels, labels.size, num_classes, advice=advice)
    test = np.zeros(labels.shape, bool) if test is None else on_host("test", test)
    arrays.check_mask("test", test, labels.shape, "(N,)")
    if not 0 <= validation_share < 1:
        raise ValueError(
            f"validation_share must lie in [0, 1), got {validation_share}."
        )
    missing = np.flatnonzero(np.bincount(labels[~test], minlength=num_classes) == 0)
    if missing.size:
        raise ValueError(
            f"{missing.size} of {num_classes} classes have no training sample: "
            f"{missing[:10].tolist()}. Number the classes 0..C-1 without gaps."
        )
    rng = generator(key)
    # The first draw, so that it is the same in every scenario.
    priority = rng.random(labels.size)
    return Samples(rng, priority, labels, test, num_classes, validation_share)


def dealt_tasks(
    samples: Samples,
    classes: Bool[np.ndarray, "M C"],
    presence: Bool[np.ndarray, "M N"],
    held_out: Bool[np.ndarray, " N"],
) -> Tasks:
    """Validation set apart, and nothing left without training samples."""
    validation = np.zeros_like(presence)
    for training, chosen in zip(presence & ~samples.test, validation, strict=True):
        members = np.flatnonzero(training)
        size = round(samples.validation_share * members.size)
        first = np.argsort(samples.priority[members], kind="stable")[:size]
        chosen[members[first]] = True
    seen = presence & ~samples.test & ~validation
    for m, (task_classes, trained) in enumerate(zip(classes, seen, strict=True)):
        left = np.bincount(samples.labels[trained], minlength=samples.num_classes)
        missing = np.flatnonzero(task_classes & (left == 0))
        if missing.size:
            raise ValueError(
                f"task {m} has no training sample left of {missing.size} of its "
                f"{task_classes.sum()} classes: {missing[:10].tolist()}. Of "
                f"{(~samples.test).sum()} training samples {held_out.sum()} are held "
                f"out, and validation_share={samples.validation_share:g}; give more "
                "samples, or keep fewer from training."
            )
    shared = np.all(classes, axis=0)
    return Tasks(classes, shared, presence, seen, validation, held_out, samples.test)


def hold_out(samples: Samples, num_held_out: int) -> Bool[np.ndarray, " N"]:
    """A mask of so many training samples, drawn uniformly."""
    arrays.check_count("num_held_out", num_held_out, 0)
    training = np.flatnonzero(~samples.test)
    if num_held_out > training.size:
        raise ValueError(
            f"cannot hold out {num_held_out} of {training.size} training samples; hold "
            "out fewer."
        )
    held_out = np.zeros_like(samples.test)
    held_out[samples.rng.permutation(training)[:num_held_out]] = True
    return held_out


def check_shares(
    percentages: Percentages, num_classes: int
) -> Float[np.ndarray, "M C"]:
    """Each task's percentage of each class."""
    if len({np.shape(row) for row in percentages}) != 1:
        raise ValueError(
            "percentages must have rows of one length, a row a task; got "
            f"{percentages}."
        )
    table = np.asarray(percentages, np.float64)
    if table.ndim != 2 or len(table) < 2 or table.shape[1] < 1:
        raise ValueError(
            "percentages must have 2 rows or more, one a task, and a column a part of "
            f"the class range; got the shape {table.shape}. `end_to_end` is one task."
        )
    sums = table.sum(axis=0)
    if not (table >= 0).all() or not np.allclose(sums, 100, rtol=0, atol=1e-6):
        raise ValueError(
            "percentages must not be negative, and each column must add up to 100; got "
            f"{table.tolist()}, whose columns add up to {sums.tolist()}."
        )
    if not table.any(axis=1).all():
        raise ValueError(f"a task gets 0 per cent of all classes: {table.tolist()}.")
    part = check_parts(num_classes, table.shape[1], "the columns of percentages")
    return table[:, part]


def check_parts(
    num_classes: int, num_parts: int, what: str, equal: bool = True
) -> Int[np.ndarray, " C"]:
    """The part of each class, the range cut into consecutive parts."""
    left = num_classes % num_parts
    if num_parts > num_classes or (equal and left):
        allowed = f"divide {num_classes}" if equal else f"be {num_classes} or fewer"
        raise ValueError(
            f"{num_classes} classes cannot be cut into {num_parts} "
            f"{'equal parts' if equal else 'parts'}; {what} must {allowed}."
        )
    sizes = np.full(num_parts, num_classes // num_parts)
    sizes[:left] += 1
    return np.repeat(np.arange(num_parts), sizes)


def largest_remainder(
    rng: np.random.Generator, size: int, percentages: Float[np.ndarray, " M"]
) -> Int[np.ndarray, " M"]:
    """Whole numbers that add up to `size`, each near its percentage."""
    quotas = size * percentages / 100
    counts = np.floor(quotas).astype(int)
    left = size - counts.sum()
    lots = rng.random(len(quotas))
    # Rounded, lest the last bit of a product decide between equal fractions.
    largest = np.lexsort((lots, -np.round(quotas - counts, 9)))[:left]
    counts[largest] += 1
    return counts
