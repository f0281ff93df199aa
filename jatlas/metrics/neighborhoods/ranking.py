"""Retrieval: samples of one space found among those of another."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jatlas._src import arrays, border, layout
from jatlas._src.arrays import AnyArray, Where
from jatlas._src.pairs.ranks import ranks_of

SIMILARITIES = ("cosine", "inner")


class Retrieval(NamedTuple):
    """How well queries find their own samples in a gallery.

    Attributes:
        mean_reciprocal_rank: (), the mean of 1 / rank of the right row.
        recall_at_1: (), the share of queries to which the right row is the nearest.
        recall_at_k: (), the share that have it among their k nearest.
    """

    mean_reciprocal_rank: Float[Array, ""]
    recall_at_1: Float[Array, ""]
    recall_at_k: Float[Array, ""]


@border.border
def retrieval(
    queries: Float[AnyArray, "N D"],
    gallery: Float[AnyArray, "N D"],
    k: int,
    *,
    where: Where = None,
    similarity: str = "cosine",
) -> Retrieval:
    """How well rows of one space find their samples in another.

    The gallery is put in order of similarity to query n, and the right answer is its
    row n. Both must be in one space: two encoders' own spaces are not, their rows of an
    atlas are.

    A tie goes against the query: the rank of the right row is the number of rows that
    are no less similar than it, itself too. So no order in which rows happen to stand
    helps, and where all rows are alike all ranks are N. By chance, without ties, the
    reciprocal rank is (1 + 1/2 + ... + 1/N) / N and recall k / N.

    Args:
        queries: (N, D), floating point.
        gallery: (N, D), floating point; row n is the same sample as query n.
        k: how many of the nearest are looked at for `recall_at_k`, 1 to N.
        where: (N,), the samples that count, as queries and in the gallery; all if None.
        similarity: "cosine", or "inner", the inner product, for an index that ranks by
            it. A zero row has similarity zero to every other, and is no further from
            some than from others.

    Returns:
        A `Retrieval`, scalars in [0, 1] in float32 or wider. All three are NaN if a row
        that counts holds a NaN or an infinity, or none counts. Cosines that are nearer
        to each other than 8 eps are equal, of inner products those nearer than that
        times the mean length of the two gallery rows, the query being of length one.
        The gradient is zero: ranks do not change smoothly.

    Raises:
        ValueError: if queries and gallery are not floating point matrices of one N and
            one D, k is not from 1 to N, where is not boolean and (N,), or the
            similarity is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> queries = jnp.array([[1.0, 0.0], [0.0, 1.0]])
        >>> retrieval(queries, jnp.array([[2.0, 1.0], [3.0, 1.0]]), 2)
        Retrieval(mean_reciprocal_rank=Array(0.5, dtype=float32),
                  recall_at_1=Array(0., dtype=float32),
                  recall_at_k=Array(1., dtype=float32))

    Source: Voorhees, "The TREC-8 question answering track report" (1999), for the
    reciprocal rank; ties as in the pessimistic rank of Berrendorf et al. (2020).
    """
    _check(queries, gallery, k, where)
    if similarity not in SIMILARITIES:
        raise ValueError(
            f"unknown similarity {similarity!r}; known are {', '.join(SIMILARITIES)}."
        )
    return _retrieval(queries, gallery, k, where, similarity)


@partial(jax.jit, static_argnames="similarity")
@layout.automatic()
def _retrieval(
    queries: Array, gallery: Array, k: int | Array, where: Where, similarity: str
) -> Retrieval:
    rows = arrays.all_rows(queries, where)
    queries, gallery = (
        jax.lax.stop_gradient(arrays.rescaled(arrays.widen(space), rows)[0])
        for space in (queries, gallery)
    )
    finite = jnp.all(jnp.isfinite(queries)) & jnp.all(jnp.isfinite(gallery))
    # The length of a query does not change the order of its answers.
    queries = arrays.unit(queries)
    gallery = arrays.unit(gallery) if similarity == "cosine" else gallery
    ranks = ranks_of(queries, gallery, gallery, jnp.arange(len(rows)), rows)

    def mean(values: Array) -> Float[Array, ""]:
        total = arrays.masked_sum(values.astype(dtype), rows)
        return jnp.where(finite, arrays.safe_divide(total, jnp.sum(rows)), jnp.nan)

    dtype = jnp.result_type(queries, gallery)
    return Retrieval(mean(1 / ranks.astype(dtype)), mean(ranks <= 1), mean(ranks <= k))


def _check(
    queries: AnyArray, gallery: AnyArray, k: int, where: AnyArray | None
) -> None:
    arrays.check_rows("queries", queries)
    arrays.check_rows("gallery", gallery)
    arrays.check_equal(
        "the number of samples N of queries and gallery",
        [queries.shape[0], gallery.shape[0]],
        "Row n of the gallery must be the sample of query n.",
    )
    arrays.check_equal(
        "the dimension D of queries and gallery",
        [queries.shape[1], gallery.shape[1]],
        "Bring both into one space first, as `merge` does.",
    )
    arrays.check_mask("where", where, queries.shape[:1], "(N,)")
    arrays.check_count("k", k, 1)
    if k > queries.shape[0]:
        raise ValueError(
            f"k must be from 1 to the number of samples, got k={k} and "
            f"{queries.shape[0]} samples."
        )
