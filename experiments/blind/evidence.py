"""Inputs of merged spaces: whitened charts, and evidence."""

from collections.abc import Sequence

import jax
import numpy as np

import jatlas
from experiments.measures import maps
from jatlas.probes import CrossFit

SHRINKAGE = 0.3  # of the covariances: of the charts when whitened, and of GCCA's
FOLDS = 4  # of the cross-fitted probe


def white(x: np.ndarray, where: np.ndarray) -> np.ndarray:
    """(N, D), whitened on these rows, (N,)."""
    fitted = maps.fit_whiten(x, where=where, shrinkage=SHRINKAGE)
    return np.asarray(jatlas.apply_transform(fitted, x))


def side_by_side(charts: Sequence[np.ndarray]) -> np.ndarray:
    """(N, M D), unit rows of every chart: the evidence's input."""
    unit = [
        x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in charts
    ]
    return np.concatenate(unit, axis=1)


def fit(
    key: jax.Array,
    rows: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    train: np.ndarray,
    stop: np.ndarray,
) -> CrossFit:
    """Cross-fitted probes of rows, (N, K), over folds of `train`."""
    return jatlas.probes.fit_crossfit(
        key,
        rows,
        labels,
        num_classes,
        folds=FOLDS,
        where=train,
        validation=stop,
    )


def roots(fitted: CrossFit, rows: np.ndarray) -> np.ndarray:
    """(N, C), square roots of out-of-fold class probabilities."""
    probabilities = jatlas.probes.crossfit_probabilities(fitted, rows, fitted.fold)
    return np.sqrt(np.asarray(probabilities))
