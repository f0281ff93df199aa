"""The paper's three scenarios: samples dealt to tasks by their labels.

All of it runs on the host, in NumPy. One axis of N samples holds training and test
samples together; a scenario says of each sample to which of M tasks it belongs.
"""

import numpy as np

from jatlas._src import arrays, border, dealing
from jatlas._src.arrays import AnyArray
from jatlas._src.dealing import Percentages, Tasks
from jatlas._src.seeds import Seed

__all__ = [
    "Tasks",
    "end_to_end",
    "part_shared_part_novel",
    "same_classes_disjoint_samples",
    "totally_disjoint",
]


@border.short
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
    """Scenario A: S classes in every task, and N others in each.

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
    samples = dealing.check_samples(key, labels, num_classes, test, validation_share)
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
    return dealing.dealt_tasks(samples, classes, classes[:, samples.labels], held_out)


@border.short
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
    """Scenario B: all classes in every task, in other proportions.

    No sample is in two tasks.

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
    samples = dealing.check_samples(key, labels, num_classes, test, validation_share)
    shares = dealing.check_shares(percentages, samples.num_classes)
    held_out = dealing.hold_out(samples, num_held_out)
    presence = np.zeros((len(shares), samples.labels.size), bool)
    for split in (~samples.test & ~held_out, samples.test):
        for name in range(samples.num_classes):
            members = np.flatnonzero(split & (samples.labels == name))
            counts = dealing.largest_remainder(
                samples.rng, members.size, shares[:, name]
            )
            owners = np.repeat(np.arange(len(shares)), counts)
            presence[samples.rng.permutation(owners), members] = True
    return dealing.dealt_tasks(samples, shares > 0, presence, held_out)


@border.short
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
    """Scenario C: the class range in M consecutive parts, one a task.

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
    samples = dealing.check_samples(key, labels, num_classes, test, validation_share)
    arrays.check_count("num_tasks", num_tasks, 2)
    part = dealing.check_parts(samples.num_classes, num_tasks, "num_tasks", equal)
    held_out = dealing.hold_out(samples, num_held_out)
    classes = part == np.arange(num_tasks)[:, None]
    presence = classes[:, samples.labels] & ~held_out
    return dealing.dealt_tasks(samples, classes, presence, held_out)


@border.short
def end_to_end(
    key: Seed,
    labels: AnyArray,
    *,
    num_classes: int | None = None,
    test: AnyArray | None = None,
    validation_share: int | float = 0.1,
) -> Tasks:
    """The reference, "task 0": one task of all classes and samples.

    None is held out.

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
    samples = dealing.check_samples(key, labels, num_classes, test, validation_share)
    everything = np.ones((1, samples.labels.size), bool)
    classes = np.ones((1, samples.num_classes), bool)
    return dealing.dealt_tasks(
        samples, classes, everything, np.zeros_like(samples.test)
    )
