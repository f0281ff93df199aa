"""The spaces in two dimensions: principal axes, own or shared, and t-SNE."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

Projection = Literal["own", "shared", "tsne"]
PROJECTIONS: dict[Projection, str] = {
    "own": "PCA, each space on axes of its own",
    "shared": "PCA, on axes shared by all",
    "tsne": "t-SNE",
}
_ITERATIONS = 350


class Plane(NamedTuple):
    """A space in two dimensions.

    Attributes:
        points: (T, 2).
        axes: what the two axes are, in words.
    """

    points: np.ndarray
    axes: tuple[str, str]


def planes(
    spaces: Mapping[str, np.ndarray], projection: Projection
) -> dict[str, Plane]:
    """Every space in two dimensions.

    Args:
        spaces: (T, A) each, of the same T samples, finite.
        projection: "own", the principal axes of each space; "shared", those of the rows
            of all spaces together, so that a point means the same in each; "tsne".

    Raises:
        ValueError: if the spaces that are to share axes differ in A.
    """
    if projection == "tsne":
        words = ("t-SNE 1", "t-SNE 2")
        return {name: Plane(p, words) for name, p in tsne(spaces).items()}
    if projection == "shared":
        widths = {name: rows.shape[1] for name, rows in spaces.items()}
        if len(set(widths.values())) > 1:
            raise ValueError(
                "spaces that share axes must be of as many dimensions; got "
                f"{widths}. Give relative ones of the same anchors."
            )
        points, shares = principal_axes(np.concatenate(list(spaces.values())))
        parts = np.split(points, len(spaces))
        return {
            name: Plane(part, _axes(shares, " in all"))
            for name, part in zip(spaces, parts, strict=True)
        }
    projections = {name: principal_axes(rows) for name, rows in spaces.items()}
    return {name: Plane(p, _axes(shares)) for name, (p, shares) in projections.items()}


def _axes(shares: np.ndarray, where: str = "") -> tuple[str, str]:
    first, second = (
        f"PC {k} ({share:.0%} of variance{where})" for k, share in enumerate(shares, 1)
    )
    return first, second


def principal_axes(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows on two principal axes, and the explained variances.

    Args:
        rows: (T, A), finite.

    Returns:
        (T, 2), centered, an axis pointing where its largest loading is positive; and
        (2,), shares of the variance in 0..1, zero where nothing varies.
    """
    x = rows.astype(np.float64)
    x = np.pad(x - x.mean(axis=0), ((0, 0), (0, max(0, 2 - x.shape[1]))))
    variances, axes = np.linalg.eigh(x.T @ x)
    variances, axes = variances[:-3:-1].clip(0), axes[:, :-3:-1]
    largest = np.abs(axes).argmax(axis=0)
    axes = axes * np.sign(axes[largest, [0, 1]])
    return x @ axes, variances / (np.square(x).sum() or 1.0)


def tsne(spaces: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """(T, 2) for each space, by t-SNE from its principal axes.

    It is the same every time. On one thread: a sum by several differs from run to run,
    and t-SNE makes much of little.

    Args:
        spaces: (T, A) each, finite. Few rows, or rows that are all the same, are given
            back on their principal axes, t-SNE being of no use.
    """
    return {name: _tsne(rows) for name, rows in spaces.items()}


def _tsne(rows: np.ndarray) -> np.ndarray:
    from sklearn.manifold import TSNE  # takes a second

    start, _ = principal_axes(rows)
    if len(rows) < 5 or not start.any():
        return start
    # As scikit-learn scales it, so that the first steps are small.
    start = (start / (start[:, 0].std() or 1.0) * 1e-4).astype(np.float32)
    with threadpool_limits(1):
        return TSNE(
            init=start,
            perplexity=min(30.0, (len(rows) - 1) / 3),
            max_iter=_ITERATIONS,
            angle=0.7,
            random_state=0,
        ).fit_transform(rows.astype(np.float32))


def evenly_by_class(labels: Sequence[int] | np.ndarray, most: int) -> np.ndarray:
    """Positions of at most `most` samples, stratified by class, in order.

    Args:
        labels: (T,).
        most: how many positions there may be.
    """
    order = np.argsort(labels, kind="stable")
    return np.sort(order[evenly(order.size, most)])


def evenly(size: int, most: int) -> np.ndarray:
    """Positions, `most` of them at most, evenly spaced in range(size)."""
    return np.linspace(0, size - 1, min(size, most)).round().astype(int)
