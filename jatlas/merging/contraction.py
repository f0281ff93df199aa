"""Some rows of the atlas: charts and their anchors, contracted over charts."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from jatlas._src import arrays, chunks, layout
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

# Similarities that are an inner product of a map of each side: for these, similarity
# and mean over charts are one contraction.
_FEATURE_MAPS = {cosine: arrays.unit, inner: lambda x: x}


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
    if function in _FEATURE_MAPS:
        feature_map = _FEATURE_MAPS[function]
        sides = [feature_map(arrays.widen(chart)).T for chart in anchors]
        maps = [partial(_mapped, feature_map)] * len(sides)
        rows = partial(_contracted, maps, sides, precision)
    else:
        rows = partial(_added_up, similarity, anchors, precision)
    num_anchors = shapes("anchors", anchors)[0].shape[0]
    samples = (embeddings, presence, weights)
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
    charts = zip(consensus.mean, consensus.scale, strict=True)
    maps = [partial(_moved, consensus.normalize, mean, scale) for mean, scale in charts]
    known = consensus.scale > 0

    def rows(x: Stacked, present: Array, shares: Array) -> Float[Array, "n K"]:
        sides = list(consensus.weights)
        mean = _contracted(maps, sides, "highest", x, present, shares)
        # Behind the product: in it a NaN would be in the gradient of the weights.
        lost = jnp.any((shares > 0) & ~known[:, None], axis=0)
        return jnp.where(lost[:, None], jnp.nan, mean)

    num_features = consensus.agreement.shape[0]
    samples = (embeddings, presence, weights)
    return _in_chunks(rows, samples, num_features, (given, out), empty, batch_size)


def moved(
    normalize: bool,
    mean: Float[Array, " D"],
    scale: Float[Array, ""],
    x: Float[Array, "N D"],
) -> Float[Array, "N D"]:
    """A chart's rows, centered and scaled; zero where it has no scale."""
    x = arrays.unit(x) if normalize else x
    known = scale > 0
    return jnp.where(known, (x - mean) / jnp.where(known, scale, 1), 0)


def _mapped(
    feature_map: Callable[[Array], Array], x: Array, present: Array
) -> Float[Array, "n D"]:
    return feature_map(x)


def _moved(
    normalize: bool, mean: Array, scale: Array, x: Array, present: Array
) -> Float[Array, "n D"]:
    # An absent row, of zeros, is not zero when the mean is taken off.
    return arrays.keep(moved(normalize, mean, scale, x), present)


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
    samples: tuple[Stacked, AnyArray, Weights | None],
    num_columns: int,
    dtypes: tuple[jnp.dtype, jnp.dtype],
    empty: Number,
    batch_size: int | None,
) -> Float[Array, "N A"]:
    """The shares of the charts times `rows`, some samples at a time."""
    embeddings, presence, weights = samples
    given, out = dtypes
    wide = jnp.promote_types(given, jnp.float32)
    num_samples = shapes("embeddings", embeddings)[0].shape[0]
    w = chart_weights(presence, weights, (len(embeddings), num_samples), wide)

    def merged(chunk: tuple[Stacked, Array, Array]) -> Array:
        x, present, w = chunk
        total = w.sum(axis=0)
        mean = rows(x, present, arrays.safe_divide(w, total, 0.0))
        return jnp.where(total[:, None] == 0, empty, mean).astype(out)

    axes = jax.tree.map(lambda x: x.ndim - 2, embeddings), 1, 1
    wanted = batch_size or _rows_at_once(embeddings, num_columns)
    size = chunks.chunk_size(num_samples, wanted)
    if batch_size is not None and size > 2 * batch_size:
        size = batch_size  # what was asked for comes before what is sent around
    return chunks.map_samples(merged, (embeddings, presence, w), axes, size)


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


def _contracted(
    maps: Sequence[Callable[[Array, Array], Array]],
    sides: Sequence[Float[Array, "_ A"]],
    precision: Precision,
    embeddings: Stacked,
    presence: Bool[Array, "M n"],
    shares: Float[Array, "M n"],
) -> Float[Array, "n A"]:
    """Contract the charts, side by side, with their anchors or weights.

    Written next to each other chart by chart: transposing (M, n, D) is slower on a CPU.
    """
    charts = zip(maps, embeddings, presence, shares, strict=True)
    x = [
        feature_map(arrays.keep(arrays.widen(chart), present), present) * share[:, None]
        for feature_map, chart, present, share in charts
    ]
    return jnp.matmul(
        jnp.concatenate(x, axis=1).astype(shares.dtype),
        jnp.concatenate(sides, axis=0).astype(shares.dtype),
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
