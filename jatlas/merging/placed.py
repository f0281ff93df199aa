"""Merge rows where they lie: on devices, or on the host."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from jatlas._src import arrays, border, layout
from jatlas._src.arrays import AnyArray, Number
from jatlas._src.weights import Weights, check_weights
from jatlas.merging.contraction import Stacked, shapes

# Of embeddings on the host no more than so many bytes are sent to the device at once.
HOST_BYTES = 1 << 26

Samples = tuple[Stacked, AnyArray, Weights | None]
Check = Callable[[Stacked, Any], tuple[int, jnp.dtype]]


def merged(
    rows: Callable[..., Array],
    check: Check,
    samples: Samples,
    fixed: Any,
    empty: Number,
    batch_size: int | None,
    options: dict[str, Any],
) -> Float[Array, "N A"]:
    """The merged rows of all samples, some of them at a time.

    Args:
        rows: a jitted function of (embeddings, presence, weights, fixed), with the
            keywords empty, batch_size and the options.
        check: of (embeddings, fixed) to the number of columns and the dtype of the
            result; raises ValueError unless these fit each other.
        samples: embeddings, presence and weights.
        fixed: a pytree that all rows take: anchors, or a fitted map.
        empty: what stands in rows of no chart.
        batch_size: samples at a time, chosen if None.
        options: further keywords of `rows`, hashable.
    """
    of_rows = partial(rows, empty=empty, **options)
    embeddings, presence, weights = samples
    border.check_all_known("embeddings", embeddings)
    if batch_size is not None:
        arrays.check_count("batch_size", batch_size, 1)
    spread = [layout.of_samples(x, -2) for x in jax.tree.leaves(embeddings)]
    if mesh := next((each for each in spread if each is not None), None):
        _check_samples(check, samples, fixed)
        options = {**options, "batch_size": batch_size}
        return _on_devices(mesh, rows, samples, fixed, empty, options)
    fixed, presence, weights = jax.tree.map(border.native, (fixed, presence, weights))
    samples = (embeddings, presence, weights)
    if any(isinstance(x, np.ndarray) for x in jax.tree.leaves(embeddings)):
        num_samples, columns, dtype = _check_samples(check, samples, fixed)
        size = batch_size or _rows_to_send(embeddings)
        if batch_size is not None or size < num_samples:
            return _from_host(of_rows, samples, fixed, size, columns, dtype)
    embeddings = jax.tree.map(border.native, embeddings)
    return of_rows(embeddings, presence, weights, fixed, batch_size=batch_size)


def _rows_to_send(embeddings: Stacked) -> int:
    """How many samples the device is sent at once, one at least."""
    leaves = jax.tree.leaves(embeddings)
    each = sum(x.nbytes // max(1, x.shape[-2]) for x in leaves)
    return max(1, HOST_BYTES // max(1, each))


def _on_devices(
    mesh: NamedSharding,
    rows: Callable[..., Array],
    samples: Samples,
    fixed: Any,
    empty: Number,
    options: dict[str, Any],
) -> Float[Array, "N A"]:
    """The atlas of sharded samples, everything put where it is needed."""
    inputs = (*samples, fixed, empty)
    if mesh.is_fully_addressable:  # across hosts, all must have put it there already
        inputs = jax.tree.map(
            lambda spec, x: jax.device_put(x, NamedSharding(mesh.mesh, spec)),
            _specs(mesh, *samples, fixed),
            inputs,
            is_leaf=lambda x: isinstance(x, PartitionSpec),
        )
    settings = tuple(sorted(options.items()))
    return _by_device(*inputs, mesh=mesh, rows=rows, settings=settings)


def _specs(
    mesh: NamedSharding,
    embeddings: Stacked,
    presence: AnyArray,
    weights: Weights | None,
    fixed: Any,
) -> tuple[Any, ...]:
    """The layout of all inputs: samples as they are, others replicated."""
    everywhere, of_charts = PartitionSpec(), PartitionSpec(None, mesh.spec[0])
    return (
        jax.tree.map(lambda x: of_charts if x.ndim == 3 else mesh.spec, embeddings),
        of_charts,
        jax.tree.map(lambda w: of_charts if w.ndim == 2 else everywhere, weights),
        jax.tree.map(lambda _: everywhere, fixed),
        everywhere,
    )


@partial(jax.jit, static_argnames=("mesh", "rows", "settings"))
def _by_device(
    *inputs: Any,
    mesh: NamedSharding,
    rows: Callable[..., Array],
    settings: tuple[tuple[str, Any], ...],
) -> Float[Array, "N A"]:
    """Each device merges its own rows; nothing is sent."""

    def each(*inputs: Any) -> Array:
        return rows(*inputs[:-1], empty=inputs[-1], **dict(settings))

    mapped = jax.shard_map(
        each,
        mesh=mesh.mesh,
        in_specs=_specs(mesh, *inputs[:-1]),
        out_specs=mesh.spec,
        check_vma=False,
    )
    return mapped(*inputs)


def _from_host(
    of_rows: Callable[..., Array],
    samples: Samples,
    fixed: Any,
    batch_size: int,
    columns: int,
    dtype: jnp.dtype,
) -> Float[Array, "N A"]:
    """`of_rows` of samples on the host, one batch at a time."""
    embeddings, presence, weights = samples
    num_samples = shapes("embeddings", embeddings)[0].shape[0]
    fixed = jax.tree.map(jnp.asarray, fixed)
    result, before = jnp.zeros((num_samples, columns), dtype), None
    size = min(batch_size, num_samples)
    for chunk in range(0, num_samples, max(size, 1)):
        # The last chunk is as long as the others, so that nothing is compiled again.
        start = min(chunk, num_samples - size)
        stop = start + size
        some = weights
        if weights is not None and weights.ndim == 2:
            some = weights[:, start:stop]
        x = jax.tree.map(
            lambda x, i=start, j=stop: border.native(x[..., i:j, :]), embeddings
        )
        rows = of_rows(x, presence[:, start:stop], some, fixed)
        # Under a transformation of JAX no memory is given away.
        put = _put_in_place if arrays.is_concrete(rows) else _put
        result = put(result, rows, start)
        # The device may be one chunk behind, not more: those would fill its memory.
        jax.block_until_ready(before)
        before = rows
    return result


def _put(merged: Array, rows: Array, start: int | Array) -> Array:
    return jax.lax.dynamic_update_slice_in_dim(merged, rows, start, 0)


_put_in_place = jax.jit(_put, donate_argnums=0)


def _check_samples(
    check: Check, samples: Samples, fixed: Any
) -> tuple[int, int, jnp.dtype]:
    """N, the columns and the dtype; ValueError unless everything fits the charts."""
    embeddings, presence, weights = samples
    columns, dtype = check(embeddings, fixed)
    num_samples = shapes("embeddings", embeddings)[0].shape[0]
    shape = (len(embeddings), num_samples)
    arrays.check_mask("presence", presence, shape, "(M, N)")
    check_weights(weights, shape)
    return num_samples, columns, dtype
