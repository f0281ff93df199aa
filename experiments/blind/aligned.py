"""Charts brought to one space by what others use: generalised CCA, Procrustes."""

import numpy as np
from cca_zoo.linear import GCCA
from scipy.linalg import orthogonal_procrustes

from experiments.blind.cell import Cell
from experiments.blind.evidence import SHRINKAGE

_ROUNDS = 10  # of Procrustes: the mean then moves by less than 1e-4 of its length


def gcca(cell: Cell, width: int) -> list[np.ndarray]:
    """Every chart's generalized CCA (MAXVAR) coordinates, (N, width).

    The width is at most D.
    """
    width = min(width, *(x.shape[1] for x in cell.charts))
    charts = [_centered(x, cell.train) for x in cell.charts]
    fitted = GCCA(width, shrinkage=SHRINKAGE).fit([x[cell.train] for x in charts])
    # A chart's row may be NaN where it is absent, and scikit-learn takes none.
    known = [np.isfinite(x).all(axis=1)[:, None] for x in charts]
    whole = [np.where(present, x, 0) for present, x in zip(known, charts, strict=True)]
    canonical = zip(known, fitted.transform(whole), strict=True)
    return [np.float32(np.where(present, x, np.nan)) for present, x in canonical]


def procrustes(cell: Cell) -> list[np.ndarray]:
    """The charts, each turned towards the mean of all."""
    charts = [_centered(x, cell.train) for x in cell.charts]
    # Rotations depend on the inner products of features alone. A root of those has
    # M D rows in place of N.
    beside = np.hstack([x[cell.train] for x in charts])
    values, vectors = np.linalg.eigh(beside.T @ beside)
    root = np.sqrt(np.maximum(values, 0))[:, None] * vectors.T
    few = np.split(root, len(charts), axis=1)
    mean = few[0]
    for _ in range(_ROUNDS):
        turns = [orthogonal_procrustes(x, mean)[0] for x in few]
        mean = np.mean([x @ turn for x, turn in zip(few, turns, strict=True)], axis=0)
    return [np.float32(x @ turn) for x, turn in zip(charts, turns, strict=True)]


def _centered(x: np.ndarray, where: np.ndarray) -> np.ndarray:
    """In float64, with mean 0 and mean variance 1 on these rows."""
    residual = np.float64(x) - np.float64(x)[where].mean(axis=0)
    return residual / np.sqrt(np.mean(residual[where] ** 2))
