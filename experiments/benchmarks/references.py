"""What jatlas is measured against: the formulas, as plain NumPy or torch.

A formula is written once; `xp` is the module `numpy` or `torch`, whose names agree. It
forms what the paper's code forms: (M, N, A) and (N, N) arrays, loops over classes.
"""

import math
from types import ModuleType
from typing import Any

import numpy as np

INSTALL = (
    "pip install -e '.[bench]' --extra-index-url https://download.pytorch.org/whl/cpu"
)

Array = Any  # of the module that is given


def load_torch(threads: int) -> ModuleType | None:
    """Torch with as many threads as XLA, or None without it."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(threads)
    return torch


def unit(xp: ModuleType, x: Array) -> Array:
    """Rows of length one."""
    return x / xp.linalg.vector_norm(x, axis=-1, keepdims=True)


def merge(xp: ModuleType, embeddings: Any, anchors: Any, presence: Array) -> Array:
    """The atlas by the paper's formula: relative spaces, masked mean."""
    relative = xp.stack(
        [unit(xp, x) @ unit(xp, a).T for x, a in zip(embeddings, anchors, strict=True)]
    )
    kept = xp.where(presence[..., None], relative, 0)
    return kept.sum(axis=0) / presence.sum(axis=0, dtype=kept.dtype)[:, None]


def consensus(xp: ModuleType, embeddings: Any, presence: Array) -> Array:
    """The agreements of consensus coordinates of ridge 1, largest first."""
    presence = presence & (presence.sum(axis=0) > 1)
    parts = xp.sqrt(1 / xp.clip(presence.sum(axis=0), 1, None))[:, None]
    sides = []
    for x, mine in zip(embeddings, presence, strict=True):
        rows = xp.where(mine[:, None], x - x[mine].mean(axis=0), 0)
        rows = rows * xp.sqrt(mine.sum() / (rows**2).sum())
        inner = rows.T @ rows + xp.eye(rows.shape[1], dtype=rows.dtype)
        inverse = xp.linalg.inv(xp.linalg.cholesky(inner))
        sides.append((rows * parts) @ inverse.T)
    side_by_side = xp.concatenate(sides, axis=1)
    values, _ = xp.linalg.eigh(side_by_side.T @ side_by_side)
    return xp.flip(values, (0,))


def cka_by_products(xp: ModuleType, x: Array, y: Array) -> Array:
    """Linear CKA of (N, N) kernels, centered as H K H.

    H is 1 - 1/N. The paper's code centres both kernels anew for each of the three HSIC;
    here it is done once for each, a third of its work.
    """
    return kernel_cka(xp, x @ x.T, y @ y.T, centered_by_products)


def cka_by_means(xp: ModuleType, x: Array, y: Array) -> Array:
    """The same, centered by taking off the means of rows and columns."""
    return kernel_cka(xp, x @ x.T, y @ y.T, centered_by_means)


def rbf_cka(xp: ModuleType, x: Array, y: Array) -> Array:
    """RBF CKA of (N, N) kernels.

    The squared width is the median squared distance. The median is the lower one, of
    the distances that are not zero.
    """
    k, ell = (_rbf(xp, space) for space in (x, y))
    return kernel_cka(xp, k, ell, centered_by_means)


def kernel_cka(xp: ModuleType, k: Array, ell: Array, centered: Any) -> Array:
    """HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))."""
    k, ell = centered(xp, k), centered(xp, ell)
    norms = xp.sqrt((k * k).sum()) * xp.sqrt((ell * ell).sum())
    return (k * ell).sum() / norms


def centered_by_products(xp: ModuleType, k: Array) -> Array:
    """H K H."""
    h = xp.eye(len(k), dtype=k.dtype, device=k.device) - 1 / len(k)
    return h @ k @ h


def centered_by_means(xp: ModuleType, k: Array) -> Array:
    """K less its row and column means, plus the overall mean."""
    return k - k.mean(axis=0) - k.mean(axis=1)[:, None] + k.mean()


def _rbf(xp: ModuleType, x: Array) -> Array:
    inner = x @ x.T
    norms = xp.diagonal(inner)
    squares = norms[:, None] - inner + (norms - inner)
    others = squares[squares != 0]
    if xp is np:
        half = (len(others) - 1) // 2
        median = np.partition(others, half)[half]
    else:
        median = others.median()  # the lower of two
    return xp.exp(-squares / (2 * median))


def moments(xp: ModuleType, x: Array, y: Array) -> Array:
    """Products of a chunk's features; their sums give linear CKA.

    Not centered, so that a large mean costs all digits, and not to be debiased.
    """
    both = xp.concatenate([x, y], axis=1)
    return both.T @ both


def separability(
    xp: ModuleType, space: Array, labels: Array, num_classes: int, first: int
) -> Array:
    """Separability of ordered pairs of classes, as two loops.

    Only pairs of the `first` classes are taken.
    """
    shape = (first, num_classes)
    values = xp.full(shape, math.nan, dtype=space.dtype, device=space.device)
    for i in range(first):
        for j in range(num_classes):
            if i == j:
                continue
            a, b = space[labels == i], space[labels == j]
            mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
            spread_a = xp.linalg.vector_norm(a - mean_a, axis=1).mean()
            spread_b = xp.linalg.vector_norm(b - mean_b, axis=1).mean()
            between = xp.linalg.vector_norm(mean_a - mean_b)
            values[i, j] = between / ((spread_a + spread_b) / 2)
    return values


def self_similarity(xp: ModuleType, x: Array, y: Array) -> Array:
    """The mean correlation of the rows of two cosine matrices.

    These are (N, N).
    """

    def rows(space: Array) -> Array:
        cosines = unit(xp, space) @ unit(xp, space).T
        return unit(xp, cosines - cosines.mean(axis=1)[:, None])

    return (rows(x) * rows(y)).sum(axis=1).mean()


def mutual_neighbors(xp: ModuleType, x: Array, y: Array, k: int) -> Array:
    """The mean share of common k nearest neighbors in two spaces.

    It is made by (N, N) inner products. A sample is not its own neighbour.
    """

    def nearest(space: Array) -> Array:
        inner = space @ space.T
        diagonal = xp.arange(len(space))
        inner[diagonal, diagonal] = -math.inf
        if xp is np:
            return np.argpartition(inner, -k, axis=1)[:, -k:]
        return inner.topk(k, dim=1, sorted=False)[1]

    shared = nearest(x)[:, :, None] == nearest(y)[:, None, :]
    return shared.sum() / (len(x) * k)
