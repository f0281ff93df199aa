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

from jatlas._src import layout

# Rows of an (N, N) matrix that are made at once: it never exists as a whole. Fewer of
# very long ones, so that they are no more than so many numbers, but not so few that the
# matrix products are slow.
_ROWS, _NUMBERS, _LEAST = 256, 2**22, 16


def _groups(num_samples: int) -> int:
    """The number of devices that samples can be sharded over evenly.

    It is 1 in `jax.shard_map`: there a device sees its own rows only.
    """
    return 1 if layout.manual() else math.gcd(num_samples, jax.device_count())


def chunk_size(num_samples: int, rows: int) -> int:
    """Rows of a chunk: near `rows`, and as many of every group.

    A divisor of N from `rows` / 4 to 2 `rows`, if there is one: `map_samples` then need
    not make rows of the last chunk twice.
    """
    if num_samples <= rows:
        return num_samples
    groups = _groups(num_samples)
    steps = range(groups, 2 * rows + 1, groups)
    sizes = [n for n in steps if num_samples % n == 0 and 4 * n >= rows]
    if sizes:
        return min(sizes, key=lambda n: max(n / rows, rows / n))
    return min(num_samples, max(1, rows // groups) * groups)


def pair_rows(num_samples: int) -> int:
    """How many rows of an (N, N) matrix to make at once."""
    return max(_LEAST, min(_ROWS, _NUMBERS // max(num_samples, 1)))


def map_padded(function: Callable[..., Array], samples: tuple[Array, ...]) -> Array:
    """Apply `function` to N samples, `pair_rows(N)` of them at a time.

    In equal chunks, padded to fit, which several devices can share.
    """
    num_samples = len(samples[0])
    num_chunks = -(-num_samples // pair_rows(num_samples))
    size = num_samples
    if num_chunks > 1:
        size = _LEAST * -(-num_samples // (_LEAST * num_chunks))
    missing = size * num_chunks - num_samples
    padded = [jnp.pad(x, [(0, missing), *[(0, 0)] * (x.ndim - 1)]) for x in samples]
    axes = (0,) * len(samples)
    return map_samples(function, tuple(padded), axes, size)[:num_samples]


def map_samples(
    function: Callable[..., Array], samples: Any, axes: Any, size: int
) -> Array:
    """What `function` gives, N rows of it made `size` at a time.

    Args:
        function: of arrays like `samples` but with `size` samples, to (size, ...). Row
            by row: a row of what it gives depends on that sample only.
        samples: a pytree of arrays.
        axes: a pytree of the same structure, the axis of samples in each.
        size: of a chunk, at most N. If it does not divide N the last chunk overlaps the
            one before, and if not into the groups, there is but one group.
    """
    leaves, tree = jax.tree.flatten(samples)
    places = jax.tree.leaves(axes)
    num_samples = leaves[0].shape[places[0]]
    if size == num_samples:
        return function(samples)
    groups = _groups(num_samples)
    if size % groups:
        groups = 1
    # An axis of one group would cost: XLA then copies each chunk in a slow loop.
    of_groups = (groups,) if groups > 1 else ()
    each, part, place = num_samples // groups, size // groups, len(of_groups)

    def start(k: int | Array) -> Array:
        return jnp.minimum(k * part, each - part)

    def split(x: Array, axis: int) -> Array:
        return x.reshape(*x.shape[:axis], *of_groups, each, *x.shape[axis + 1 :])

    def take(x: Array, axis: int, k: int | Array) -> Array:
        before, after = x.shape[:axis], x.shape[axis + place + 1 :]
        chunk = _some(x, start(k), part, axis + place)
        return chunk.reshape(*before, size, *after)

    # Made again for the gradient: kept, the chunks' arrays would add up to N rows.
    @partial(jax.checkpoint, prevent_cse=False)
    def rows(parts: list[Array], k: int | Array) -> Array:
        chunk = [take(x, axis, k) for x, axis in zip(parts, places, strict=True)]
        return function(jax.tree.unflatten(tree, chunk))

    def add(k: int | Array, out: Array) -> Array:
        new = rows(parts, k).reshape(*of_groups, part, *trailing)
        return _put(out, new, start(k), place)

    parts = [split(x, axis) for x, axis in zip(leaves, places, strict=True)]
    like = jax.eval_shape(rows, parts, jnp.array(0))
    trailing = like.shape[1:]
    out = jnp.zeros((*of_groups, each, *trailing), like.dtype)
    out = layout.varying(out, parts)
    out = jax.lax.fori_loop(0, -(-num_samples // size), add, out)
    return out.reshape(num_samples, *trailing)


# Floats of fewer than 32 bits, such as bfloat16, are taken and put as integers: most
# CPUs lack them, and XLA would widen the whole of an array to take or put a part of it.


def _is_narrow(dtype: jnp.dtype) -> bool:
    return jnp.issubdtype(dtype, jnp.floating) and dtype.itemsize < 4


def _bits(x: Array) -> Array:
    """`x`, or integers of the same bits if it is narrow."""
    if not _is_narrow(x.dtype):
        return x
    return jax.lax.bitcast_convert_type(x, f"uint{8 * x.dtype.itemsize}")


def _from_bits(bits: Array, dtype: jnp.dtype) -> Array:
    return bits if bits.dtype == dtype else jax.lax.bitcast_convert_type(bits, dtype)


@partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _some(x: Array, start: Array, size: int, axis: int) -> Array:
    """`size` of `x` along an axis, from `start` on."""
    if _is_narrow(x.dtype):
        # Together, or XLA would take all bits before the loop, by a copy.
        x, start = jax.lax.optimization_barrier((x, start))
    some = jax.lax.dynamic_slice_in_dim(_bits(x), start, size, axis)
    return _from_bits(some, x.dtype)


@_some.defjvp
def _some_jvp(
    size: int, axis: int, primals: tuple[Array, Array], tangents: tuple[Array, Any]
) -> tuple[Array, Array]:
    (x, start), (moved, _) = primals, tangents
    some = jax.lax.dynamic_slice_in_dim(moved, start, size, axis)
    return _some(x, start, size, axis), some


@partial(jax.custom_jvp, nondiff_argnums=(3,))
def _put(x: Array, part: Array, start: Array, axis: int) -> Array:
    """`x` with a part along an axis, from `start` on."""
    both = _bits(x), _bits(part)
    put = jax.lax.dynamic_update_slice_in_dim(*both, start, axis)
    return _from_bits(put, x.dtype)


@_put.defjvp
def _put_jvp(
    axis: int,
    primals: tuple[Array, Array, Array],
    tangents: tuple[Array, Array, Any],
) -> tuple[Array, Array]:
    x, part, start = primals
    put = jax.lax.dynamic_update_slice_in_dim(*tangents[:2], start, axis)
    return _put(x, part, start, axis), put
