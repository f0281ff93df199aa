"""Merge charts into the atlas at the speed of matrix products."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from jatlas._src import arrays, border, layout
from jatlas._src.arrays import AnyArray, Number, Precision
from jatlas._src.weights import Weights, check_weights
from jatlas.merging.contraction import Stacked, check_charts, dtype_of, merged_rows
from jatlas.merging.relative import Similarity, similarity_function

# Of embeddings on the host no more than so many bytes are sent to the device at once.
HOST_BYTES = 1 << 26


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
    """Merge embeddings into the atlas.

    It is relativize, then masked_mean, with no (M, N, A) formed. r(x) = (1/K) sum over
    the K charts k that have x of s(E_k(x), E_k(anchors)). With the cosine this is one
    product, of unit rows over K with unit anchors, contracted over charts and features:
    at the speed of a matrix product. It is made some samples at a time, so that memory
    beyond the inputs and the result does not grow with N.

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
    for name, spaces in (("embeddings", embeddings), ("anchors", anchors)):
        for x in jax.tree.leaves(spaces):
            border.check_known(name, x)
    # The function, not its name, is what is compiled for: a name can be given anew.
    similarity = similarity_function(similarity)
    options = {"similarity": similarity, "precision": precision, "dtype": dtype}
    of_rows = partial(merged_rows, empty=empty, **options)
    samples = (embeddings, presence, weights)
    if batch_size is not None:
        arrays.check_count("batch_size", batch_size, 1)
    spread = [layout.of_samples(x, -2) for x in jax.tree.leaves(embeddings)]
    if own := next((found for found in spread if found is not None), None):
        return _on_devices(
            own,
            samples,
            anchors,
            empty,
            batch_size=batch_size,
            **options,
        )
    anchors, presence, weights = jax.tree.map(
        border.native, (anchors, presence, weights)
    )
    samples = (embeddings, presence, weights)
    if any(isinstance(x, np.ndarray) for x in jax.tree.leaves(embeddings)):
        num_samples, _ = _check_samples(samples, anchors)
        size = batch_size or _rows_to_send(embeddings)
        if batch_size is not None or size < num_samples:
            return _from_host(of_rows, samples, anchors, size, dtype)
    embeddings = jax.tree.map(border.native, embeddings)
    return of_rows(embeddings, presence, weights, anchors, batch_size=batch_size)


def _rows_to_send(embeddings: Stacked) -> int:
    """How many samples the device is sent at once, one at least."""
    leaves = jax.tree.leaves(embeddings)
    each = sum(x.nbytes // max(1, x.shape[-2]) for x in leaves)
    return max(1, HOST_BYTES // max(1, each))


def _on_devices(
    own: NamedSharding,
    samples: tuple[Stacked, AnyArray, Weights | None],
    anchors: Stacked,
    empty: Number,
    **options: Any,
) -> Float[Array, "N A"]:
    """The atlas of sharded samples, with all inputs placed first."""
    _check_samples(samples, anchors)
    inputs = (*samples, anchors, empty)
    if own.is_fully_addressable:  # across hosts, all must have put it there already
        inputs = jax.tree.map(
            lambda spec, x: jax.device_put(x, NamedSharding(own.mesh, spec)),
            _specs(own, *samples, anchors),
            inputs,
            is_leaf=lambda x: isinstance(x, PartitionSpec),
        )
    return _by_device(*inputs, own=own, **options)


def _specs(
    own: NamedSharding,
    embeddings: Stacked,
    presence: AnyArray,
    weights: Weights | None,
    anchors: Stacked,
) -> tuple[Any, ...]:
    """Partition specs of a merge: sharded samples, the others replicated."""
    everywhere, of_charts = PartitionSpec(), PartitionSpec(None, own.spec[0])
    return (
        jax.tree.map(lambda x: of_charts if x.ndim == 3 else own.spec, embeddings),
        of_charts,
        jax.tree.map(lambda w: of_charts if w.ndim == 2 else everywhere, weights),
        jax.tree.map(lambda _: everywhere, anchors),
        everywhere,
    )


@partial(
    jax.jit, static_argnames=("own", "similarity", "precision", "batch_size", "dtype")
)
def _by_device(*inputs: Any, own: NamedSharding, **options: Any) -> Float[Array, "N A"]:
    """Each device merges its own rows; nothing is sent."""

    def each(*inputs: Any) -> Array:
        return merged_rows(*inputs[:-1], empty=inputs[-1], **options)

    mapped = jax.shard_map(
        each,
        mesh=own.mesh,
        in_specs=_specs(own, *inputs[:-1]),
        out_specs=own.spec,
        check_vma=False,
    )
    return mapped(*inputs)


def _from_host(
    of_rows: Callable[..., Array],
    samples: tuple[Stacked, AnyArray, Weights | None],
    anchors: Stacked,
    batch_size: int,
    dtype: DTypeLike | None,
) -> Float[Array, "N A"]:
    """`of_rows` of samples on the host, in batches of `batch_size`."""
    embeddings, presence, weights = samples
    num_samples, num_anchors = _check_samples(samples, anchors)
    anchors = jax.tree.map(jnp.asarray, anchors)
    out = dtype_of(embeddings, anchors, dtype)
    merged, before = jnp.zeros((num_samples, num_anchors), out), None
    size = min(batch_size, num_samples)
    for chunk in range(0, num_samples, max(size, 1)):
        # The last chunk is as long as the others, so that nothing is compiled again.
        start = min(chunk, num_samples - size)
        stop = start + size
        own = weights
        if weights is not None and weights.ndim == 2:
            own = weights[:, start:stop]
        x = jax.tree.map(
            lambda x, i=start, j=stop: border.native(x[..., i:j, :]), embeddings
        )
        rows = of_rows(x, presence[:, start:stop], own, anchors)
        # Under a transformation of JAX no memory is given away.
        put = _put_in_place if arrays.is_concrete(rows) else _put
        merged = put(merged, rows, start)
        # The device may be one chunk behind, not more: those would fill its memory.
        jax.block_until_ready(before)
        before = rows
    return merged


def _put(merged: Array, rows: Array, start: int | Array) -> Array:
    return jax.lax.dynamic_update_slice_in_dim(merged, rows, start, 0)


_put_in_place = jax.jit(_put, donate_argnums=0)


def _check_samples(
    samples: tuple[Stacked, AnyArray, Weights | None], anchors: Stacked
) -> tuple[int, int]:
    """N and A; ValueError unless presence and weights fit the charts too."""
    embeddings, presence, weights = samples
    num_samples, num_anchors = check_charts(embeddings, anchors)
    shape = (len(embeddings), num_samples)
    arrays.check_mask("presence", presence, shape, "(M, N)")
    check_weights(weights, shape)
    return num_samples, num_anchors
