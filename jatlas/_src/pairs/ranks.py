"""Ranks of the right answers in a gallery, and nearest rows."""

from collections.abc import Callable

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
    ahead = _ahead(gallery, candidates)

    def ranks(samples: tuple[Array, ...]) -> Int[Array, " n"]:
        return ahead(arrays.matmul(samples[0], gallery.T), *samples)

    return _by_query(ranks, queries, answers, places, len(gallery))


def ranks_and_nearest(
    queries: Float[Array, "N D"],
    gallery: Float[Array, "G D"],
    answers: Float[Array, "N D"],
    places: Int[Array, " N"],
    candidates: Bool[Array, " G"],
    k: int,
) -> tuple[Int[Array, " N"], Int[Array, "N k"]]:
    """`ranks_of`, and the k candidates most similar to each query.

    >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]])
    >>> rows = jnp.array([False, True, True])
    >>> ranks, places = ranks_and_nearest(x[:1], x, x[1:2], jnp.array([1]), rows, 2)
    >>> ranks.tolist(), places.tolist()
    ([2], [[2, 1]])
    """
    ahead = _ahead(gallery, candidates)

    def rows(samples: tuple[Array, ...]) -> Int[Array, "n _"]:
        similar = arrays.matmul(samples[0], gallery.T)
        near = jax.lax.top_k(jnp.where(candidates, similar, -jnp.inf), k)[1]
        return jnp.column_stack([ahead(similar, *samples), near])

    both = _by_query(rows, queries, answers, places, len(gallery))
    return both[:, 0], both[:, 1:]


def _by_query(
    function: Callable[[tuple[Array, ...]], Array],
    queries: Float[Array, "N D"],
    answers: Float[Array, "N D"],
    places: Int[Array, " N"],
    num_rows: int,
) -> Array:
    """Apply a function to some queries at a time, with their answers."""
    length = arrays.safe_sqrt(jnp.sum(answers**2, axis=1))
    samples = (queries, answers, length, places)
    size = chunks.chunk_size(len(queries), chunks.pair_rows(num_rows))
    return chunks.map_samples(function, samples, (0,) * len(samples), size)


def _ahead(
    gallery: Float[Array, "G D"], candidates: Bool[Array, " G"]
) -> Callable[..., Int[Array, " n"]]:
    """Ranks of answers from similarities of queries to the gallery."""
    everyone = jnp.arange(len(gallery))
    lengths = arrays.safe_sqrt(jnp.sum(gallery**2, axis=1))

    def ranks(
        similar: Array, query: Array, answer: Array, length: Array, place: Array
    ) -> Int[Array, " n"]:
        right = jnp.sum(query * answer, axis=1)
        rounding = _ROUNDING * jnp.finfo(similar.dtype).eps
        slack = rounding * (length[:, None] + lengths) / 2
        others = candidates & (everyone != place[:, None])
        ahead = others & (similar >= right[:, None] - slack)
        return 1 + jnp.sum(ahead, axis=1)

    return ranks
