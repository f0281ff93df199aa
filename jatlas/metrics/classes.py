"""How the classes of a space lie: their means, and how far apart they are."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Integer, Real

from jatlas import arrays, chunks, layout
from jatlas.arrays import AnyArray, Where

# Rows whose distances to all means are made at once: there is no (N, C) array.
_ROWS = 2048

# The sums that the sum over a class is made of, at most.
_PARTS = 64


def separability(
    space: Float[AnyArray, "N D"],
    labels: Integer[AnyArray, " N"],
    num_classes: int,
    *,
    where: Where = None,
) -> Float[Array, "C C"]:
    """How far apart every two classes lie, in units of their own spread.

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


@jax.jit
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
        squares = arrays.squared_distances(arrays.widen(rows), means)
        known = jnp.isfinite(squares)
        nearest = jnp.argmin(jnp.where(known, squares, jnp.inf), axis=1)
        return jnp.where(jnp.any(known, axis=1), nearest, -1)

    return chunks.map_samples(nearest, space, 0, chunks.chunk_size(len(space), _ROWS))


@partial(jax.jit, static_argnames="num_classes")
@layout.automatic()
def _separability(
    space: Array, labels: Array, num_classes: int, where: Array | None
) -> Float[Array, "C C"]:
    rows = arrays.all_rows(space, where)
    x, _ = arrays.rescaled(arrays.widen(space), rows)
    x, _ = arrays.centre(x, rows)  # differences of large means have few digits
    classes, count = _classes(labels, num_classes, rows)
    rest, means = _class_centre(x, classes, count)
    distance = arrays.safe_sqrt(jnp.sum(rest**2, axis=1))
    spread = _class_centre(distance, classes, count)[1]
    between = arrays.safe_sqrt(arrays.squared_distances(means, means))
    known = (count > 0)[:, None] & (count > 0) & ~jnp.eye(num_classes, dtype=bool)
    within = (spread[:, None] + spread) / 2
    return jnp.where(known, arrays.safe_divide(between, within), jnp.nan)


@partial(jax.jit, static_argnames="num_classes")
@layout.automatic()
def _class_means(
    space: Array, labels: Array, num_classes: int, where: Array | None
) -> Float[Array, "C D"]:
    rows = arrays.all_rows(space, where)
    classes, count = _classes(labels, num_classes, rows)
    _, means = _class_centre(arrays.widen(space), classes, count)
    return jnp.where((count > 0)[:, None], means, jnp.nan)


def _classes(
    labels: Integer[Array, " N"], num_classes: int, rows: Bool[Array, " N"]
) -> tuple[Int[Array, " N"], Float[Array, " C"]]:
    """The class of each row, C for rows that are masked out, and how many each has.

    Under `jit` a label cannot be looked at. If one is out of range, no class has a
    known number of rows: the NaN carries the fault into whatever is computed.
    """
    # Wide first: in uint8, 256 classes would wrap around to none.
    labels = labels.astype(jnp.promote_types(labels.dtype, jnp.int32))
    valid = (labels >= 0) & (labels < num_classes)
    classes = jnp.where(rows & valid, labels, num_classes).astype(jnp.int32)
    count = _class_sums(rows.astype(jnp.int32), classes, num_classes)
    return classes, jnp.where(jnp.all(valid | ~rows), count, jnp.nan)


def _class_sums(
    x: Real[Array, "N *rest"], classes: Int[Array, " N"], num_classes: int
) -> Real[Array, "C *rest"]:
    """The sum over the rows of each class.

    By adding every row where it belongs: no (N, C) array, and on several devices each
    sums its own rows. But one row after another: a long sum would round off what is
    small beside it, so it is made of up to 64 shorter ones, of every 64th row each.
    """
    parts = min(_PARTS, 1 + len(x) // (16 * num_classes))
    places = classes * parts + jnp.arange(len(x)) % parts
    # The places of masked rows are beyond the last, and left out.
    sums = jax.ops.segment_sum(x, places, num_classes * parts)
    return jnp.sum(sums.reshape(num_classes, parts, *x.shape[1:]), axis=1)


def _class_centre(
    x: Float[Array, "N *rest"], classes: Int[Array, " N"], count: Float[Array, " C"]
) -> tuple[Float[Array, "N *rest"], Float[Array, "C *rest"]]:
    """The rows less the mean of their class; and the means, zero of no rows.

    Twice, and without what is rounding alone, for the reasons given in `arrays.centre`.
    """
    rows = classes < len(count)
    count = count.reshape(-1, *[1] * (x.ndim - 1)).astype(x.dtype)

    def mean(values: Array) -> Array:
        return arrays.safe_divide(_class_sums(values, classes, len(count)), count, 0.0)

    def own(values: Array) -> Array:
        return jnp.take(values, classes, axis=0, mode="clip")

    first = mean(x)
    rest = arrays.keep(x - own(first), rows)
    second = mean(rest)
    rest = arrays.keep(rest - own(second), rows)
    rounding = 4 * jnp.finfo(x.dtype).eps * jnp.abs(own(first))
    return jnp.where(jnp.abs(rest) <= rounding, 0, rest), first + second


def check_classes(
    space: AnyArray, labels: AnyArray, num_classes: int, where: AnyArray | None
) -> None:
    """Raise ValueError unless there is a label in 0..C-1 for every row that counts."""
    arrays.check_rows("space", space)
    arrays.check_mask("where", where, space.shape[:1], "(N,)")
    arrays.check_count("num_classes", num_classes, 1)
    arrays.check_labels(labels, space.shape[0], num_classes, where)
