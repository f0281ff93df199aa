"""Merge charts into the atlas as one matrix product."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from jatlas._src import border
from jatlas._src.arrays import AnyArray, Number, Precision
from jatlas._src.weights import Weights
from jatlas.merging.contraction import Stacked, check_charts, dtype_of, merged_rows
from jatlas.merging.placed import merged
from jatlas.merging.relative import (
    Similarity,
    check_not_indices,
    similarity_function,
)


@border.promoting
def merge(
    embeddings: Float[AnyArray, "M N D"] | Sequence[Float[AnyArray, "N _"]],
    anchors: Float[AnyArray, "M A D"] | Sequence[Float[AnyArray, "A _"]],
    presence: Bool[AnyArray, "M N"],
    *,
    weights: Weights | None = None,
    similarity: Similarity = "cosine",
    empty: Number = jnp.nan,
    precision: Precision = "highest",
    batch_size: int | None = None,
    dtype: DTypeLike | None = None,
) -> Float[Array, "N A"]:
    """Merge embeddings into the atlas, with no (M, N, A) formed.

    What `relativize` and then `masked_mean` give.

    r(x) = (1/K) sum over the K charts k that have x of s(E_k(x), E_k(anchors)). With
    the cosine this is one product, of unit rows over K with unit anchors, contracted
    over charts and features: no chart takes one of its own. It is made some samples
    at a time, so that memory beyond the inputs and the result does not grow with N.

    Args:
        embeddings: (M, N, D), or M arrays (N, D_m) where the charts' dimensions differ;
            nothing is padded. Rows of absent samples are not looked at.
        anchors: (M, A, D), or M arrays (A, D_m): each chart's embeddings of the same A
            anchors in the same order.
        presence: (M, N), boolean.
        weights: (M,) or (M, N), not negative (else NaN); all 1 if None.
        similarity: as in `relativize`.
        empty: what stands in the rows of a sample in no chart, or whose weights are
            all zero.
        precision: of the matrix products, as in `jax.lax.Precision`.
        batch_size: samples at a time; chosen if None. Of NumPy embeddings, also of
            memory-mapped ones, only so many are read and sent to the device at once, or
            64 MiB of them if None. Of those on the device it is a fourth to twice as
            many, where that divides N.
        dtype: of the result, floating point; that of embeddings and anchors if None,
            the wider of both.

    Returns:
        (N, A), computed in float32 or wider and rounded once: to bfloat16 off by up to
        2^-8 of a value, 2.0e-3 of a cosine, which `dtype=jnp.float32` spares. Gradients
        are finite, and zero for absent rows. Of samples sharded over devices (see
        `jatlas.devices.place`) each makes the rows that it holds. In a `jax.jit` of
        yours too, but there the layout cannot be seen, and the compiler copies stacked
        embeddings once.

    Raises:
        ValueError: if charts differ in N or A, embeddings and anchors differ in D or M,
            presence has another shape or is not boolean, the weights are not (M,) or
            (M, N) and floating point, batch_size is below 1, dtype is not
            floating point, or the similarity is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> embeddings = jnp.array([[[1.0, 0.0], [0.0, 2.0]], [[0.0, 3.0], [5.0, 0.0]]])
        >>> anchors = jnp.array([[[1.0, 0.0]], [[0.0, 1.0]]])
        >>> merge(embeddings, anchors, jnp.array([[True, True], [True, False]]))
        Array([[1.],
               [0.]], dtype=float32)

    Source: Crisostomi et al., "From Charts to Atlas" (2023), section 3.
    """
    border.check_all_known("anchors", anchors)
    rank = 2 if isinstance(anchors, list | tuple) else 3
    check_not_indices(
        anchors,
        rank,
        "`merge(E, E[:, anchors], presence)`, or `[x[anchors] for x in E]` of a list",
    )
    # The function, not its name, is what is compiled for: a name can be given anew.
    options = {
        "similarity": similarity_function(similarity),
        "precision": precision,
        "dtype": dtype,
    }

    def check(embeddings: Stacked, anchors: Stacked) -> tuple[int, jnp.dtype]:
        _, num_anchors = check_charts(embeddings, anchors)
        return num_anchors, dtype_of(embeddings, anchors, dtype)

    samples = (embeddings, presence, weights)
    return merged(merged_rows, check, samples, anchors, empty, batch_size, options)
