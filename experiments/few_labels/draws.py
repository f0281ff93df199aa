"""Which samples are labeled: some of every class, drawn several times."""

import numpy as np

from experiments.runs import seeds


def orders(seed: int, num_draws: int, where: np.ndarray) -> np.ndarray:
    """(R, S), R random orders of the S samples in `where`, (N,).

    The first orders are the same for every R.
    """
    priority = seeds.rng(seed, seeds.LABELS).random((num_draws, where.size))
    (samples,) = np.nonzero(where)
    return samples[np.argsort(priority[:, samples], axis=1)]


def balanced(orders: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """The first `count` samples of every class in each order.

    So fewer labels are always a part of more.

    Args:
        orders: (R, S), from `orders`; every class has `count` samples there.
        labels: (N,).
        count: labels a class.

    Returns:
        (R, C count), indices of samples, class by class.

    Example:
        >>> balanced(np.array([[3, 0, 2, 1]]), np.array([0, 1, 0, 1]), 1)
        array([[0, 3]])
    """
    by_class = np.argsort(labels[orders], axis=1, kind="stable")
    sizes = np.unique(labels[orders[0]], return_counts=True)[1]
    first = np.cumsum(sizes) - sizes
    columns = (first[:, None] + np.arange(count)).ravel()
    return np.take_along_axis(orders, by_class[:, columns], axis=1)
