"""The three scenarios: labels to tasks, presence, and what each chart has seen.

All of it runs on the host, in NumPy. One axis of N samples holds training and test
samples together; a scenario says of each sample to which of M tasks it belongs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from jatlas._src import arrays
from jatlas._src.arrays import AnyArray
from jatlas._src.border import on_host
from jatlas._src.seeds import Seed, generator
from jatlas._src.tasks import Tasks

__all__ = [
    "Tasks",
    "end_to_end",
    "part_shared_part_novel",
    "same_classes_disjoint_samples",
    "totally_disjoint",
]

Percentages = Sequence[Sequence[int | float]]


class _Samples(NamedTuple):
    """What all scenarios start from; `priority` is the u of the validation rule."""

    rng: np.random.Generator
    priority: Float[np.ndarray, " N"]
    labels: Integer[np.ndarray, " N"]
    test: Bool[np.ndarray, " N"]
    num_classes: int
    validation_share: float


def part_shared_part_novel(
    key: Seed,
    labels: AnyArray,
    *,
    num_shared: int,
    num_novel: int,
    num_classes: int | None = None,
    test: AnyArray | None = None,
    validation_share: int | float = 0.1,
) -> Tasks:
    """Scenario A: S classes in every task, and N more in each, different ones.

    M = (C - S) / N tasks. The shared classes are drawn at random, the novel ones dealt
    to the tasks without replacement. A task has every sample of its classes, so that
    samples of the shared classes are in every task. None is held out: the anchors are
    samples that every chart was trained on, `anchor_pool(tasks.seen, "shared")`.

    Validation, in every scenario: one number u is drawn for each sample, and of a
    task's training samples those with the lowest u are its validation set, exactly
    round(validation_share * size) of them. As the tasks go by the same u, a sample in
    several tasks is, nearly always, for validation in all or in none. Were each task to
    draw its own, the samples that every chart was trained on would shrink by the factor
    (1 - validation_share) with each task. The same key and labels give the same u in
    every scenario and in `end_to_end`.

    The paper puts validation samples back before the analysis of this scenario:
    `presence` holds both, `seen` what the charts were trained on.

    Args:
        key: a JAX key or an integer seed.
        labels: (N,), integers in 0..C-1.
        num_shared: S, 0 or more.
        num_novel: N, 1 or more.
        num_classes: C; the largest label and one if None.
        test: (N,), boolean, the test samples; none if None. They are dealt by the same
            rule and take no part in anything else.
        validation_share: the part of a task's training samples that is for validation,
            in [0, 1).

    Returns:
        A `Tasks`.

    Raises:
        ValueError: if (C - S) / N is not a whole number, 2 or more; if labels are not
            integers in 0..C-1; if test or validation_share are not as said; if a class
            has no training sample, or a task none left of one of its classes.

    Example:
        >>> import numpy as np
        >>> labels = np.repeat(np.arange(6), 20)
        >>> tasks = part_shared_part_novel(0, labels, num_shared=2, num_novel=2)
        >>> tasks.presence.sum(axis=1), tasks.seen.sum(axis=1)
        (array([80, 80]), array([72, 72]))

    Source: Crisostomi et al., "From Charts to Atlas" (2023), section 4.
    """
    samples = _samples(key, labels, num_classes, test, validation_share)
    arrays.check_count("num_shared", num_shared, 0)
    arrays.check_count("num_novel", num_novel, 1)
    num_classes = samples.num_classes
    num_tasks, left = divmod(num_classes - num_shared, num_novel)
    if left or num_tasks < 2:
        raise ValueError(
            f"{num_shared} shared classes and {num_novel} novel ones a task must fill "
            f"{num_classes} classes with 2 tasks or more; the number of tasks would be "
            f"({num_classes} - {num_shared}) / {num_novel} = "
            f"{(num_classes - num_shared) / num_novel:g}."
        )
    drawn = samples.rng.permutation(num_classes)
    novel = drawn[num_shared:].reshape(num_tasks, num_novel)
    classes = np.zeros((num_tasks, num_classes), bool)
    classes[:, drawn[:num_shared]] = True
    np.put_along_axis(classes, novel, True, axis=1)
    held_out = np.zeros_like(samples.test)
    return _tasks(samples, classes, classes[:, samples.labels], held_out)


def same_classes_disjoint_samples(
    key: Seed,
    labels: AnyArray,
    *,
    percentages: Percentages = ((80, 20), (20, 80)),
    num_held_out: int,
    num_classes: int | None = None,
    test: AnyArray | None = None,
    validation_share: int | float = 0.1,
) -> Tasks:
    """Scenario B: every task has all classes, in other proportions; no sample twice.

    The class range is cut into equal consecutive parts. Of every class in part p, task
    m gets `percentages[m][p]` per cent of the training samples and of the test samples,
    drawn at random. The counts are the nearest that add up: rounded down, and what is
    left goes to the largest fractions, of equal ones by lot.

    The anchors are training samples held out of every task before the deal. Validation
    is as in `part_shared_part_novel`.

    Args:
        key: a JAX key or an integer seed.
        labels: (N,), integers in 0..C-1.
        percentages: one row a task, one column a part of the class range; each column
            adds up to 100. In the paper two tasks and two halves.
        num_held_out: how many training samples are held out, drawn uniformly.
        num_classes: C; the largest label and one if None. The parts must divide it.
        test: (N,), boolean, the test samples; none if None.
        validation_share: the part of a task's training samples that is for validation,
            in [0, 1).

    Returns:
        A `Tasks`; each sample is present in one task, or held out. A task lacks the
        classes of a part of which it gets 0 per cent.

    Raises:
        ValueError: if the percentages have rows of different lengths, are negative, do
            not add up to 100 or describe fewer than two tasks; if the parts do not
            divide C; if more samples are to be held out than there are for training; if
            labels are not integers in 0..C-1; if test or validation_share are not as
            said; if a class has no training sample, or a task none left of one of its
            classes.

    Example:
        >>> import numpy as np
        >>> labels = np.repeat(np.arange(2), 50)
        >>> tasks = same_classes_disjoint_samples(0, labels, num_held_out=0)
        >>> tasks.presence[:, labels == 0].sum(axis=1)
        array([40, 10])

    Source: Crisostomi et al., "From Charts to Atlas" (2023), section 4.
    """
    samples = _samples(key, labels, num_classes, test, validation_share)
    shares = _shares(percentages, samples.num_classes)
    held_out = _hold_out(samples, num_held_out)
    presence = np.zeros((len(shares), samples.labels.size), bool)
    for split in (~samples.test & ~held_out, samples.test):
        for name in range(samples.num_classes):
            own = np.flatnonzero(split & (samples.labels == name))
            counts = _largest_remainder(samples.rng, own.size, shares[:, name])
            owners = np.repeat(np.arange(len(shares)), counts)
            presence[samples.rng.permutation(owners), own] = True
    return _tasks(samples, shares > 0, presence, held_out)


def totally_disjoint(
    key: Seed,
    labels: AnyArray,
    *,
    num_tasks: int,
    num_held_out: int,
    equal: bool = True,
    num_classes: int | None = None,
    test: AnyArray | None = None,
    validation_share: int | float = 0.1,
) -> Tasks:
    """Scenario C: the class range cut into M equal consecutive parts, one a task.

    A task has every sample of its classes but those held out, which are drawn over all
    classes before, to be the anchors. Validation is as in `part_shared_part_novel`.

    Args:
        key: a JAX key or an integer seed.
        labels: (N,), integers in 0..C-1.
        num_tasks: M, 2 or more.
        num_held_out: how many training samples are held out, drawn uniformly.
        equal: whether M must divide C. If not, as where the paper cuts 100 classes into
            3, the first tasks have one class more than the others.
        num_classes: C; the largest label and one if None.
        test: (N,), boolean, the test samples; none if None.
        validation_share: the part of a task's training samples that is for validation,
            in [0, 1).

    Returns:
        A `Tasks`; each sample is present in one task, or held out. No class is shared.

    Raises:
        ValueError: if M is below 2, above C, or, the parts to be equal, does not divide
            C; if more samples are to be held out than there are for training; if labels
            are not integers in 0..C-1; if test or validation_share are not as said; if
            a class has no training sample, or a task none left of one of its classes.

    Example:
        >>> import numpy as np
        >>> labels = np.repeat(np.arange(4), 10)
        >>> tasks = totally_disjoint(0, labels, num_tasks=2, num_held_out=4)
        >>> tasks.classes.astype(int)
        array([[1, 1, 0, 0],
               [0, 0, 1, 1]])
        >>> int(tasks.presence.sum()), int(tasks.held_out.sum())
        (36, 4)

    Source: Crisostomi et al., "From Charts to Atlas" (2023), section 4.
    """
    samples = _samples(key, labels, num_classes, test, validation_share)
    arrays.check_count("num_tasks", num_tasks, 2)
    part = _parts(samples.num_classes, num_tasks, "num_tasks", equal)
    held_out = _hold_out(samples, num_held_out)
    classes = part == np.arange(num_tasks)[:, None]
    presence = classes[:, samples.labels] & ~held_out
    return _tasks(samples, classes, presence, held_out)


def end_to_end(
    key: Seed,
    labels: AnyArray,
    *,
    num_classes: int | None = None,
    test: AnyArray | None = None,
    validation_share: int | float = 0.1,
) -> Tasks:
    """The reference, "task 0": one task of all classes and all samples, none held out.

    Args:
        key: a JAX key or an integer seed. With the key of a scenario, most validation
            samples of its tasks are for validation here too.
        labels: (N,), integers in 0..C-1.
        num_classes: C; the largest label and one if None.
        test: (N,), boolean, the test samples; none if None.
        validation_share: the part of the training samples that is for validation, in
            [0, 1).

    Returns:
        A `Tasks` with M = 1.

    Raises:
        ValueError: if labels are not integers in 0..C-1; if test or validation_share
            are not as said; if a class has no training sample, or none is left.

    Example:
        >>> import numpy as np
        >>> end_to_end(0, np.repeat(np.arange(2), 10)).seen.sum(axis=1)
        array([18])

    Source: Crisostomi et al., "From Charts to Atlas" (2023), section 4.
    """
    samples = _samples(key, labels, num_classes, test, validation_share)
    everything = np.ones((1, samples.labels.size), bool)
    classes = np.ones((1, samples.num_classes), bool)
    return _tasks(samples, classes, everything, np.zeros_like(samples.test))


def _samples(
    key: Seed,
    labels: AnyArray,
    num_classes: int | None,
    test: AnyArray | None,
    validation_share: float,
) -> _Samples:
    """The arguments that all scenarios take, checked."""
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
    arrays.check_labels(labels, labels.size, num_classes)
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
    return _Samples(rng, priority, labels, test, num_classes, validation_share)


def _tasks(
    samples: _Samples,
    classes: Bool[np.ndarray, "M C"],
    presence: Bool[np.ndarray, "M N"],
    held_out: Bool[np.ndarray, " N"],
) -> Tasks:
    """Validation set apart, and nothing left without training samples."""
    validation = np.zeros_like(presence)
    for own, chosen in zip(presence & ~samples.test, validation, strict=True):
        members = np.flatnonzero(own)
        size = round(samples.validation_share * members.size)
        first = np.argsort(samples.priority[members], kind="stable")[:size]
        chosen[members[first]] = True
    seen = presence & ~samples.test & ~validation
    for m, (own, trained) in enumerate(zip(classes, seen, strict=True)):
        left = np.bincount(samples.labels[trained], minlength=samples.num_classes)
        missing = np.flatnonzero(own & (left == 0))
        if missing.size:
            raise ValueError(
                f"task {m} has no training sample left of {missing.size} of its "
                f"{own.sum()} classes: {missing[:10].tolist()}. Of "
                f"{(~samples.test).sum()} training samples {held_out.sum()} are held "
                f"out, and validation_share={samples.validation_share:g}; give more "
                "samples, or keep fewer from training."
            )
    shared = np.all(classes, axis=0)
    return Tasks(classes, shared, presence, seen, validation, held_out, samples.test)


def _hold_out(samples: _Samples, num_held_out: int) -> Bool[np.ndarray, " N"]:
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


def _shares(percentages: Percentages, num_classes: int) -> Float[np.ndarray, "M C"]:
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
    part = _parts(num_classes, table.shape[1], "the columns of percentages")
    return table[:, part]


def _parts(
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


def _largest_remainder(
    rng: np.random.Generator, size: int, percentages: Float[np.ndarray, " M"]
) -> Int[np.ndarray, " M"]:
    """Whole numbers that add up to `size`, each within one of its percentage of it."""
    quotas = size * percentages / 100
    counts = np.floor(quotas).astype(int)
    left = size - counts.sum()
    lots = rng.random(len(quotas))
    # Rounded, lest the last bit of a product decide between equal fractions.
    largest = np.lexsort((lots, -np.round(quotas - counts, 9)))[:left]
    counts[largest] += 1
    return counts
