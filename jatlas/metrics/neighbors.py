"""The nearest neighbours that two spaces have in common."""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jatlas._src import arrays, border, chunks, layout
from jatlas._src.arrays import AnyArray, Where
from jatlas._src.pairs.differences import squared_distances

# Columns of a group, whose largest value is looked at before its values are.
_GROUP = 16


@border.border
def mutual_neighbors(
    x: Float[AnyArray, "N D1"],
    y: Float[AnyArray, "N D2"],
    k: int,
    *,
    where: Where = None,
    similarity: str = "inner",
) -> Float[Array, ""]:
    """The share of k nearest neighbours that two spaces have in common.

    The mean over the samples of `|nn_x(n) and nn_y(n)| / k`, the sample itself left
    out. The published measure takes as nearest those with the largest inner product:
    with rows of unlike length, long ones are near to everyone. Of unit rows these are
    the neighbours by cosine, and by Euclidean distance too.

    Args:
        x: (N, D1), floating point.
        y: (N, D2), floating point; row n is the same sample as row n of x.
        k: the number of neighbours, 1 to N - 1.
        where: (N,), the samples that count, as neighbours too; all if None.
        similarity: "inner"; or, for rows of unlike length, "cosine" or "euclidean",
            minus the distance.

    Returns:
        A scalar in [0, 1] in float32 or wider; near k / (N - 1) for spaces that have
        nothing to do with each other. Of equally near neighbours those of lower index
        are taken. NaN if a row holds a NaN or an infinity, or fewer than k + 1 samples
        count. Its gradient is zero.

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
    check_neighborhoods(x, y, k, where, similarity)
    return _mean_score(x, y, k, where, similarity, "mutual")


@border.border
def jaccard_neighbors(
    x: Float[AnyArray, "N D1"],
    y: Float[AnyArray, "N D2"],
    k: int,
    *,
    where: Where = None,
    similarity: str = "cosine",
) -> Float[Array, ""]:
    """The Jaccard similarity of two spaces' k nearest neighbours.

    The mean over the samples of `|nn_x(n) and nn_y(n)| / |nn_x(n) or nn_y(n)|`.

    Args:
        x: (N, D1), floating point.
        y: (N, D2), floating point; row n is the same sample as row n of x.
        k: the number of neighbours, 1 to N - 1.
        where: (N,), the samples that count, as neighbours too; all if None.
        similarity: as for `mutual_neighbors`; by default the cosine, as published.

    Returns:
        A scalar in [0, 1] in float32 or wider, at most the value of `mutual_neighbors`.
        NaN where that is. Its gradient is zero.

    Raises:
        ValueError: as `mutual_neighbors`.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[1.0, 0.0], [0.9, 0.1], [0.5, 0.5], [0.0, 1.0]])
        >>> jaccard_neighbors(x, x * jnp.array([1.0, 9.0]), 2).round(4)
        Array(0.6667, dtype=float32)

    Source: Wang et al., "Towards understanding the instability of network embedding"
    (2020); Klabunde et al., "Similarity of neural network models" (2023), section 3.4.
    """
    check_neighborhoods(x, y, k, where, similarity)
    return _mean_score(x, y, k, where, similarity, "jaccard")


@border.border
def cycle_neighbors(
    x: Float[AnyArray, "N D1"],
    y: Float[AnyArray, "N D2"],
    k: int,
    *,
    where: Where = None,
    similarity: str = "inner",
) -> Float[Array, ""]:
    """The share of samples that neighbours of neighbours lead back to.

    From sample n to its k nearest neighbours in y, and from each of these to its k
    nearest in x: the share of samples n that are among the latter. It is not symmetric,
    and rises with k quickly: there are k^2 ways back.

    Args:
        x: (N, D1), floating point.
        y: (N, D2), floating point; row n is the same sample as row n of x.
        k: the number of neighbours, 1 to N - 1.
        where: (N,), the samples that count, as neighbours too; all if None.
        similarity: as for `mutual_neighbors`.

    Returns:
        A scalar in [0, 1] in float32 or wider. NaN where `mutual_neighbors` is. Its
        gradient is zero.

    Raises:
        ValueError: as `mutual_neighbors`.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[0.0], [1.0], [3.0], [7.0]])
        >>> cycle_neighbors(x, x, 1, similarity="euclidean")
        Array(0.5, dtype=float32)

    Source: Huh et al. (2024), the code's `cycle_knn`.
    """
    check_neighborhoods(x, y, k, where, similarity)
    return _mean_score(x, y, k, where, similarity, "cycle")


@partial(jax.jit, static_argnames=("k", "similarity", "score"))
@layout.automatic()
def _mean_score(
    x: Array, y: Array, k: int, where: Array | None, similarity: str, score: str
) -> Float[Array, ""]:
    rows = arrays.all_rows(x, where)
    x, y = (
        jax.lax.stop_gradient(arrays.rescaled(arrays.widen(space), rows)[0])
        for space in (x, y)
    )
    nearest = nearest_neighbors((x, y), rows, k, similarity)
    scores = SCORES[score](*nearest).astype(jnp.result_type(x, y))
    value = arrays.safe_divide(arrays.masked_sum(scores, rows), jnp.sum(rows))
    known = (jnp.sum(rows) > k) & jnp.all(jnp.isfinite(x)) & jnp.all(jnp.isfinite(y))
    return jnp.where(known, value, jnp.nan)


def nearest_neighbors(
    spaces: Sequence[Float[Array, "N _"]],
    rows: Bool[Array, " N"],
    k: int,
    similarity: str,
) -> list[Int[Array, "N k"]]:
    """Each row's k nearest others in each space, nearest first."""
    if similarity == "cosine":
        spaces = [arrays.unit(space) for space in spaces]

    def nearest(samples: tuple[Array, ...]) -> Int[Array, "n S k"]:
        *queries, index = samples
        candidates = rows & (jnp.arange(len(rows)) != index[:, None])
        both = zip(queries, spaces, strict=True)
        near = (NEARNESS[similarity](query, space) for query, space in both)
        return jnp.stack(
            [_largest(jnp.where(candidates, values, -jnp.inf), k) for values in near],
            axis=1,
        )

    index = jnp.arange(len(rows))
    return list(jnp.moveaxis(chunks.map_padded(nearest, (*spaces, index)), 1, 0))


def _mutual(x: Int[Array, "N k"], y: Int[Array, "N k"]) -> Float[Array, " N"]:
    return jnp.sum(x[:, :, None] == y[:, None, :], axis=(1, 2)) / x.shape[1]


def _jaccard(x: Int[Array, "N k"], y: Int[Array, "N k"]) -> Float[Array, " N"]:
    share = _mutual(x, y)
    return share / (2 - share)


def _cycle(x: Int[Array, "N k"], y: Int[Array, "N k"]) -> Float[Array, " N"]:
    def returns(samples: tuple[Array, Array]) -> Float[Array, " n"]:
        nearest, index = samples
        return jnp.any(x[nearest] == index[:, None, None], axis=(1, 2)) * 1.0

    return chunks.map_padded(returns, (y, jnp.arange(len(y))))


SCORES: dict[str, Callable[[Array, Array], Array]] = {
    "mutual": _mutual,
    "jaccard": _jaccard,
    "cycle": _cycle,
}


def _largest(values: Float[Array, "n N"], k: int) -> Int[Array, "n k"]:
    """Where the k largest values of each row are, ties in order.

    They lie in the k groups of columns whose largest values are the largest, and of
    equal ones the first: any other value has k before it. So most are only looked at in
    finding the largest of their group.
    """
    if values.shape[1] < 4 * k * _GROUP:
        return jax.lax.top_k(values, k)[1]
    missing = -values.shape[1] % _GROUP
    values = jnp.pad(values, ((0, 0), (0, missing)), constant_values=-jnp.inf)
    groups = values.reshape(len(values), -1, _GROUP)
    # In the order of the columns again, for the ties between them.
    chosen = jnp.sort(jax.lax.top_k(jnp.max(groups, axis=2), k)[1], axis=1)
    of_chosen = jnp.take_along_axis(groups, chosen[:, :, None], axis=1)
    places = jax.lax.top_k(of_chosen.reshape(len(values), -1), k)[1]
    group = jnp.take_along_axis(chosen, places // _GROUP, axis=1)
    return group * _GROUP + places % _GROUP


def _inner(of: Float[Array, "n D"], x: Float[Array, "N D"]) -> Float[Array, "n N"]:
    return arrays.matmul(of, x.T)


def _minus_square(
    of: Float[Array, "n D"], x: Float[Array, "N D"]
) -> Float[Array, "n N"]:
    return -squared_distances(x, of).T


# Of unit rows the cosine is the inner product.
NEARNESS: dict[str, Callable[[Array, Array], Array]] = {
    "inner": _inner,
    "cosine": _inner,
    "euclidean": _minus_square,
}


def check_neighborhoods(
    x: AnyArray, y: AnyArray, k: int, where: Where, similarity: str
) -> None:
    """Raise ValueError unless the spaces have such neighbours."""
    arrays.check_pair(x, y, where)
    check_neighbors(k, len(x), where)
    if similarity not in NEARNESS:
        raise ValueError(
            f"unknown similarity {similarity!r}; known are {', '.join(NEARNESS)}."
        )


def check_neighbors(k: int, num_rows: int, where: AnyArray | None) -> None:
    """Raise ValueError unless every sample has k others, if known."""
    count = num_rows
    if where is not None and arrays.is_concrete(where):
        count = int(where.sum())
    if not 1 <= k < count:
        raise ValueError(
            f"k must be from 1 to one less than the number of samples that count; got "
            f"k={k} and {count} samples of {num_rows}."
        )
