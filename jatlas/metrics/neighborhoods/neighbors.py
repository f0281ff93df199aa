"""The nearest neighbours that two spaces have in common."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jatlas._src import arrays, border, chunks, layout
from jatlas._src.arrays import AnyArray, Where
from jatlas.metrics.neighborhoods.nearest import check_neighborhoods, nearest_neighbors


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


@border.border
def rank_biased_neighbors(
    x: Float[AnyArray, "N D1"],
    y: Float[AnyArray, "N D2"],
    k: int,
    *,
    p: float = 0.9,
    where: Where = None,
    similarity: str = "cosine",
) -> Float[Array, ""]:
    """The rank-biased overlap of two spaces' k nearest neighbours.

    With A_d the share of the d nearest of a sample that both spaces have, the mean over
    the samples of `A_k p^k + (1 - p) / p (A_1 p + ... + A_k p^k)`: the nearest weigh
    most, and the order of neighbours counts. It is what a reader sees in common who
    goes down both lists and at each rank goes on with probability p, if further down
    the lists agree as in the first k.

    Args:
        x: (N, D1), floating point.
        y: (N, D2), floating point; row n is the same sample as row n of x.
        k: the number of neighbours, 1 to N - 1.
        p: above 0 and below 1: 1 / (1 - p) ranks are read on average.
        where: (N,), the samples that count, as neighbours too; all if None.
        similarity: as for `mutual_neighbors`; by default the cosine.

    Returns:
        A scalar in [0, 1] up to rounding, in float32 or wider; 1 where the k nearest
        are the same in the same order. NaN where `mutual_neighbors` is. Its gradient is
        zero.

    Raises:
        ValueError: as `mutual_neighbors`, and if p is not between 0 and 1.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[1.0, 0.0], [0.9, 0.1], [0.6, 0.5], [0.0, 1.0]])
        >>> y = x * jnp.array([1.0, 5.0])
        >>> rank_biased_neighbors(x, y, 2, p=0.5).round(4)
        Array(0.8125, dtype=float32)

    Source: Webber, Moffat and Zobel, "A similarity measure for indefinite rankings"
    (2010), equation 32, RBO extrapolated.
    """
    check_neighborhoods(x, y, k, where, similarity)
    if not 0 < p < 1:
        raise ValueError(f"p must lie between 0 and 1, got {p}.")
    # What a common neighbour adds whose worse rank is m.
    depths = np.arange(1, k + 1)
    later = np.cumsum((p**depths / depths)[::-1])[::-1]
    weights = jnp.asarray(p**k / k + (1 - p) / p * later)
    return _mean_score(x, y, k, where, similarity, "rank biased", weights)


@partial(jax.jit, static_argnames=("k", "similarity", "score"))
@layout.automatic()
def _mean_score(
    x: Array,
    y: Array,
    k: int,
    where: Array | None,
    similarity: str,
    score: str,
    *weights: Array,
) -> Float[Array, ""]:
    rows = arrays.all_rows(x, where)
    x, y = (
        jax.lax.stop_gradient(arrays.rescaled(arrays.widen(space), rows)[0])
        for space in (x, y)
    )
    nearest = nearest_neighbors((x, y), rows, k, similarity)
    scores = SCORES[score](*nearest, *weights).astype(jnp.result_type(x, y))
    value = arrays.safe_divide(arrays.masked_sum(scores, rows), jnp.sum(rows))
    known = (jnp.sum(rows) > k) & jnp.all(jnp.isfinite(x)) & jnp.all(jnp.isfinite(y))
    return jnp.where(known, value, jnp.nan)


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


def _rank_biased(
    x: Int[Array, "N k"], y: Int[Array, "N k"], weights: Float[Array, " k"]
) -> Float[Array, " N"]:
    places = jnp.arange(x.shape[1])
    worse = jnp.maximum(places[:, None], places)
    shared = x[:, :, None] == y[:, None, :]
    return jnp.sum(jnp.where(shared, weights[worse], 0), axis=(1, 2))


SCORES: dict[str, Callable[..., Array]] = {
    "mutual": _mutual,
    "jaccard": _jaccard,
    "cycle": _cycle,
    "rank biased": _rank_biased,
}
