"""Separability: how far apart the classes of a space lie."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from jatlas._src import arrays, border, layout
from jatlas._src.arrays import AnyArray, Where
from jatlas._src.classes import check_classes, class_center, class_indices
from jatlas._src.pairs.differences import squared_distances


@border.border
def separability(
    space: Float[AnyArray, "N D"],
    labels: Integer[AnyArray, " N"],
    num_classes: int,
    *,
    where: Where = None,
) -> Float[Array, "C C"]:
    """The distance between every two classes, in units of their spread.

    `s(i, j) = |c_i - c_j| / ((r_i + r_j) / 2)`, c being the centroid of a class and r
    the mean distance of its rows to it. It does not change when the space is rotated,
    moved or rescaled as a whole.

    Args:
        space: (N, D), floating point.
        labels: (N,), integers in 0..C-1.
        num_classes: C.
        where: (N,), the rows that count; all if None. The others, and their labels, are
            not looked at.

    Returns:
        (C, C), symmetric, in float32 or wider. NaN on the diagonal, for classes with no
        row, and for two classes neither of which has any spread; all over if a row that
        counts holds a NaN or an infinity, or, under `jit`, where labels cannot be read,
        if one is out of range.

    Raises:
        ValueError: if the shapes or dtypes are not these, num_classes is below 1, or a
            label is out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> space = jnp.array([[0.0], [2.0], [10.0], [12.0]])
        >>> separability(space, jnp.array([0, 0, 1, 1]), 2)
        Array([[nan, 10.],
               [10., nan]], dtype=float32)

    Source: Crisostomi et al., "From Charts to Atlas" (2023), section 4.
    """
    check_classes(space, labels, num_classes, where)
    return _separability(space, labels, num_classes, where)


@partial(jax.jit, static_argnames="num_classes")
@layout.automatic()
def _separability(
    space: Array, labels: Array, num_classes: int, where: Array | None
) -> Float[Array, "C C"]:
    rows = arrays.all_rows(space, where)
    x, _ = arrays.rescaled(arrays.widen(space), rows)
    x, _ = arrays.center(x, rows)  # differences of large means have few digits
    classes, count = class_indices(labels, num_classes, rows)
    residual, means = class_center(x, classes, count)
    distance = arrays.safe_sqrt(jnp.sum(residual**2, axis=1))
    spread = class_center(distance, classes, count)[1]
    between = arrays.safe_sqrt(squared_distances(means, means))
    known = (count > 0)[:, None] & (count > 0) & ~jnp.eye(num_classes, dtype=bool)
    within = (spread[:, None] + spread) / 2
    return jnp.where(known, arrays.safe_divide(between, within), jnp.nan)
