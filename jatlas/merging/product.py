"""Merge: embeddings of many charts to the atlas, at the speed of a matrix product."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float

from jatlas._src import arrays, border, chunks, layout
from jatlas._src.arrays import AnyArray, Number, Precision, Shaped
from jatlas._src.weights import Weights, chart_weights, check_weights
from jatlas.merging.relative import (
    Similarity,
    check_spaces,
    cosine,
    inner,
    similarities,
    similarity_function,
)

Stacked = AnyArray | Sequence[AnyArray]

# Similarities that are an inner product of a map of each side: for these, similarity
# and mean over charts are one contraction.
_FEATURE_MAPS = {cosine: arrays.unit, inner: lambda x: x}


@border.border
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
) -> Float[Array, "N A"]:
    """Embeddings to the atlas: relativize, then masked_mean, with no (M, N, A) formed.

    r(x) = (1/K) sum over the K charts k that have x of s(E_k(x), E_k(anchors)). With
    the cosine this is one product, of unit rows over K with unit anchors, contracted
    over charts and features: at the speed of a matrix product. It is made some samples
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
            memory-mapped ones, only so many are read and sent to the device at once. Of
            those on the device it is a fourth to twice as many, where that divides N.

    Returns:
        (N, A) in the dtype of embeddings and anchors, the wider of both; computed in
        float32 or wider. Gradients are finite, and zero for absent rows. Of samples
        sharded over devices (see `jatlas.devices.place`) each makes the rows that it
        holds. In a `jax.jit` of yours too, but there the layout cannot be seen, and the
        compiler copies stacked embeddings once.

    Raises:
        ValueError: if charts differ in N or A, embeddings and anchors differ in D or M,
            presence has another shape or is not boolean, the weights are not (M,) or
            (M, N) and floating point, batch_size is below 1, or the similarity is
            unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> embeddings = jnp.array([[[1.0, 0.0], [0.0, 2.0]], [[0.0, 3.0], [5.0, 0.0]]])
        >>> anchors = jnp.array([[[1.0, 0.0]], [[0.0, 1.0]]])
        >>> merge(embeddings, anchors, jnp.array([[True, True], [True, False]]))
        Array([[1.],
               [0.]], dtype=float32)

    Source: Crisostomi et al., "From Charts to Atlas" (2023), section 3.
    """
    # The function, not its name, is what is compiled for: a name can be given anew.
    similarity = similarity_function(similarity)
    of_rows = partial(_merge, similarity=similarity, empty=empty, precision=precision)
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
            similarity=similarity,
            precision=precision,
            batch_size=batch_size,
        )
    on_host = any(isinstance(x, np.ndarray) for x in jax.tree.leaves(embeddings))
    if batch_size is not None and on_host:
        return _from_host(of_rows, samples, anchors, batch_size)
    return of_rows(*samples, anchors, batch_size=batch_size)


def _on_devices(
    own: NamedSharding,
    samples: tuple[Stacked, AnyArray, Weights | None],
    anchors: Stacked,
    empty: Number,
    **options: Any,
) -> Float[Array, "N A"]:
    """The atlas of sharded samples; all is put where it is needed, if not there yet."""
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
    """How all that a merge takes lies: samples as they are, the rest on all devices."""
    everywhere, of_charts = PartitionSpec(), PartitionSpec(None, own.spec[0])
    return (
        jax.tree.map(lambda x: of_charts if x.ndim == 3 else own.spec, embeddings),
        of_charts,
        jax.tree.map(lambda w: of_charts if w.ndim == 2 else everywhere, weights),
        jax.tree.map(lambda _: everywhere, anchors),
        everywhere,
    )


@partial(jax.jit, static_argnames=("own", "similarity", "precision", "batch_size"))
def _by_device(*inputs: Any, own: NamedSharding, **options: Any) -> Float[Array, "N A"]:
    """Each device merges its own rows; nothing is sent."""

    def each(*inputs: Any) -> Array:
        return _merge(*inputs[:-1], empty=inputs[-1], **options)

    mapped = jax.shard_map(
        each,
        mesh=own.mesh,
        in_specs=_specs(own, *inputs[:-1]),
        out_specs=own.spec,
        check_vma=False,
    )
    return mapped(*inputs)


@partial(jax.jit, static_argnames=("similarity", "precision", "batch_size"))
@layout.automatic("embeddings", -2)
def _merge(
    embeddings: Stacked,
    presence: AnyArray,
    weights: Weights | None,
    anchors: Stacked,
    *,
    similarity: Similarity,
    empty: Number,
    precision: Precision,
    batch_size: int | None = None,
) -> Float[Array, "N A"]:
    num_samples, _ = _check_charts(embeddings, anchors)
    dtype = jnp.result_type(*jax.tree.leaves((embeddings, anchors)))
    wide = jnp.promote_types(dtype, jnp.float32)
    w = chart_weights(presence, weights, (len(embeddings), num_samples), wide)
    function = similarity_function(similarity)
    if function in _FEATURE_MAPS:
        rows = partial(_contracted, _FEATURE_MAPS[function], anchors, precision)
    else:
        rows = partial(_added_up, similarity, anchors, precision)

    def merged(chunk: tuple[Stacked, Array, Array]) -> Array:
        x, present, w = chunk
        total = w.sum(axis=0)
        mean = rows(x, present, arrays.safe_divide(w, total, 0.0))
        return jnp.where(total[:, None] == 0, empty, mean).astype(dtype)

    samples = (embeddings, presence, w)
    axes = jax.tree.map(lambda x: x.ndim - 2, embeddings), 1, 1
    wanted = batch_size or _rows_at_once(embeddings, anchors)
    size = chunks.chunk_size(num_samples, wanted)
    if batch_size is not None and size > 2 * batch_size:
        size = batch_size  # what was asked for comes before what is sent around
    return chunks.map_samples(merged, samples, axes, size)


def _from_host(
    of_rows: Callable[..., Array],
    samples: tuple[Stacked, AnyArray, Weights | None],
    anchors: Stacked,
    batch_size: int,
) -> Float[Array, "N A"]:
    """`of_rows` of samples on the host, `batch_size` of them on the device at once."""
    embeddings, presence, weights = samples
    num_samples, num_anchors = _check_samples(samples, anchors)
    anchors = jax.tree.map(jnp.asarray, anchors)
    dtype = jnp.result_type(*jax.tree.leaves((embeddings, anchors)))
    merged, before = jnp.zeros((num_samples, num_anchors), dtype), None
    size = min(batch_size, num_samples)
    for chunk in range(0, num_samples, max(size, 1)):
        # The last chunk is as long as the others, so that nothing is compiled again.
        start = min(chunk, num_samples - size)
        stop = start + size
        own = weights
        if weights is not None and weights.ndim == 2:
            own = weights[:, start:stop]
        x = jax.tree.map(lambda x, i=start, j=stop: x[..., i:j, :], embeddings)
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


def _rows_at_once(embeddings: Stacked, anchors: Stacked) -> int:
    """A chunk that keeps a device busy, and its cache on a CPU, in little memory.

    A chunk of n rows takes some 2 n (M D + A) numbers, which are kept to about a tenth
    of the M N A of the charts' relative representations.
    """
    x, a = _shapes("embeddings", embeddings), _shapes("anchors", anchors)
    num_samples, num_anchors = x[0].shape[0], a[0].shape[0]
    width = sum(own.shape[1] for own in x) + num_anchors
    tenth = len(x) * num_samples * num_anchors // (20 * width)
    cpu = jax.default_backend() == "cpu"
    most = 512 * jax.process_count() if cpu else 8192 * jax.device_count()
    # A step of the loop costs an accelerator some launches, and a CPU packing anchors.
    least = 64 if cpu else 1024
    return max(least, min(most, tenth))


def _contracted(
    feature_map: Callable[[Array], Array],
    anchors: Stacked,
    precision: Precision,
    embeddings: Stacked,
    presence: Bool[Array, "M n"],
    shares: Float[Array, "M n"],
) -> Float[Array, "n A"]:
    """The charts side by side, (n, D_1 + ... + D_M), times their anchors.

    Written next to each other chart by chart: transposing (M, n, D) is slower on a CPU.
    """
    sides = zip(embeddings, presence, shares, strict=True)
    x = [
        feature_map(arrays.keep(arrays.widen(own), present)) * share[:, None]
        for own, present, share in sides
    ]
    a = [feature_map(arrays.widen(own)).T for own in anchors]
    return jnp.matmul(
        jnp.concatenate(x, axis=1).astype(shares.dtype),
        jnp.concatenate(a, axis=0).astype(shares.dtype),
        precision=precision,
    )


def _added_up(
    similarity: Similarity,
    anchors: Stacked,
    precision: Precision,
    embeddings: Stacked,
    presence: Bool[Array, "M n"],
    shares: Float[Array, "M n"],
) -> Float[Array, "n A"]:
    """Sum over the charts of share times similarity, one chart's (n, A) at a time."""

    def add(merged: Array, chart: tuple) -> tuple[Array, None]:
        x, a, present, share = chart
        x = arrays.keep(arrays.widen(x), present)
        relative = similarities(x, arrays.widen(a), similarity, precision)
        part = arrays.keep(relative, present) * share[:, None]
        return merged + part.astype(merged.dtype), None

    merged = jnp.zeros((shares.shape[1], anchors[0].shape[0]), shares.dtype)
    charts = (embeddings, anchors, presence, shares)
    if isinstance(embeddings, Sequence) or isinstance(anchors, Sequence):
        for chart in zip(*charts, strict=True):
            merged, _ = add(merged, chart)
        return merged
    return jax.lax.scan(add, merged, charts)[0]


def _check_samples(
    samples: tuple[Stacked, AnyArray, Weights | None], anchors: Stacked
) -> tuple[int, int]:
    """N and A; ValueError unless presence and weights fit the charts too."""
    embeddings, presence, weights = samples
    num_samples, num_anchors = _check_charts(embeddings, anchors)
    shape = (len(embeddings), num_samples)
    arrays.check_mask("presence", presence, shape, "(M, N)")
    check_weights(weights, shape)
    return num_samples, num_anchors


def _check_charts(embeddings: Stacked, anchors: Stacked) -> tuple[int, int]:
    """N and A; ValueError unless charts share M, N and A, and each has one D."""
    x, a = _shapes("embeddings", embeddings), _shapes("anchors", anchors)
    arrays.check_equal(
        "the number of charts M of embeddings and anchors",
        [len(x), len(a)],
        "Give each chart's embeddings of the anchors, in the order of the charts.",
    )
    if not x:
        raise ValueError("there are no charts to merge; give one at least.")
    for chart, (own, its_anchors) in enumerate(zip(x, a, strict=True)):
        check_spaces(own, its_anchors, f" of chart {chart}")
    advice = "Charts of different samples are stacked by `jatlas.assemble`."
    arrays.check_equal("the number of samples N", [own.shape[0] for own in x], advice)
    advice = "All charts embed the same anchors, in the same order."
    arrays.check_equal("the number of anchors A", [own.shape[0] for own in a], advice)
    return x[0].shape[0], a[0].shape[0]


def _shapes(name: str, charts: Stacked) -> list[Shaped]:
    """Each chart's shape and dtype, without slicing what is stacked."""
    if isinstance(charts, Sequence):
        return list(charts)
    arrays.check_equal(
        f"the number of axes of stacked {name}", [3, charts.ndim], "Give (M, ., D)."
    )
    return [jax.ShapeDtypeStruct(charts.shape[1:], charts.dtype)] * charts.shape[0]
