"""Measures of two spaces in their published forms.

Like `references`: `xp` is the module `numpy` or `torch`. Kernels and dissimilarities
are (N, N) arrays, canonical correlations come from a QR decomposition and an SVD.
"""

import math
from types import ModuleType
from typing import Any

import numpy as np

from experiments.benchmarks.references import centered_by_means, unit

Array = Any  # of the module that is given


def cosines(xp: ModuleType, x: Array, anchors: Array) -> Array:
    """Cosines of all rows to all anchors."""
    return unit(xp, x) @ unit(xp, anchors).T


def angles(xp: ModuleType, x: Array, anchors: Array) -> Array:
    """1 - angle / pi, by the arc cosine."""
    return 1 - xp.arccos(xp.clip(cosines(xp, x, anchors), -1, 1)) / math.pi


def distances(xp: ModuleType, x: Array, anchors: Array) -> Array:
    """Minus the distances, by |x|^2 + |a|^2 - 2 x a."""
    squares = (x**2).sum(1)[:, None] + (anchors**2).sum(1)
    return -xp.sqrt(xp.clip(squares - 2 * x @ anchors.T, 0, None))


def procrustes_angle(xp: ModuleType, x: Array, y: Array) -> Array:
    """The angle after the best rotation, by the nuclear norm."""
    x, y = _centered(x), _centered(y)
    lengths = xp.linalg.vector_norm(x) * xp.linalg.vector_norm(y)
    return xp.arccos(xp.linalg.svdvals(x.T @ y).sum() / lengths)


def mean_squared_cca(xp: ModuleType, x: Array, y: Array) -> Array:
    """The mean squared singular value of the product of two bases."""
    (u, _), (v, _) = (xp.linalg.qr(_centered(space)) for space in (x, y))
    return (xp.linalg.svdvals(u.T @ v) ** 2).mean()


def svcca(xp: ModuleType, x: Array, y: Array) -> Array:
    """The mean correlation of components that hold 99 % of the variance."""

    def components(space: Array) -> Array:
        u, s, _ = xp.linalg.svd(_centered(space), full_matrices=False)
        share = xp.cumsum(s**2, 0) / (s**2).sum()
        return u[:, : int((share < 0.99).sum()) + 1]

    return xp.linalg.svdvals(components(x).T @ components(y)).mean()


def pwcca(xp: ModuleType, x: Array, y: Array) -> Array:
    """Correlations weighted by how much of x its variates explain."""
    x, y = _centered(x), _centered(y)
    (u, _), (v, _) = xp.linalg.qr(x), xp.linalg.qr(y)
    turn, correlations, _ = xp.linalg.svd(u.T @ v, full_matrices=False)
    weights = xp.abs((u @ turn).T @ x).sum(axis=1)
    return (weights * correlations).sum() / weights.sum()


def hsic(xp: ModuleType, x: Array, y: Array) -> Array:
    """Linear HSIC of two centered (N, N) kernels."""
    k, ell = (centered_by_means(xp, space @ space.T) for space in (x, y))
    return (k * ell).sum() / (len(x) - 1) ** 2


def minibatch_cka(xp: ModuleType, x: Array, y: Array, size: int) -> Array:
    """CKA from unbiased HSIC of (n, n) kernels, batch by batch."""

    def batch_hsic(k: Array, ell: Array) -> Array:
        n = len(k)
        value = (k * ell).sum() + k.sum() * ell.sum() / ((n - 1) * (n - 2))
        return value - 2 / (n - 2) * (k.sum(axis=0) * ell.sum(axis=0)).sum()

    sums, size = [0.0, 0.0, 0.0], min(size, len(x))
    others = 1 - xp.eye(size, dtype=x.dtype, device=x.device)
    for start in range(0, len(x) - size + 1, size):
        kernels = [space[start : start + size] for space in (x, y)]
        k, ell = (rows @ rows.T for rows in kernels)
        k, ell = k * others, ell * others
        for place, pair in enumerate(((k, k), (k, ell), (ell, ell))):
            sums[place] += batch_hsic(*pair)
    first, across, second = sums
    return across / (first * second) ** 0.5


def cknna(xp: ModuleType, x: Array, y: Array, k: int) -> Array:
    """Unbiased HSIC of kernels masked by common neighbors."""
    kernels = [space @ space.T for space in (x, y)]
    masks = []
    for kernel in kernels:
        mask = xp.zeros_like(kernel)
        mask[xp.arange(len(kernel))[:, None], _nearest(xp, kernel, k)] = 1
        masks.append(mask)

    def value(i: int, j: int) -> Array:
        n, mask = len(x), masks[i] * masks[j]
        a, b = mask * kernels[i], mask * kernels[j]
        total = (a * b.T).sum() + a.sum() * b.sum() / ((n - 1) * (n - 2))
        return total - 2 / (n - 2) * (a @ b).sum()

    return value(0, 1) / (value(0, 0) * value(1, 1)) ** 0.5


def jaccard_neighbors(xp: ModuleType, x: Array, y: Array, k: int) -> Array:
    """The mean Jaccard similarity of k nearest neighbors by cosine."""
    a, b = _both_nearest(xp, x, y, k)
    shared = (a[:, :, None] == b[:, None, :]).sum(axis=2).sum(axis=1)
    return (shared / (2 * k - shared)).mean()


def cycle_neighbors(xp: ModuleType, x: Array, y: Array, k: int) -> Array:
    """The share of samples that neighbors of neighbors lead back to."""
    a, b = _both_nearest(xp, x, y, k)
    back = a[b] == xp.arange(len(x))[:, None, None]
    return (back.sum(axis=2).sum(axis=1) > 0).sum() / len(x)


def rank_biased_neighbors(xp: ModuleType, x: Array, y: Array, k: int) -> Array:
    """The mean rank-biased overlap of neighbors, depth by depth; p is .9."""
    p, total = 0.9, 0.0
    a, b = _both_nearest(xp, x, y, k)
    for depth in range(1, k + 1):
        shared = (a[:, :depth, None] == b[:, None, :depth]).sum(axis=2).sum(axis=1)
        overlap = (shared / depth).mean()
        total = total + (1 - p) / p * overlap * p**depth
    return total + overlap * p**k


def rsa(xp: ModuleType, x: Array, y: Array) -> Array:
    """Pearson's correlation of (N, N) correlation distances."""
    first, second = (_dissimilarities(xp, space) for space in (x, y))
    return (unit(xp, _centered(first)) * unit(xp, _centered(second))).sum()


def rsa_spearman(xp: ModuleType, x: Array, y: Array) -> Array:
    """That of their ranks, by sorting twice."""

    def ranks(space: Array) -> Array:
        values = xp.argsort(xp.argsort(_dissimilarities(xp, space))) / len(space)
        return unit(xp, _centered(values))

    return (ranks(x) * ranks(y)).sum()


def rsa_kendall(x: np.ndarray, y: np.ndarray) -> float:
    """Kendall's tau-b of the dissimilarities, by SciPy."""
    from scipy.stats import kendalltau

    first, second = (_dissimilarities(np, space) for space in (x, y))
    return float(kendalltau(first, second).statistic)


def predictivity(xp: ModuleType, x: Array, y: Array) -> Array:
    """R^2 of ridge regression over five folds, one after another."""
    fold = xp.arange(len(x)) % 5
    wrong = total = 0.0
    for k in range(5):
        fitted, tested = fold != k, fold == k
        mean_x, mean_y = x[fitted].mean(axis=0), y[fitted].mean(axis=0)
        a, b = x[fitted] - mean_x, y[fitted] - mean_y
        ridge = 0.01 * (a * a).sum() / a.shape[1]
        inner = a.T @ a + ridge * xp.eye(a.shape[1], dtype=a.dtype, device=a.device)
        weights = xp.linalg.solve(inner, a.T @ b)
        target = y[tested] - mean_y
        wrong += ((target - (x[tested] - mean_x) @ weights) ** 2).sum()
        total += (target**2).sum()
    return 1 - wrong / total


def cka_matrix(xp: ModuleType, spaces: Array) -> Array:
    """Linear CKA of all pairs of layers, one after another, in features."""

    def norm(a: Array, b: Array) -> Array:
        return xp.linalg.vector_norm(a.T @ b)

    layers = [_centered(space) for space in spaces]
    rows = [
        xp.stack([norm(a, b) ** 2 / (norm(a, a) * norm(b, b)) for b in layers])
        for a in layers
    ]
    return xp.stack(rows)


def _centered(x: Array) -> Array:
    return x - x.mean(axis=0)


def _nearest(xp: ModuleType, similar: Array, k: int) -> Array:
    """The k largest of each row, itself left out, largest first."""
    diagonal = xp.arange(len(similar))
    similar = similar + 0
    similar[diagonal, diagonal] = -math.inf
    if xp is np:
        some = np.argpartition(similar, -k, axis=1)[:, -k:]
        order = np.argsort(-np.take_along_axis(similar, some, axis=1), axis=1)
        return np.take_along_axis(some, order, axis=1)
    return similar.topk(k, dim=1)[1]


def _both_nearest(xp: ModuleType, x: Array, y: Array, k: int) -> tuple[Array, Array]:
    """The nearest neighbors by cosine in two spaces."""
    a, b = (_nearest(xp, u @ u.T, k) for u in (unit(xp, x), unit(xp, y)))
    return a, b


def _dissimilarities(xp: ModuleType, x: Array) -> Array:
    """One less the correlation of each pair of rows."""
    rows = unit(xp, x - x.mean(axis=1)[:, None])
    index = xp.arange(len(x))
    return 1 - (rows @ rows.T)[index[:, None] < index]
