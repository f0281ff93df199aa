"""Functions of samples, applied to some rows at a time.

What an intermediate array costs in memory is then a matter of the rows at a time, not
of N. Samples that are sharded stay where they are: with G groups of samples, one for
each device there is, N splits into (G, K, b), of which only G is spread over devices,
and chunk k holds the k-th b rows of every group. Rows at one place of N, all of them
one device's, would have to be sent to all.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array


def _groups(num_samples: int) -> int:
    """How many devices the samples can be sharded over evenly."""
    return math.gcd(num_samples, jax.device_count())


def chunk_size(num_samples: int, rows: int) -> int:
    """A divisor of N near `rows`, for chunks of so many rows; else `rows`, or N.

    It is a multiple of the number of devices that the samples may be sharded over. If
    there is none from `rows` / 4 to 2 `rows`, `map_samples` takes the rows in their
    order if there is but one device, and all at once if there are more.
    `jatlas.sharding.place` pads N so that there is one.
    """
    if num_samples <= rows:
        return num_samples
    groups = _groups(num_samples)
    steps = range(groups, 2 * rows + 1, groups)
    sizes = [n for n in steps if num_samples % n == 0 and 4 * n >= rows]
    if sizes:
        return min(sizes, key=lambda n: max(n / rows, rows / n))
    return num_samples if groups > 1 else rows


def map_samples(
    function: Callable[..., Array], samples: Any, axes: Any, size: int
) -> Array:
    """What `function` gives, N rows of it made `size` at a time.

    Args:
        function: of arrays like `samples` but with `size` samples, to (size, ...). Row
            by row: a row of what it gives depends on that sample only.
        samples: a pytree of arrays.
        axes: a pytree of the same structure, the axis of samples in each.
        size: of a chunk, at most N. If it does not divide N, or not into the groups,
            chunks are taken in order, and the last overlaps the one before.
    """
    leaves, tree = jax.tree.flatten(samples)
    places = jax.tree.leaves(axes)
    num_samples = leaves[0].shape[places[0]]
    if size == num_samples:
        return function(samples)
    groups = _groups(num_samples)
    even = num_samples % size == 0 and size % groups == 0
    # An axis of one group would cost: XLA then copies each chunk in a slow loop.
    of_groups = (groups,) if groups > 1 else ()
    shape = (*of_groups, num_samples // size, size // groups)
    place = len(of_groups)
    num_chunks = -(-num_samples // size)

    def start(k: int | Array) -> Array:
        return jnp.minimum(k * size, num_samples - size)

    def take(x: Array, axis: int, k: int | Array) -> Array:
        if not even:
            return jax.lax.dynamic_slice_in_dim(x, start(k), size, axis)
        before, after = x.shape[:axis], x.shape[axis + len(shape) :]
        chunk = jax.lax.dynamic_index_in_dim(x, k, axis + place, keepdims=False)
        return chunk.reshape(*before, size, *after)

    # Made again for the gradient: kept, the chunks' arrays would add up to N rows.
    @partial(jax.checkpoint, prevent_cse=False)
    def rows(parts: list[Array], k: int | Array) -> Array:
        chunk = [take(x, axis, k) for x, axis in zip(parts, places, strict=True)]
        return function(jax.tree.unflatten(tree, chunk))

    def add(k: int | Array, out: Array) -> Array:
        new = rows(parts, k)
        if not even:
            return jax.lax.dynamic_update_slice_in_dim(out, new, start(k), 0)
        new = new.reshape(*of_groups, size // groups, *rest)
        return jax.lax.dynamic_update_index_in_dim(out, new, k, place)

    def split(x: Array, axis: int) -> Array:
        return x.reshape(*x.shape[:axis], *shape, *x.shape[axis + 1 :])

    both = zip(leaves, places, strict=True)
    parts = [split(x, axis) if even else x for x, axis in both]
    like = jax.eval_shape(rows, parts, jnp.array(0))
    rest = like.shape[1:]
    whole = (*shape, *rest) if even else (num_samples, *rest)
    out = jax.lax.fori_loop(0, num_chunks, add, jnp.zeros(whole, like.dtype))
    return out.reshape(num_samples, *rest)
