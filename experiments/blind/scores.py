"""Three classifiers' scores of a space.

They are the paper's, ridge, and class means.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.linear_model import RidgeClassifier

import jatlas
from experiments.blind.cell import Cell
from experiments.measures import guesses

# (cell, rows, key) to (N,), the class that each row is taken for; -1 where it is none.
Classify = Callable[[Cell, np.ndarray, jax.Array], np.ndarray]
# Of ridge, as shares of the mean square of a feature, on as many rows as there are.
_STRENGTHS = tuple(10.0**power for power in range(-6, -1))


def fit(cell: Cell, rows: np.ndarray, key: jax.Array) -> jatlas.Probe:
    """The paper's probe, which learns from `train` and stops by `stop`."""
    return jatlas.fit_probe(
        key,
        jnp.asarray(rows),
        cell.labels,
        cell.num_classes,
        where=cell.train,
        validation=cell.stop,
    )


def logits(cell: Cell, rows: np.ndarray, key: jax.Array) -> np.ndarray:
    """(N, C), of the paper's probe."""
    space = jnp.asarray(rows)
    return np.asarray(jatlas.probe_logits(fit(cell, space, key), space))


def probe(cell: Cell, rows: np.ndarray, key: jax.Array) -> np.ndarray:
    """The paper's probe."""
    return guesses.likely(logits(cell, rows, key))


def ridge(cell: Cell, rows: np.ndarray, key: jax.Array) -> np.ndarray:
    """Ridge regression to the classes, as strong as is best on `stop`.

    It sees nothing but the linear span of a space.
    """
    del key
    x = np.float64(rows) - np.float64(rows)[cell.train].mean(axis=0)
    x /= np.sqrt(np.mean(x[cell.train] ** 2))
    candidates: list[tuple[float, np.ndarray]] = []
    for strength in _STRENGTHS:
        fitted = RidgeClassifier(alpha=strength * cell.train.sum())
        guess = fitted.fit(x[cell.train], cell.labels[cell.train]).predict(x)
        candidates.append((accuracy(cell, guess, cell.stop), guess))
    return max(candidates, key=lambda each: each[0])[1]


def class_means(cell: Cell, rows: np.ndarray, key: jax.Array) -> np.ndarray:
    """The class with the nearest mean.

    It sees where the classes lie, and no more.
    """
    del key
    space = jnp.asarray(rows)
    means = jatlas.probes.class_means(
        space, cell.labels, cell.num_classes, where=cell.train
    )
    return np.asarray(jatlas.probes.nearest_class_mean(means, space))


PROBES: dict[str, Classify] = {
    "probe": probe,
    "ridge": ridge,
    "class_means": class_means,
}


def accuracy(cell: Cell, guess: np.ndarray, rows: np.ndarray) -> float:
    """The share of these rows, (N,), that is guessed right."""
    return float((guess == cell.labels)[rows].mean())


def scored(cell: Cell, rows: np.ndarray, key: jax.Array) -> list[dict[str, Any]]:
    """A row for each classifier, and for each of `choose` and `test`."""
    of_parts = {"choose": cell.choose, "test": cell.test}
    return [
        {"probe": name, "part": part, "value": accuracy(cell, guess, where)}
        for name, classify in PROBES.items()
        for guess in [classify(cell, rows, key)]
        for part, where in of_parts.items()
    ]
