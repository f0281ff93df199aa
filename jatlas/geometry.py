"""How a space is laid out: classes, self-similarity, nearest neighbours."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Integer

from jatlas import arrays
from jatlas.arrays import AnyArray, Where

# Rows of an (N, N) matrix that are made at once: it never exists as a whole.
_BLOCK = 64

_matmul = partial(jnp.matmul, precision="highest")


def separability(
    space: Float[AnyArray, "N D"],
    labels: Integer[AnyArray, " N"],
    num_classes: int,
    *,
    where: Where = None,
) -> Float[Array, "C C"]:
    """How far apart every two classes lie, in units of their own spread.

    s(i, j) = |c_i - c_j| / ((r_i + r_j) / 2), c being the centroid of a class and r the
    mean distance of its rows to it. It does not change when the space is rotated, moved
    or rescaled as a whole.

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
        ValueError: if the shapes or dtypes are not these, or a label is out of range.

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
        (C, D) in float32 or wider. NaN for classes with no row; in a feature of all
        classes, if it is NaN or infinite in a row that counts (mask such rows out); all
        over if, under `jit`, a label is out of range.

    Raises:
        ValueError: if the shapes or dtypes are not these, or a label is out of range.

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
    squares = arrays.squared_distances(arrays.widen(space), arrays.widen(means))
    known = jnp.isfinite(squares)
    nearest = jnp.argmin(jnp.where(known, squares, jnp.inf), axis=1)
    return jnp.where(jnp.any(known, axis=1), nearest, -1)


@partial(jax.jit, static_argnames="method")
def self_similarity_correlation(
    x: Float[Array, "N D1"],
    y: Float[Array, "N D2"],
    *,
    where: Where = None,
    method: str = "pearson",
) -> Float[Array, ""]:
    """How alike the self-similarities of two spaces of the same samples are.

    Row n of the self-similarity of a space holds the cosines of sample n with all
    samples, itself too. The rows of the two spaces are correlated one by one, and the
    correlations averaged over the samples.

    Args:
        x: (N, D1), floating point.
        y: (N, D2), floating point; row n is the same sample as row n of x.
        where: (N,), the samples that count; all if None.
        method: "pearson", "spearman" (whose gradient is zero: ranks do not change
            smoothly), or "cosine", which is not centred.

    Returns:
        A scalar in [-1, 1] up to rounding, in float32 or wider. NaN if any row has no
        correlation, because its cosines are all the same: one sample, copies of one, a
        zero vector (mask it out).

    Raises:
        ValueError: if x and y are not floating point matrices of one N, or the method
            is unknown.

    Example:
        >>> import jax
        >>> x = jax.random.normal(jax.random.key(0), (20, 3))
        >>> self_similarity_correlation(x, -2 * x).round(3)
        Array(1., dtype=float32)

    Source: Crisostomi et al. (2023), appendix, and its code.
    """
    arrays.check_pair(x, y, where)
    if method not in CORRELATIONS:
        raise ValueError(
            f"unknown method {method!r}; known are {', '.join(CORRELATIONS)}."
        )
    rows = arrays.all_rows(x, where)
    x, y = (arrays.unit(arrays.keep(arrays.widen(space), rows)) for space in (x, y))

    def correlation(pair: tuple[Array, Array]) -> Array:
        return CORRELATIONS[method](_matmul(x, pair[0]), _matmul(y, pair[1]), rows)

    correlations = jax.lax.map(correlation, (x, y), batch_size=_BLOCK)
    return arrays.safe_divide(arrays.masked_sum(correlations, rows), jnp.sum(rows))


def mutual_neighbors(
    x: Float[AnyArray, "N D1"],
    y: Float[AnyArray, "N D2"],
    k: int,
    *,
    where: Where = None,
    similarity: str = "inner",
) -> Float[Array, ""]:
    """The share of a sample's k nearest neighbours that two spaces have in common.

    The mean over the samples of |nn_x(n) and nn_y(n)| / k, the sample itself left out.
    The published measure takes as nearest those with the largest inner product: with
    rows of unlike length, long ones are near to everyone. Of unit rows these are the
    neighbours by cosine, and by Euclidean distance too.

    Args:
        x: (N, D1), floating point.
        y: (N, D2), floating point; row n is the same sample as row n of x.
        k: the number of neighbours, 1 to N - 1.
        where: (N,), the samples that count, as neighbours too; all if None.
        similarity: "inner", or "euclidean", minus the distance.

    Returns:
        A scalar in [0, 1] in float32 or wider; near k / (N - 1) for spaces that have
        nothing to do with each other. Of equally near neighbours those of lower index
        are taken. NaN if a row holds a NaN, or fewer than k + 1 samples count. Its
        gradient is zero.

    Raises:
        ValueError: if x and y are not floating point matrices of one N, there are not
            k other samples, or the similarity is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[0.0], [1.0], [3.0], [7.0]])
        >>> mutual_neighbors(x, x[::-1], 1, similarity="euclidean")
        Array(0.5, dtype=float32)

    Source: Huh et al., "The Platonic representation hypothesis" (2024), appendix A.
    """
    arrays.check_pair(x, y, where)
    check_neighbors(k, len(x), where)
    if similarity not in NEARNESS:
        raise ValueError(
            f"unknown similarity {similarity!r}; known are {', '.join(NEARNESS)}."
        )
    return _mutual_neighbors(x, y, k, where, similarity)


@partial(jax.jit, static_argnames="num_classes")
def _separability(
    space: Array, labels: Array, num_classes: int, where: Array | None
) -> Float[Array, "C C"]:
    rows = arrays.all_rows(space, where)
    x, _ = arrays.rescaled(arrays.widen(space), rows)
    x, _ = arrays.centre(x, rows)  # differences of large means have few digits
    rest, means, members = _class_centre(x, labels, num_classes, rows)
    count = jnp.sum(members, axis=0)
    distance = arrays.safe_sqrt(jnp.sum(rest**2, axis=1))
    spread = arrays.safe_divide(_matmul(distance, members), count, 0.0)
    between = arrays.safe_sqrt(arrays.squared_distances(means, means))
    known = (count > 0)[:, None] & (count > 0) & ~jnp.eye(num_classes, dtype=bool)
    within = (spread[:, None] + spread) / 2
    return jnp.where(known, arrays.safe_divide(between, within), jnp.nan)


@partial(jax.jit, static_argnames="num_classes")
def _class_means(
    space: Array, labels: Array, num_classes: int, where: Array | None
) -> Float[Array, "C D"]:
    rows = arrays.all_rows(space, where)
    x = arrays.keep(arrays.widen(space), rows)
    _, means, members = _class_centre(x, labels, num_classes, rows)
    return jnp.where((jnp.sum(members, axis=0) > 0)[:, None], means, jnp.nan)


def _class_centre(
    x: Float[Array, "N D"],
    labels: Integer[Array, " N"],
    num_classes: int,
    rows: Bool[Array, " N"],
) -> tuple[Float[Array, "N D"], Float[Array, "C D"], Float[Array, "N C"]]:
    """The rows less the mean of their class; the means, zero of no rows; who is whose.

    Twice, and without what is rounding alone, for the reasons given in `arrays.centre`.
    """
    members = arrays.one_hot(labels, num_classes, rows).astype(x.dtype)
    count = jnp.sum(members, axis=0)

    def mean(values: Float[Array, "N D"]) -> Float[Array, "C D"]:
        return arrays.safe_divide(_matmul(members.T, values), count[:, None], 0.0)

    def own(values: Float[Array, "C D"]) -> Float[Array, "N D"]:
        return jnp.take(values, labels.astype(jnp.int32), axis=0, mode="clip")

    first = mean(x)
    rest = arrays.keep(x - own(first), rows)
    second = mean(rest)
    rest = arrays.keep(rest - own(second), rows)
    rounding = 4 * jnp.finfo(x.dtype).eps * jnp.abs(own(first))
    return jnp.where(jnp.abs(rest) <= rounding, 0, rest), first + second, members


@partial(jax.jit, static_argnames=("k", "similarity"))
def _mutual_neighbors(
    x: Array, y: Array, k: int, where: Array | None, similarity: str
) -> Float[Array, ""]:
    rows = arrays.all_rows(x, where)
    x, y = (arrays.rescaled(arrays.widen(space), rows)[0] for space in (x, y))

    def shared(n: Array) -> Array:
        candidates = rows & (jnp.arange(len(rows)) != n)
        near = (NEARNESS[similarity](space, space[n]) for space in (x, y))
        of_x, of_y = (
            jax.lax.top_k(jnp.where(candidates, values, -jnp.inf), k)[1]
            for values in near
        )
        return jnp.sum(of_x[:, None] == of_y) / k

    shares = jax.lax.map(shared, jnp.arange(len(rows)), batch_size=_BLOCK)
    dtype = jnp.result_type(x, y)
    value = arrays.safe_divide(
        arrays.masked_sum(shares.astype(dtype), rows), jnp.sum(rows)
    )
    known = (jnp.sum(rows) > k) & ~jnp.any(jnp.isnan(x)) & ~jnp.any(jnp.isnan(y))
    return jnp.where(known, value, jnp.nan)


def _minus_distance(
    x: Float[Array, "N D"], row: Float[Array, " D"]
) -> Float[Array, " N"]:
    return -jnp.sum((x - row) ** 2, axis=1)


NEARNESS: dict[str, Callable[[Array, Array], Array]] = {
    "inner": _matmul,
    "euclidean": _minus_distance,
}


def _cosine(
    x: Float[Array, " N"], y: Float[Array, " N"], rows: Bool[Array, " N"]
) -> Float[Array, ""]:
    x, y = arrays.keep(x, rows), arrays.keep(y, rows)
    lengths = arrays.safe_sqrt(jnp.sum(x**2)) * arrays.safe_sqrt(jnp.sum(y**2))
    return arrays.safe_divide(jnp.sum(x * y), lengths)


def _pearson(
    x: Float[Array, " N"], y: Float[Array, " N"], rows: Bool[Array, " N"]
) -> Float[Array, ""]:
    x, y = (arrays.centre(values[:, None], rows)[0][:, 0] for values in (x, y))
    return _cosine(x, y, rows)


def _spearman(
    x: Float[Array, " N"], y: Float[Array, " N"], rows: Bool[Array, " N"]
) -> Float[Array, ""]:
    return _pearson(_ranks(x, rows), _ranks(y, rows), rows)


def _ranks(x: Float[Array, " N"], rows: Bool[Array, " N"]) -> Float[Array, " N"]:
    """Ranks among `rows` from zero; equal values share their mean rank."""
    ordered = jnp.sort(jnp.where(rows, x, jnp.inf))
    below = jnp.searchsorted(ordered, x, side="left")
    up_to = jnp.searchsorted(ordered, x, side="right")
    return ((below + up_to - 1) / 2).astype(x.dtype)


CORRELATIONS: dict[str, Callable[[Array, Array, Array], Array]] = {
    "pearson": _pearson,
    "spearman": _spearman,
    "cosine": _cosine,
}


def check_classes(
    space: AnyArray, labels: AnyArray, num_classes: int, where: AnyArray | None
) -> None:
    """Raise ValueError unless there is a label in 0..C-1 for every row that counts."""
    arrays.check_rows("space", space)
    arrays.check_mask("where", where, space.shape[:1], "(N,)")
    arrays.check_labels(labels, space.shape[0], num_classes, where)


def check_neighbors(k: int, num_rows: int, where: AnyArray | None) -> None:
    """Raise ValueError unless every sample has k others, where that can be known."""
    count = num_rows
    if where is not None and arrays.is_concrete(where):
        count = int(where.sum())
    if not 1 <= k < count:
        raise ValueError(
            f"k must be from 1 to one less than the number of samples that count; got "
            f"k={k} and {count} samples of {num_rows}."
        )
