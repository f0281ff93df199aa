"""Class means, and the class whose mean is nearest."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Integer

from jatlas._src import arrays, border, chunks, layout
from jatlas._src.arrays import AnyArray, Where
from jatlas._src.classes import check_classes, class_center, class_indices
from jatlas._src.pairs.differences import squared_distances

# Rows whose distances to all means are made at once: there is no (N, C) array.
_ROWS = 2048


@border.border
def class_means(
    space: Float[AnyArray, "N D"],
    labels: Integer[AnyArray, " N"],
    num_classes: int,
    *,
    where: Where = None,
) -> Float[Array, "C D"]:
    """The mean row of every class.

    Args:
        space: (N, D), floating point.
        labels: (N,), integers in 0..C-1.
        num_classes: C.
        where: (N,), the rows that count; all if None.

    Returns:
        (C, D) in float32 or wider. NaN for classes with no row; in a feature of a
        class, if it is NaN or infinite in a row of that class (mask such rows out); all
        over if, under `jit`, a label is out of range.

    Raises:
        ValueError: if the shapes or dtypes are not these, num_classes is below 1, or a
            label is out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> class_means(jnp.array([[1.0], [3.0], [5.0]]), jnp.array([0, 0, 2]), 3)
        Array([[ 2.],
               [nan],
               [ 5.]], dtype=float32)
    """
    check_classes(space, labels, num_classes, where)
    return _class_means(space, labels, num_classes, where)


@border.jit()
@layout.automatic("space")
def nearest_class_mean(
    means: Float[Array, "C D"], space: Float[Array, "N D"]
) -> Int[Array, " N"]:
    """The class whose mean is nearest to each row, by Euclidean distance.

    Args:
        means: (C, D), as from `class_means`. A class whose mean is not finite has no
            rows, and is never chosen.
        space: (N, D), any rows of the same space.

    Returns:
        (N,), integers in 0..C-1, the lower of two equally near; -1 for a row that has
        no finite distance to any class, because it holds a NaN, say: it is never right.

    Raises:
        ValueError: if these are not floating point matrices of one D.

    Example:
        >>> import jax.numpy as jnp
        >>> means = jnp.array([[0.0], [jnp.nan], [4.0]])
        >>> nearest_class_mean(means, jnp.array([[1.0], [3.0], [jnp.nan]]))
        Array([ 0,  2, -1], dtype=int32)

    Source: Crisostomi et al. (2023), whose code calls it kNN.
    """
    arrays.check_rows("means", means)
    arrays.check_rows("space", space)
    arrays.check_equal(
        "the dimension D of means and space",
        [means.shape[1], space.shape[1]],
        "The means must be of the same space.",
    )
    means = arrays.widen(means)

    def nearest(rows: Float[Array, "n D"]) -> Int[Array, " n"]:
        squares = squared_distances(arrays.widen(rows), means)
        known = jnp.isfinite(squares)
        nearest = jnp.argmin(jnp.where(known, squares, jnp.inf), axis=1)
        return jnp.where(jnp.any(known, axis=1), nearest, -1)

    return chunks.map_samples(nearest, space, 0, chunks.chunk_size(len(space), _ROWS))


@partial(jax.jit, static_argnames="num_classes")
@layout.automatic()
def _class_means(
    space: Array, labels: Array, num_classes: int, where: Array | None
) -> Float[Array, "C D"]:
    rows = arrays.all_rows(space, where)
    classes, count = class_indices(labels, num_classes, rows)
    _, means = class_center(arrays.widen(space), classes, count)
    return jnp.where((count > 0)[:, None], means, jnp.nan)
