"""Whitened canonical correlations with weights, the strongest baseline of two charts.

Each chart is whitened with a shrunk covariance of its anchors, both are turned by the
singular vectors of their products, and coordinate k is multiplied by a power of its
singular value.
"""

import numpy as np

from jatlas.merging import Transform

SHRINKAGES = (0.01, 0.03, 0.1, 0.3, 0.5)
POWERS = (0.0, 0.5, 1.0, 2.0)
FOLDS = 5

Setting = tuple[float, float]
Maps = tuple[Transform, Transform]


def fit(a: np.ndarray, b: np.ndarray, shrinkage: float, power: float) -> Maps:
    """Both charts' maps, by one shrinkage and power.

    The arguments are those of `fit_all`.
    """
    return fit_all(a, b, (shrinkage,), (power,))[shrinkage, power]


def fit_all(
    a: np.ndarray,
    b: np.ndarray,
    shrinkages: tuple[float, ...] = SHRINKAGES,
    powers: tuple[float, ...] = POWERS,
) -> dict[Setting, Maps]:
    """Both charts' maps into one space, by shrinkage and power.

    Args:
        a: (A, D1), a chart's embeddings of the anchors.
        b: (A, D2), another's.
        shrinkages: shares of the mean variance that are added to the covariance.
        powers: of the singular values.

    Source: Artetxe, Labaka and Agirre, "Generalizing and improving bilingual word
    embedding mappings with a multi-step framework of linear transformations" (2018).
    """
    means = a.mean(axis=0), b.mean(axis=0)
    thin = [_thin(np.float64(x - mean)) for x, mean in zip((a, b), means, strict=True)]
    maps = {}
    for shrinkage in shrinkages:
        (first, one), (second, other) = (_white(*each, shrinkage) for each in thin)
        left, values, right = np.linalg.svd(one.T @ other, full_matrices=False)
        for power in powers:
            weight = values**power
            scales = first @ (left * weight), second @ (right.T * weight)
            maps[shrinkage, power] = tuple(
                Transform(mean, np.float32(scale))
                for mean, scale in zip(means, scales, strict=True)
            )
    return maps


def choose(a: np.ndarray, b: np.ndarray) -> Setting:
    """Choose shrinkage and power by how held-out anchors find each other.

    The maps are fitted anew without each fold; the score is the mean reciprocal rank
    among the fold, of both directions.
    """
    totals = dict.fromkeys([(s, p) for s in SHRINKAGES for p in POWERS], 0.0)
    fold = np.random.default_rng(0).permutation(len(a)) % FOLDS
    for held in range(FOLDS):
        kept, out = fold != held, fold == held
        for setting, (first, second) in fit_all(a[kept], b[kept]).items():
            rows = (
                (x[out] - chart_map.mean) @ chart_map.scale
                for x, chart_map in ((a, first), (b, second))
            )
            totals[setting] += out.sum() * reciprocal_rank(*rows)
    return max(totals, key=totals.__getitem__)


def reciprocal_rank(first: np.ndarray, second: np.ndarray) -> float:
    """The mean over both directions, by cosines; ties count against the query."""
    similar = unit(first) @ unit(second).T
    right = np.diag(similar)
    ranks = [np.sum(x >= right, axis=0) for x in (similar, similar.T)]
    return float(np.mean([1 / rank for rank in ranks]))


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length one; zero rows stay."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)


def _thin(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """U, s and V of centered rows, without what is rounding."""
    left, values, right = np.linalg.svd(rows, full_matrices=False)
    known = values > values[0] * max(rows.shape) * np.finfo(np.float32).eps
    return left[:, known], values[known], right[known].T


def _white(
    left: np.ndarray, values: np.ndarray, right: np.ndarray, shrinkage: float
) -> tuple[np.ndarray, np.ndarray]:
    """The map to white coordinates, (D, r), and the anchors in them.

    These are (A, r), divided by the root of A.
    """
    variances = values**2 / len(left)
    mean = variances.sum() / len(right)
    root = 1 / np.sqrt((1 - shrinkage) * variances + shrinkage * mean)
    return right * root, left * (np.sqrt(variances) * root)
