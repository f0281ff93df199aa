"""The spaces to be compared, and what is measured on each of them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jatlas
from jatlas.tasks import Tasks

Values = dict[str, float]


class Space(NamedTuple):
    """Rows of one space, padded to a multiple of N so that few shapes are compiled.

    Attributes:
        rows: (R, A); zero where padded.
        sample: (R,), which of the N samples a row is of; -1 where padded.
    """

    rows: np.ndarray
    sample: np.ndarray


class Cut(NamedTuple):
    """The rows that a probe learns from, stops by, and is scored on; each (R,)."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


class Embedded(NamedTuple):
    """All that the spaces are made of.

    Attributes:
        reference: (N, D), the end-to-end chart's embeddings.
        charts: (M, N, D), the task charts'.
        anchors: (A,), indices into the samples.
        presence: (M, N), the samples of each task.
        used: (N,), the samples to be compared, all of which are in some task.
        num_classes: C.
    """

    reference: np.ndarray
    charts: np.ndarray
    anchors: np.ndarray
    presence: np.ndarray
    used: np.ndarray
    num_classes: int


def reference_spaces(embedded: Embedded) -> dict[str, Space]:
    """The end-to-end space, and its relative representation: alike in all protocols."""
    reference = embedded.reference
    return {
        "original_abs": _of_samples(reference, embedded.used),
        "original_rel": _of_samples(relative_reference(embedded), embedded.used),
    }


def oracle_spaces(embedded: Embedded) -> dict[str, Space]:
    """The paper's protocol: each sample is embedded by the charts of its own tasks."""
    presence, used = embedded.presence, embedded.used
    chart, sample = np.nonzero(presence & used)
    return {
        "jumble_abs": _space(embedded.charts[chart, sample], sample, used.size),
        "merged": _of_samples(_merged(embedded, presence), used),
        "original_abs_task": _of_samples(
            _with_task(embedded.reference, presence, embedded.num_classes), used
        ),
    }


def blind_spaces(embedded: Embedded) -> dict[str, Space]:
    """Nothing is known of a sample: every chart embeds every sample."""
    used, charts = embedded.used, embedded.charts
    everywhere = np.ones_like(embedded.presence)
    return {
        "mean_abs": _of_samples(charts.mean(axis=0), used),
        "concat_abs": _of_samples(np.concatenate(charts, axis=1), used),
        "merged": _of_samples(_merged(embedded, everywhere), used),
    }


def relative_reference(embedded: Embedded) -> np.ndarray:
    """(N, A), the end-to-end chart's relative representation."""
    reference = embedded.reference
    return np.asarray(jatlas.relativize(reference, reference[embedded.anchors]))


def of_test_split(space: Space, tasks: Tasks) -> np.ndarray:
    """(R,), the rows of samples of the test split."""
    return (space.sample >= 0) & tasks.test[space.sample]


def cut(seed: int, space: Space, tasks: Tasks, on_test: bool) -> Cut:
    """Which rows a probe gets.

    In scenario A (`on_test`) the paper cuts the rows of the test split 70 / 15 / 15,
    those of one sample each by itself; in B and C it learns from the training split, a
    tenth of which is for validation, and is tested on the test split. Where no sample
    has more than one row, all spaces are cut alike, whatever the order of their rows.
    """
    test = of_test_split(space, tasks)
    rng = np.random.default_rng([seed, 3])
    priority = rng.random(tasks.test.size)[space.sample]
    real = space.sample[space.sample >= 0]
    if np.unique(real).size < real.size:
        priority = rng.random(space.sample.size)

    def in_order(rows: np.ndarray) -> np.ndarray:
        chosen = np.flatnonzero(rows)
        return chosen[np.argsort(priority[chosen])]

    if on_test:
        order = in_order(test)
        first, second = int(0.70 * order.size), int(0.85 * order.size)
        parts = order[:first], order[first:second], order[second:]
    else:
        order = in_order((space.sample >= 0) & ~test)
        tenth = order.size // 10
        parts = order[tenth:], order[:tenth], np.flatnonzero(test)
    return Cut(*(np.isin(np.arange(test.size), part) for part in parts))


def measure(
    space: Space,
    parts: Cut,
    relative: np.ndarray | None,
    labels: np.ndarray,
    tasks: Tasks,
    key: jax.Array,
    max_epochs: int,
    patience: int = 10,
    *,
    probe_only: bool = False,
) -> Values:
    """Every metric of one space.

    Args:
        space: the space.
        parts: from `cut`.
        relative: (N, A), `original_rel`, with which the space is compared by CKA; None
            for itself.
        labels: (N,).
        tasks: which classes are shared; if some are and some are not, the metrics are
            also given for either.
        key: of the probe.
        max_epochs: the most epochs of the probe.
        patience: of the probe.
        probe_only: leave out what is not the probe's. Of the control that is told the
            task, the other metrics say how long its one-hot was made.
    """
    # On the device, once.
    space = space._replace(rows=jnp.asarray(space.rows))
    row_labels = np.where(space.sample >= 0, labels[space.sample], 0).astype(np.int32)
    of_probe = probe_accuracy(
        space, parts, row_labels, tasks, key, max_epochs, patience
    )
    if probe_only:
        return of_probe
    return {
        **of_probe,
        **class_mean_accuracy(space, parts, row_labels, tasks),
        **({} if relative is None else alignment(space, relative, row_labels, tasks)),
        **separability(space, row_labels, tasks),
    }


def probe_accuracy(
    space: Space,
    parts: Cut,
    labels: np.ndarray,
    tasks: Tasks,
    key: jax.Array,
    max_epochs: int,
    patience: int = 10,
) -> Values:
    """The probe's accuracy, on how many rows it is, and after how many epochs."""
    probe = jatlas.fit_probe(
        key,
        space.rows,
        labels,
        tasks.shared.size,
        where=parts.train,
        validation=parts.validation,
        max_epochs=max_epochs,
        patience=patience,
    )
    logits = np.asarray(jatlas.probe_logits(probe, space.rows))
    likely = np.where(np.isnan(logits).any(axis=1), -1, logits.argmax(axis=1))
    values = {
        f"accuracy{suffix}": _accuracy(likely, labels, parts.test & rows)
        for suffix, rows in _groups(tasks, labels).items()
    }
    values["scored_rows"] = float(parts.test.sum())
    values["probe_epochs"] = float(probe.best_epoch) + 1
    return values


def class_mean_accuracy(
    space: Space, parts: Cut, labels: np.ndarray, tasks: Tasks
) -> Values:
    """Of the nearest class mean, that of the rows that the probe learns from."""
    num_classes = tasks.shared.size
    means = jatlas.class_means(space.rows, labels, num_classes, where=parts.train)
    nearest = np.asarray(jatlas.nearest_class_mean(means, space.rows))
    return {"class_mean_accuracy": _accuracy(nearest, labels, parts.test)}


def alignment(
    space: Space, relative: np.ndarray, labels: np.ndarray, tasks: Tasks
) -> Values:
    """Linear CKA with the end-to-end chart's relative space, on the test split."""
    test, of_same = of_test_split(space, tasks), relative[space.sample]
    return {
        f"cka{suffix}": float(jatlas.cka(space.rows, of_same, where=test & rows))
        for suffix, rows in _groups(tasks, labels).items()
    }


def separability(space: Space, labels: np.ndarray, tasks: Tasks) -> Values:
    """The mean over pairs of classes, on the test split.

    Where some classes are shared, over the paper's pairs: one of the two is not.
    """
    num_classes, shared = tasks.shared.size, tasks.shared
    apart = jatlas.separability(
        space.rows, labels, num_classes, where=of_test_split(space, tasks)
    )
    pairs = ~np.eye(num_classes, dtype=bool)
    if not shared.all():
        pairs &= ~(shared[:, None] & shared[None, :])
    return {"separability": float(np.asarray(apart)[pairs].mean())}


def _accuracy(guess: np.ndarray, labels: np.ndarray, scored: np.ndarray) -> float:
    """The share that is right; NaN of no rows, or if there is no guess (-1) for one."""
    known = scored.any() and (guess[scored] >= 0).all()
    return float((guess == labels)[scored].mean()) if known else float("nan")


def _groups(tasks: Tasks, labels: np.ndarray) -> dict[str, np.ndarray]:
    groups = {"": np.ones(labels.size, bool)}
    if tasks.shared.any() and not tasks.shared.all():
        shared = tasks.shared[labels]
        groups |= {"_shared": shared, "_novel": ~shared}
    return groups


def _merged(embedded: Embedded, presence: np.ndarray) -> np.ndarray:
    charts = embedded.charts
    return np.asarray(jatlas.merge(charts, charts[:, embedded.anchors], presence))


def _with_task(
    reference: np.ndarray, presence: np.ndarray, num_classes: int
) -> np.ndarray:
    """The control: the embedding, and which tasks the sample is in.

    The one-hot (of a sample in several tasks, as many ones) is as long as an embedding
    is on the average, which favours the control: a single one among 128 features of
    that size is learnt late, and a control must get every chance. It has a place for C
    tasks, however many there are: one program then serves all settings.
    """
    scale = np.sqrt(np.mean(np.sum(reference**2, axis=1)))
    task = np.zeros((reference.shape[0], num_classes), np.float32)
    task[:, : len(presence)] = scale * presence.T
    return np.concatenate([reference, task], axis=1)


def _of_samples(rows: np.ndarray, used: np.ndarray) -> Space:
    """The space of one row a sample."""
    (sample,) = np.nonzero(used)
    return _space(rows[sample], sample, used.size)


def _space(rows: np.ndarray, sample: np.ndarray, multiple: int) -> Space:
    short = -len(sample) % multiple
    return Space(
        np.pad(rows, ((0, short), (0, 0))),
        np.pad(sample, (0, short), constant_values=-1),
    )
