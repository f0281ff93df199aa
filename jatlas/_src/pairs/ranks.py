"""Ranks of the right answers in a gallery, and nearest rows."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jatlas._src import arrays, chunks

# Two similarities that differ by no more than this, times eps and the mean length of
# the two gallery rows, differ by rounding.
_ROUNDING = 8


def ranks_of(
    queries: Float[Array, "N D"],
    gallery: Float[Array, "G D"],
    answers: Float[Array, "N D"],
    places: Int[Array, " N"],
    candidates: Bool[Array, " G"],
) -> Int[Array, " N"]:
    """The rank of each query's answer among the candidates.

    Rows are ranked by their inner product with the query. A tie goes against the query.
    The answer itself counts once, whether or not it is a candidate. `answers` are rows
    `places` of the gallery: given as rows, lest they be sent around where samples lie
    on several devices.

    >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    >>> ranks_of(x, x, x[::-1], jnp.array([1, 0]), jnp.ones(2, bool)).tolist()
    [2, 2]
    """
    num_queries, num_rows = len(queries), len(gallery)
    everyone = jnp.arange(num_rows)
    lengths = arrays.safe_sqrt(jnp.sum(gallery**2, axis=1))

    def ranks(samples: tuple[Array, ...]) -> Int[Array, " n"]:
        query, answer, length, place = samples
        similar = arrays.matmul(query, gallery.T)
        right = jnp.sum(query * answer, axis=1)
        rounding = _ROUNDING * jnp.finfo(similar.dtype).eps
        slack = rounding * (length[:, None] + lengths) / 2
        others = candidates & (everyone != place[:, None])
        ahead = others & (similar >= right[:, None] - slack)
        return 1 + jnp.sum(ahead, axis=1)

    length = arrays.safe_sqrt(jnp.sum(answers**2, axis=1))
    samples = (queries, answers, length, places)
    size = chunks.chunk_size(num_queries, chunks.pair_rows(num_rows))
    return chunks.map_samples(ranks, samples, (0,) * len(samples), size)


def nearest(
    queries: Float[Array, "N D"],
    gallery: Float[Array, "G D"],
    candidates: Bool[Array, " G"],
    k: int,
) -> Int[Array, "N k"]:
    """The k candidates most similar to each query, by the inner product."""

    def rows(query: tuple[Array]) -> Int[Array, "n k"]:
        similar = arrays.matmul(query[0], gallery.T)
        return jax.lax.top_k(jnp.where(candidates, similar, -jnp.inf), k)[1]

    size = chunks.chunk_size(len(queries), chunks.pair_rows(len(gallery)))
    return chunks.map_samples(rows, (queries,), (0,), size)
