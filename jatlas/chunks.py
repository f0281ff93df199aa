"""Functions of samples, applied to some rows at a time.

What an intermediate array costs in memory is then a matter of the rows at a time, not
of N. Chunks are strided: with N = n K, chunk k holds the rows k, k + K, k + 2 K, ...
Samples that are sharded stay where they are: N splits into (n, K), of which only n is
spread over the devices, and each device takes its part of every chunk. A contiguous
chunk would have to be sent to all.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

# Twos that a chunk keeps of N: as many devices find the same number of rows in it.
_TWOS = 2**9


def chunk_size(num_samples: int, rows: int) -> int:
    """A divisor n of N near `rows`, for chunks of n rows; else `rows`, or N.

    Of the powers of two in N it keeps those that samples may be sharded by. If there is
    none from `rows` / 4 to 2 `rows`, `map_samples` takes contiguous chunks; where the
    samples may be sharded (N is even, and there is more than one device) all of them at
    once, rather. `jatlas.sharding.place` pads N so that there is one.
    """
    if num_samples <= rows:
        return num_samples
    twos = min(num_samples & -num_samples, _TWOS)
    steps = range(twos, 2 * rows + 1, twos)
    sizes = [n for n in steps if num_samples % n == 0 and 4 * n >= rows]
    if sizes:
        return min(sizes, key=lambda n: max(n / rows, rows / n))
    return num_samples if twos > 1 and jax.device_count() > 1 else rows


def map_samples(
    function: Callable[..., Array], samples: Any, axes: Any, size: int
) -> Array:
    """What `function` gives, N rows of it made `size` at a time.

    Args:
        function: of arrays like `samples` but with `size` samples, to (size, ...). Row
            by row: a row of what it gives depends on that sample only.
        samples: a pytree of arrays.
        axes: a pytree of the same structure, the axis of samples in each.
        size: of a chunk, at most N. If it does not divide N, chunks are contiguous, and
            the last overlaps the one before.
    """
    leaves, tree = jax.tree.flatten(samples)
    places = jax.tree.leaves(axes)
    num_samples = leaves[0].shape[places[0]]
    if size == num_samples:
        return function(samples)
    strided = num_samples % size == 0
    num_chunks = -(-num_samples // size)

    def start(k: int | Array) -> Array:
        return jnp.minimum(k * size, num_samples - size)

    def split(x: Array, axis: int) -> Array:
        if not strided:
            return x
        return x.reshape(*x.shape[:axis], size, num_chunks, *x.shape[axis + 1 :])

    def take(x: Array, axis: int, k: int | Array) -> Array:
        if strided:
            return jax.lax.dynamic_index_in_dim(x, k, axis + 1, keepdims=False)
        return jax.lax.dynamic_slice_in_dim(x, start(k), size, axis)

    # Made again for the gradient: kept, the chunks' arrays would add up to N rows.
    @partial(jax.checkpoint, prevent_cse=False)
    def rows(parts: list[Array], k: int | Array) -> Array:
        chunk = [take(x, axis, k) for x, axis in zip(parts, places, strict=True)]
        return function(jax.tree.unflatten(tree, chunk))

    def add(k: int | Array, out: Array) -> Array:
        if strided:
            return jax.lax.dynamic_update_index_in_dim(out, rows(parts, k), k, 1)
        return jax.lax.dynamic_update_slice_in_dim(out, rows(parts, k), start(k), 0)

    parts = [split(x, axis) for x, axis in zip(leaves, places, strict=True)]
    like = jax.eval_shape(rows, parts, jnp.array(0))
    rest = like.shape[1:]
    shape = (size, num_chunks, *rest) if strided else (num_samples, *rest)
    out = jax.lax.fori_loop(0, num_chunks, add, jnp.zeros(shape, like.dtype))
    return out.reshape(num_samples, *rest)
