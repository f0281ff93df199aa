"""Trust in the merged space: calibration, doubts, unknown classes."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.metrics import roc_auc_score

import jatlas
from experiments.blind import scores, spaces
from experiments.blind.cell import Cell
from experiments.blind.methods import METHODS
from experiments.measures import guesses

Values = dict[str, Any]
DOUBTS = ("probability", "disagreement", "residual")
_BINS = 15  # of the expected calibration error
# Shares of the samples at which the risk-coverage curves are read.
COVERAGE = tuple(np.linspace(0.05, 1.0, 20).round(2).tolist())


def measured(cell: Cell, width: int, key: jax.Array) -> Values:
    """Calibration and error prediction on the test split.

    Args:
        cell: charts and samples.
        width: of the atlas with evidence.
        key: of anchors, evidence and probe.

    Returns:
        Calibration before and after; for each doubt (`doubts`) the area under the ROC
        curve of telling errors from hits, and the risk at each coverage; and, where a
        class can be kept from all charts, that of telling unknown samples from known.
    """
    logits = _logits(cell, width, key)
    # By other rows than those that the probe has stopped by.
    factor = fit_temperature(logits[cell.choose], cell.labels[cell.choose])
    plain, calibrated = _softmax(logits), _softmax(logits * factor)
    test, labels = cell.test, cell.labels[cell.test]
    wrong = guesses.likely(logits)[test] != labels
    doubt_scores = {
        name: doubt[test]
        for name, doubt in doubts(cell, calibrated, width, key).items()
    }
    return {
        "temperature": 1 / factor,
        "calibration_error": calibration_error(plain[test], labels),
        "calibration_error_scaled": calibration_error(calibrated[test], labels),
        "errors_found": {
            name: area(wrong, doubt) for name, doubt in doubt_scores.items()
        },
        "risk": {name: risks(wrong, doubt) for name, doubt in doubt_scores.items()},
        "unknown_found": unknown(cell, width, key),
    }


def doubts(
    cell: Cell, probabilities: np.ndarray, width: int, key: jax.Array
) -> dict[str, np.ndarray]:
    """Scores of doubt, each (N,), larger for less trusted samples.

    Args:
        cell: charts and samples.
        probabilities: (N, C), of the probe.
        width: of the atlas.
        key: of its anchors.

    Returns:
        probability: one less that of the most likely class. disagreement: of the
        whitened charts' relative representations. residual: 1 - |z(x)|^2, z being
        Nystroem's coordinates: how much of the sample the anchors do not span.
    """
    charts, anchors = cell.white, spaces.anchors_of_all(cell, width, key)
    rows = spaces.orthonormal(spaces.merged(charts, anchors), anchors)
    return {
        "probability": 1 - probabilities.max(axis=1),
        "disagreement": disagreement(charts, anchors),
        "residual": 1 - (rows**2).sum(axis=1),
    }


def disagreement(charts: list[np.ndarray], anchors: np.ndarray) -> np.ndarray:
    """(N,), of the charts' relative representations; one chart at a time."""
    size = len(charts[0])
    state, everywhere = (
        jatlas.running.spread.empty(size, anchors.size),
        np.ones(size, bool),
    )
    for x in charts:
        relative = jatlas.relativize(jnp.asarray(x), jnp.asarray(x[anchors]))
        state = jatlas.running.spread.add(state, relative, everywhere)
    return np.asarray(jatlas.running.spread.value(state))


def unknown(cell: Cell, width: int, key: jax.Array) -> dict[str, float]:
    """How well doubts separate samples of classes unknown to all charts.

    Each chart in turn is left out, where two at least remain, and with it all training
    samples of the classes that it alone knows. Its test samples are then unknown.

    Returns:
        For each doubt the mean area under the ROC curve; empty if no class is one
        chart's alone, or there are no two others.
    """
    classes = cell.tasks.classes
    areas_by_doubt: dict[str, list[float]] = {}
    for m in range(len(classes)):
        others = [k for k in range(len(classes)) if k != m]
        lost = classes[m] & ~classes[others].any(axis=0)
        if len(others) < 2 or not lost.any():
            continue
        known = ~lost[cell.labels]
        left = replace(
            cell,
            charts=[cell.charts[k] for k in others],
            train=cell.train & known,
            stop=cell.stop & known,
            tasks=cell.tasks._replace(held_out=cell.tasks.held_out & known),
        )
        probabilities = _softmax(_logits(left, width, key))
        for name, doubt in doubts(left, probabilities, width, key).items():
            auc = area(~known[cell.test], doubt[cell.test])
            areas_by_doubt.setdefault(name, []).append(auc)
    return {name: float(np.mean(areas)) for name, areas in areas_by_doubt.items()}


def area(bad: np.ndarray, doubt: np.ndarray) -> float:
    """Under the ROC curve of telling the bad by their doubt.

    NaN if all are alike, or if a doubt is no number.
    """
    if bad.all() or not bad.any() or np.isnan(doubt).any():
        return float("nan")
    return float(roc_auc_score(bad, doubt))


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """What to multiply logits by, so that their cross-entropy is the least.

    Source: Guo et al., "On calibration of modern neural networks" (2017).
    """

    def loss(power: float) -> float:
        likely = _softmax(logits * np.exp(power))[np.arange(labels.size), labels]
        return float(-np.log(np.maximum(likely, 1e-30)).mean())

    minimum = minimize_scalar(loss, bounds=(-4, 4), method="bounded")
    return float(np.exp(minimum.x))


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error in 15 bins; NaN for NaN.

    It is of the most likely class.
    """
    if np.isnan(probabilities).any():
        return float("nan")
    certain = probabilities.max(axis=1)
    right = guesses.likely(probabilities) == labels
    bins = np.minimum((certain * _BINS).astype(int), _BINS - 1)
    gaps = [
        abs(certain[bins == b].sum() - right[bins == b].sum()) for b in range(_BINS)
    ]
    return float(sum(gaps) / labels.size)


def risks(wrong: np.ndarray, doubt: np.ndarray) -> list[float]:
    """The share of errors among the least doubtful, at each of `COVERAGE`."""
    ordered = wrong[np.argsort(doubt, kind="stable")]
    counts = [max(1, round(share * ordered.size)) for share in COVERAGE]
    return [float(ordered[:count].mean()) for count in counts]


def _logits(cell: Cell, width: int, key: jax.Array) -> np.ndarray:
    """Of the paper's probe, on the atlas with evidence."""
    rows = METHODS["evidence"].make(cell, width, key)
    return scores.logits(cell, rows, key)


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(np.float64(logits) - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
