"""Metrics of each space: classifiers, CKA, and class geometry."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jatlas
from experiments.measures import guesses, task_embedding
from experiments.measures.clustering import clustering
from experiments.measures.protocols import Space, only, rows_of_test
from experiments.measures.splits import Cut
from experiments.runs import seeds
from jatlas.scenarios import Tasks

Values = dict[str, float]
# Of more test rows, what takes all pairs is measured on so many drawn at random: two
# seconds a number for 3,000, on two cores, half a minute for 10,000.
MOST_OF_PAIRS = 1000
# (key, rows, labels, C, and what `jatlas.fit_probe` takes by name) to the logits of all
# rows and the epoch that was kept.
Classifier = Callable[..., tuple[jax.Array, jax.Array]]


def probe(
    key: jax.Array,
    rows: jax.Array,
    labels: np.ndarray,
    num_classes: int,
    **options: Any,
) -> tuple[jax.Array, jax.Array]:
    """The paper's classifier, of any space."""
    fitted = jatlas.fit_probe(key, rows, labels, num_classes, **options)
    return jatlas.probe_logits(fitted, rows), fitted.best_epoch


def probe_with_task_embedding(
    key: jax.Array,
    rows: jax.Array,
    labels: np.ndarray,
    num_classes: int,
    **options: Any,
) -> tuple[jax.Array, jax.Array]:
    """The control's, of `original_abs_task_embedding`: learns what the tasks are."""
    fitted = task_embedding.fit(key, rows, labels, num_classes, num_classes, **options)
    return task_embedding.logits(fitted, rows), fitted.best_epoch


# The controls that know the task. Only their accuracies are measured: the other metrics
# would depend on the length that the task's part was given.
CONTROLS: dict[str, Classifier] = {
    "original_abs_task": probe,
    "original_abs_task_embedding": probe_with_task_embedding,
}


def compared_with(
    name: str, references: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The references of a space, without itself or repeated pairs."""
    without = {"original_rel": references.keys(), "original_abs": {"_original_abs"}}
    return {k: v for k, v in references.items() if k not in without.get(name, ())}


def key_of(seed: int) -> jax.Array:
    """The key of all classifiers of a seed."""
    return seeds.fold(jax.random.key(seed), seeds.CLASSIFIERS)


class Rows(NamedTuple):
    """A space on the device, with labels, 0 where padded."""

    rows: jax.Array
    sample: np.ndarray
    labels: np.ndarray


def on_device(space: Space, labels: np.ndarray) -> Rows:
    """A space's rows and their labels from (N,) labels."""
    of_rows = np.where(space.sample >= 0, labels[space.sample], 0).astype(np.int32)
    return Rows(jnp.asarray(space.rows), space.sample, of_rows)


def measure(
    space: Space,
    cuts: Mapping[str, Cut],
    references: Mapping[str, np.ndarray],
    labels: np.ndarray,
    tasks: Tasks,
    key: jax.Array,
    max_epochs: int,
    patience: int = 10,
    *,
    seed: int = 0,
) -> Values:
    """Every metric of one space.

    Args:
        space: the space.
        cuts: from `splits.cuts`: by the ending of the accuracies, the paper's under "".
        references: (N, anything) each, the spaces with which this one is compared, by
            the ending of these metrics.
        labels: (N,).
        tasks: which classes are shared; if some are and some are not, accuracies and
            CKA are also given for either.
        key: of the probes.
        max_epochs: the most epochs of a probe.
        patience: of a probe.
        seed: of k-means, and of the rows of what takes all pairs.
    """

    def class_means(parts: Cut) -> dict[tuple[str, str], float]:
        value = class_mean_accuracy(*_of_cut(space, parts, labels), tasks)
        return {("class_mean_accuracy", ""): value}

    of_test = on_device(rows_of_test(space, tasks), labels)
    return {
        **by_classifier(space, cuts, labels, tasks, key, max_epochs, patience),
        **_for_each_cut(cuts, class_means),
        **alignment(of_test, references, tasks, seed),
        **separability(of_test, tasks),
        **clusters(of_test, tasks, seed),
    }


def by_classifier(
    space: Space,
    cuts: Mapping[str, Cut],
    labels: np.ndarray,
    tasks: Tasks,
    key: jax.Array,
    max_epochs: int,
    patience: int = 10,
    *,
    classifier: Classifier = probe,
) -> Values:
    """The accuracies of one classifier, and their row counts and epochs.

    `classifier` is the paper's probe, or a control's own; all else as for `measure`.
    """

    def classify(parts: Cut) -> dict[tuple[str, str], float]:
        options = {"max_epochs": max_epochs, "patience": patience}
        rows, parts = _of_cut(space, parts, labels)
        return accuracies(rows, parts, tasks, key, classifier, **options)

    return _for_each_cut(cuts, classify)


def _of_cut(space: Space, parts: Cut, labels: np.ndarray) -> tuple[Rows, Cut]:
    """The rows in any part of a cut, and their cut."""
    chosen = np.any(parts, axis=0)
    rows = on_device(only(space, chosen, labels.size), labels)
    short = (0, len(rows.sample) - int(chosen.sum()))
    return rows, Cut(*(np.pad(part[chosen], short) for part in parts))


def accuracies(
    space: Rows,
    parts: Cut,
    tasks: Tasks,
    key: jax.Array,
    classifier: Classifier,
    **options: int,
) -> dict[tuple[str, str], float]:
    """A classifier's accuracies, row counts and epochs.

    By metric and group of classes.
    """
    logits, best_epoch = classifier(
        key,
        space.rows,
        space.labels,
        tasks.shared.size,
        where=parts.train,
        validation=parts.validation,
        **options,
    )
    guess = guesses.likely(np.asarray(logits))
    values = {
        ("accuracy", group): guesses.accuracy(guess, space.labels, parts.test & rows)
        for group, rows in _groups(tasks, space.labels).items()
    }
    values["scored_rows", ""] = float(parts.test.sum())
    values["probe_epochs", ""] = float(best_epoch) + 1
    return values


def class_mean_accuracy(space: Rows, parts: Cut, tasks: Tasks) -> float:
    """Accuracy of the nearest class mean of the probe's training rows."""
    means = jatlas.probes.class_means(
        space.rows, space.labels, tasks.shared.size, where=parts.train
    )
    nearest = np.asarray(jatlas.probes.nearest_class_mean(means, space.rows))
    return guesses.accuracy(nearest, space.labels, parts.test)


def alignment(
    space: Rows, references: Mapping[str, np.ndarray], tasks: Tasks, seed: int = 0
) -> Values:
    """How alike the space and the references are, on the test split.

    Linear CKA, each row being compared with its sample. Also RBF CKA, each kernel as
    wide as the median distance in its space by the rule of the paper's code, and the
    correlations of the self-similarities: of all pairs, and so on `MOST_OF_PAIRS` rows
    that are drawn where there are more. Not of two kinds of spaces: a jumble has
    several rows of a sample, and the rows of a concatenation are long.
    """
    values: Values = {}
    widest = max((r.shape[1] for r in references.values()), default=0)
    of_pairs = len(space.sample) <= tasks.test.sum() and space.rows.shape[1] <= widest
    real, some = space.sample >= 0, _drawn(space, MOST_OF_PAIRS, seed)
    for ending, reference in references.items():
        of_same = reference[space.sample]
        for group, rows in _groups(tasks, space.labels).items():
            value = jatlas.cka(space.rows, of_same, where=rows & real)
            values[f"cka{ending}{group}"] = float(value)
        by_pair = _of_pairs(some, reference, tasks) if of_pairs else {}
        for (metric, group), value in by_pair.items():
            values[f"{metric}{ending}{group}"] = value
    return values


def _of_pairs(
    space: Rows, reference: np.ndarray, tasks: Tasks
) -> dict[tuple[str, str], float]:
    """What takes all pairs of rows, by metric and group of classes."""
    pair, real = (space.rows, reference[space.sample]), space.sample >= 0
    values = {
        ("cka_rbf", group): jatlas.cka(*pair, where=rows & real, kernel="rbf")
        for group, rows in _groups(tasks, space.labels).items()
    }
    for method in ("pearson", "spearman", "cosine"):
        values[f"self_similarity_{method}", ""] = (
            jatlas.metrics.self_similarity_correlation(*pair, where=real, method=method)
        )
    return {name: float(value) for name, value in values.items()}


def _drawn(space: Rows, most: int, seed: int) -> Rows:
    """A sample of rows, alike for spaces of one order.

    If there are few it is all.
    """
    if len(space.sample) <= most:
        return space
    real = np.flatnonzero(space.sample >= 0)
    order = seeds.rng(seed, seeds.PAIRS).permutation(real.size)[:most]
    chosen = real[np.sort(order)]
    return Rows(space.rows[chosen], space.sample[chosen], space.labels[chosen])


def separability(space: Rows, tasks: Tasks) -> Values:
    """The mean over pairs of classes, on the test split.

    Where some classes are shared, over the paper's pairs: one of the two is not.
    """
    num_classes, shared = tasks.shared.size, tasks.shared
    apart = jatlas.separability(
        space.rows, space.labels, num_classes, where=space.sample >= 0
    )
    pairs = ~np.eye(num_classes, dtype=bool)
    if not shared.all():
        pairs &= ~(shared[:, None] & shared[None, :])
    return {"separability": float(np.asarray(apart)[pairs].mean())}


def clusters(space: Rows, tasks: Tasks, seed: int) -> Values:
    """What `clustering` finds on the test split."""
    real = space.sample >= 0
    rows = np.asarray(space.rows)[real]
    return clustering(rows, space.labels[real], tasks.shared.size, seed)


def _for_each_cut(
    cuts: Mapping[str, Cut], classify: Callable[[Cut], dict[tuple[str, str], float]]
) -> Values:
    """The values by cut ending, with equal cuts measured once."""
    measured: dict[str, dict[tuple[str, str], float]] = {}
    for ending, parts in cuts.items():
        same = [e for e in measured if all(map(np.array_equal, cuts[e], parts))]
        measured[ending] = measured[same[0]] if same else classify(parts)
    return {
        f"{metric}{ending}{group}": value
        for ending, values in measured.items()
        for (metric, group), value in values.items()
    }


def _groups(tasks: Tasks, labels: np.ndarray) -> dict[str, np.ndarray]:
    groups = {"": np.ones(labels.size, bool)}
    if tasks.shared.any() and not tasks.shared.all():
        shared = tasks.shared[labels]
        groups |= {"_shared": shared, "_novel": ~shared}
    return groups
