"""Some rows of the atlas: charts and their anchors, contracted over charts."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from jatlas._src import arrays, chunks, layout, lengths, side_by_side
from jatlas._src.arrays import AnyArray, Number, Precision, Shaped
from jatlas._src.consensus import linked
from jatlas._src.consensus.moments import dimensions_of
from jatlas._src.consensus.solving import Consensus
from jatlas._src.weights import Weights, chart_weights
from jatlas.merging.mean import floating
from jatlas.merging.relative import (
    Similarity,
    check_spaces,
    cosine,
    inner,
    similarities,
    similarity_function,
)

Stacked = AnyArray | Sequence[AnyArray]

# Similarities that are inner products of rows and anchors, or of both of length one:
# for these, similarity and mean over charts are one contraction.
_PRODUCTS = {cosine: True, inner: False}

# Two factors of every row of every chart, as `lengths.to_unit` gives.
Factors = tuple[Float[Array, "M N"], Float[Array, "M N"]]


@partial(jax.jit, static_argnames=("similarity", "precision", "batch_size", "dtype"))
@layout.automatic("embeddings", -2)
def merged_rows(
    embeddings: Stacked,
    presence: AnyArray,
    weights: Weights | None,
    anchors: Stacked,
    *,
    similarity: Similarity,
    empty: Number,
    precision: Precision,
    batch_size: int | None = None,
    dtype: DTypeLike | None = None,
) -> Float[Array, "N A"]:
    """What `merge` gives, of arrays on one device or on several."""
    check_charts(embeddings, anchors)
    out = dtype_of(embeddings, anchors, dtype)
    given = dtype_of(embeddings, anchors, None)
    function = similarity_function(similarity)
    factors = None
    if function in _PRODUCTS:
        if _PRODUCTS[function]:
            factors = _factors(embeddings, presence)
        side = _beneath(anchors, unit=_PRODUCTS[function])
        rows = partial(_scaled_rows, side, precision)
    else:
        rows = partial(_added_up, similarity, anchors, precision)
    num_anchors = shapes("anchors", anchors)[0].shape[0]
    samples = (embeddings, presence, weights, factors)
    return _in_chunks(rows, samples, num_anchors, (given, out), empty, batch_size)


@partial(jax.jit, static_argnames=("batch_size", "dtype"))
@layout.automatic("embeddings", -2)
def consensus_rows(
    embeddings: Stacked,
    presence: AnyArray,
    weights: Weights | None,
    consensus: Consensus,
    *,
    empty: Number,
    batch_size: int | None = None,
    dtype: DTypeLike | None = None,
) -> Float[Array, "N K"]:
    """What `merge_consensus` gives, of arrays on one device or on several."""
    linked.check_charts(embeddings, presence, None)
    check_consensus(embeddings, consensus)
    given = dtype_of(embeddings, consensus.scale, None)
    out = dtype_of(embeddings, (), dtype)
    factors = _factors(embeddings, presence) if consensus.normalize else None
    rows = partial(_consensus_rows, consensus)
    num_features = consensus.agreement.shape[0]
    samples = (embeddings, presence, weights, factors)
    return _in_chunks(rows, samples, num_features, (given, out), empty, batch_size)


def _factors(embeddings: Stacked, presence: Bool[AnyArray, "M N"]) -> Factors:
    """Of every row, what makes it of length one.

    Before rows are taken some at a time: this pass copies nothing, and in the loop XLA
    would write a chunk out first.
    """
    presence = jnp.asarray(presence)
    if isinstance(embeddings, Sequence):
        charts = zip(embeddings, presence, strict=True)
        factors = [lengths.to_unit(jnp.asarray(x), present) for x, present in charts]
        return jax.tree.map(lambda *rows: jnp.stack(rows), *factors)
    return lengths.to_unit(jnp.asarray(embeddings), presence)


def check_consensus(embeddings: Stacked, consensus: Consensus) -> None:
    """Raise ValueError unless the map is of these charts."""
    arrays.check_equal(
        "the dimensions D_m of the charts of the consensus and of the embeddings",
        [tuple(m.shape[0] for m in consensus.mean), dimensions_of(embeddings)],
        "Give each chart's embeddings, in the order of the charts that it was fitted "
        "on.",
    )


def _in_chunks(
    rows: Callable[..., Array],
    samples: tuple[Stacked, AnyArray, Weights | None, Factors | None],
    num_columns: int,
    dtypes: tuple[jnp.dtype, jnp.dtype],
    empty: Number,
    batch_size: int | None,
) -> Float[Array, "N A"]:
    """The shares of the charts times `rows`, some samples at a time."""
    embeddings, presence, weights, factors = samples
    given, out = dtypes
    wide = jnp.promote_types(given, jnp.float32)
    num_samples = shapes("embeddings", embeddings)[0].shape[0]
    w = chart_weights(presence, weights, (len(embeddings), num_samples), wide)

    def merged(chunk: tuple[Stacked, Array, Array, Factors | None]) -> Array:
        x, present, w, factors = chunk
        total = w.sum(axis=0)
        mean = rows(x, present, arrays.safe_divide(w, total, 0.0), factors)
        return jnp.where(total[:, None] == 0, empty, mean).astype(out)

    chunked = (embeddings, presence, w, factors)
    axes = jax.tree.map(lambda x: x.ndim - 2, embeddings), 1, 1, (factors and (1, 1))
    wanted = batch_size or _rows_at_once(embeddings, num_columns)
    size = chunks.chunk_size(num_samples, wanted)
    if batch_size is not None and size > 2 * batch_size:
        size = batch_size  # what was asked for comes before what is sent around
    return chunks.map_samples(merged, chunked, axes, size)


def _rows_at_once(embeddings: Stacked, num_anchors: int) -> int:
    """A chunk size that keeps a device busy in little memory.

    A chunk of n rows takes some 2 n (M D + A) numbers, which are kept to about a tenth
    of the M N A of the charts' relative representations.
    """
    x = shapes("embeddings", embeddings)
    num_samples = x[0].shape[0]
    width = sum(chart.shape[1] for chart in x) + num_anchors
    tenth = len(x) * num_samples * num_anchors // (20 * width)
    cpu = jax.default_backend() == "cpu"
    most = 512 * jax.process_count() if cpu else 8192 * jax.device_count()
    # A step of the loop costs an accelerator some launches, and a CPU packing anchors.
    least = 64 if cpu else 1024
    return max(least, min(most, tenth))


def _beneath(anchors: Stacked, unit: bool) -> Float[Array, "_ A"]:
    """The charts' anchors, transposed, one chart beneath another."""
    # Stacked ones as one: what is compiled then does not grow with the charts.
    given = list(anchors) if isinstance(anchors, Sequence) else [anchors]
    charts = [arrays.widen(chart) for chart in given]
    sides = [jnp.swapaxes(arrays.unit(x) if unit else x, -1, -2) for x in charts]
    return jnp.concatenate([x.reshape(-1, x.shape[-1]) for x in sides], axis=0)


def _scaled_rows(
    side: Float[Array, "_ A"],
    precision: Precision,
    embeddings: Stacked,
    presence: Bool[Array, "M n"],
    shares: Float[Array, "M n"],
    factors: Factors | None,
) -> Float[Array, "n A"]:
    """The charts' rows, times their factors, with their anchors."""

    def rows(x: Array, present: Array, share: Array, *power: Array) -> Array:
        x = arrays.keep(arrays.widen(x), present)
        return (x * power[0][:, None] if power else x) * share[:, None]

    charts: tuple[Any, ...] = embeddings, presence, shares
    if factors is not None:
        charts = embeddings, presence, shares * factors[1], factors[0]
    return side_by_side.contracted(rows, charts, side, precision)


def _consensus_rows(
    consensus: Consensus,
    embeddings: Stacked,
    presence: Bool[Array, "M n"],
    shares: Float[Array, "M n"],
    factors: Factors | None,
) -> Float[Array, "n K"]:
    """The charts' rows, centered and scaled, with their weights."""
    known = consensus.scale > 0
    scale = jnp.where(known, consensus.scale, 0)[:, None]
    scaled = arrays.safe_divide(shares, scale, 0.0)

    def rows(
        x: Array, present: Array, share: Array, mean: Array, *both: Array
    ) -> Array:
        x = arrays.widen(x)
        for factor in both:
            x = x * factor[:, None]
        # An absent row, of zeros, is not zero when the mean is taken off.
        return arrays.keep(x - mean, present) * share[:, None]

    charts = embeddings, presence, scaled, consensus.mean, *(factors or ())
    side = jnp.concatenate(list(consensus.weights), axis=0)
    merged = side_by_side.contracted(rows, charts, side, "highest")
    # Behind the product: in it a NaN would be in the gradient of the weights.
    lost = jnp.any((shares > 0) & ~known[:, None], axis=0)
    return jnp.where(lost[:, None], jnp.nan, merged)


def _added_up(
    similarity: Similarity,
    anchors: Stacked,
    precision: Precision,
    embeddings: Stacked,
    presence: Bool[Array, "M n"],
    shares: Float[Array, "M n"],
    factors: None,
) -> Float[Array, "n A"]:
    """Add up the charts' similarities, one (n, A) at a time."""

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
    return jax.lax.scan(add, layout.varying(merged, charts), charts)[0]


def check_charts(embeddings: Stacked, anchors: Stacked) -> tuple[int, int]:
    """N and A; ValueError unless all charts have the same."""
    x, a = shapes("embeddings", embeddings), shapes("anchors", anchors)
    arrays.check_equal(
        "the number of charts M of embeddings and anchors",
        [len(x), len(a)],
        "Give each chart's embeddings of the anchors, in the order of the charts.",
    )
    if not x:
        raise ValueError("there are no charts to merge; give one at least.")
    for chart, (space, its_anchors) in enumerate(zip(x, a, strict=True)):
        check_spaces(space, its_anchors, f" of chart {chart}")
    advice = "Charts of different samples are stacked by `jatlas.assemble`."
    arrays.check_equal("the number of samples N", [s.shape[0] for s in x], advice)
    advice = "All charts embed the same anchors, in the same order."
    arrays.check_equal("the number of anchors A", [s.shape[0] for s in a], advice)
    return x[0].shape[0], a[0].shape[0]


def shapes(name: str, charts: Stacked) -> list[Shaped]:
    """Each chart's shape and dtype, without slicing what is stacked."""
    if isinstance(charts, Sequence):
        return list(charts)
    arrays.check_equal(
        f"the number of axes of stacked {name}", [3, charts.ndim], "Give (M, ., D)."
    )
    return [jax.ShapeDtypeStruct(charts.shape[1:], charts.dtype)] * charts.shape[0]


def dtype_of(embeddings: Stacked, anchors: Any, dtype: DTypeLike | None) -> jnp.dtype:
    """The result's dtype: the requested one, or the widest given."""
    if dtype is not None:
        return floating(dtype)
    leaves = jax.tree.leaves((embeddings, anchors))
    # Float64 becomes float32 without a word where there is none, as elsewhere in JAX.
    native = (x.dtype.newbyteorder("=") for x in leaves)
    return jnp.result_type(*map(jax.dtypes.canonicalize_dtype, native))
