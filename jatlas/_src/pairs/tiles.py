"""Squared distances between all pairs of N rows, in tiles.

A tile is the squared distances of some rows to some others. It is made anew whenever it
is needed, for the gradient too; what is kept is of the order of N D.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jatlas._src import arrays
from jatlas._src.pairs.differences import AT_ONCE, squared_distances

# Most rows and columns of a tile: so the inner loops stay in the nearest caches.
ROWS, COLUMNS = 2048, 128


class Samples(NamedTuple):
    """Samples for a tile: N in all, R rows, B columns."""

    spaces: tuple[Float[Array, "N D"], ...]
    rows: Bool[Array, " N"]
    ids: Int[Array, " N"]
    means: tuple[Float[Array, " N"], ...] = ()


def samples_of(
    spaces: Sequence[Float[Array, "N _"]],
    rows: Bool[Array, " N"],
    means: Sequence[Float[Array, " N"]] = (),
) -> Samples:
    """One or two spaces, their rows that count, their kernels' means."""
    return Samples(tuple(spaces), rows, jnp.arange(len(rows)), tuple(means))


def sweep(
    tile: Callable[[Samples, Samples], Any],
    samples: Samples,
    reduce: Callable[..., Array] = jnp.sum,
) -> Any:
    """What `tile(rows, columns)` gives, reduced over all rows; stacked over columns.

    Rows are taken in strided groups: so those that lie on several devices stay there,
    and each device does its part of every tile. Columns are taken in order. What fills
    up the last tiles does not count as rows.
    """
    n = len(samples.rows)
    groups, blocks, columns = _grid(n)

    def padded(x: Array) -> Array:
        return jnp.pad(x, [(0, blocks * columns - n), *[(0, 0)] * (x.ndim - 1)])

    def strided(x: Array) -> Array:
        each = len(x) // groups
        return jnp.moveaxis(x.reshape(each, groups, *x.shape[1:]), 1, 0)

    @jax.checkpoint
    def column(first: Int[Array, ""]) -> Any:
        ids = first + jnp.arange(columns)
        # A gather, which sends these rows to all devices; a slice would send all rows.
        block = jax.tree.map(lambda x: x.at[ids].get(mode="promise_in_bounds"), whole)
        part = jax.checkpoint(lambda group: tile(group, block))
        return jax.tree.map(partial(reduce, axis=0), jax.lax.map(part, all_rows))

    whole = jax.tree.map(padded, samples)
    all_rows = jax.tree.map(strided, whole)
    return jax.lax.map(column, columns * jnp.arange(blocks))


def _grid(n: int) -> tuple[int, int, int]:
    """Groups of rows, blocks of columns, and columns a block."""
    groups = max(1, -(-n // ROWS))
    blocks = groups * max(1, -(-n // (groups * COLUMNS)))
    return groups, blocks, max(1, -(-n // (blocks * AT_ONCE))) * AT_ONCE


def total(stacked: Float[Array, "J B"]) -> Float[Array, ""]:
    """The sum of all, in two steps.

    One long sum would lose the last digits.
    """
    return jnp.sum(arrays.matmul(jnp.ones(len(stacked), stacked.dtype), stacked))


def pairs_of(
    group: Samples, block: Samples, distinct: bool = False
) -> Bool[Array, "R B"]:
    """The pairs of samples that count; if `distinct`, of two different ones."""
    pairs = group.rows[:, None] & block.rows
    return pairs & (group.ids[:, None] != block.ids) if distinct else pairs


@jax.custom_jvp
def squares(
    x: Float[Array, "R D"], y: Float[Array, "B D"], middle: Float[Array, " D"]
) -> Float[Array, "R B"]:
    """Squared distances by differences, which lose no digits."""
    return squared_distances(x, y)


@jax.custom_jvp
def squares_by_product(
    x: Float[Array, "R D"], y: Float[Array, "B D"], middle: Float[Array, " D"]
) -> Float[Array, "R B"]:
    """Squared distances by one product, off by some eps (|x|^2 + |y|^2).

    x and y are the rows less `middle` in this. It takes a fraction of the time of
    differences, where it is harmless that near rows lose their digits.
    """
    x, y = x - middle, y - middle
    lengths = jnp.sum(x**2, axis=1)[:, None] + jnp.sum(y**2, axis=1)
    return jnp.maximum(lengths - 2 * arrays.matmul(x, y.T), 0)


def _squares_jvp(
    form: Callable[..., Array],
    primals: tuple[Array, Array, Array],
    tangents: tuple[Array, Array, Any],
) -> tuple[Array, Array]:
    """2 (x - y).(dx - dy), multiplied out: products of centered matrices."""
    (x, y, middle), (change_x, change_y, _) = primals, tangents
    centered_x, centered_y = x - middle, y - middle
    diagonal = jnp.sum(centered_x * change_x, axis=1)[:, None]
    diagonal += jnp.sum(centered_y * change_y, axis=1)
    across = arrays.matmul(change_x, centered_y.T) + arrays.matmul(
        centered_x, change_y.T
    )
    return form(x, y, middle), 2 * (diagonal - across)


squares.defjvp(partial(_squares_jvp, squares))
squares_by_product.defjvp(partial(_squares_jvp, squares_by_product))


def spread(
    x: Float[Array, "N D"], rows: Bool[Array, " N"]
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, " D"]]:
    """How far rows lie from each other and from their mean.

    The mean of |x_i - x_j|^2, the largest |x_i - mean|^2, and the mean: constants to
    the gradient.
    """
    residual, mean = arrays.center(jax.lax.stop_gradient(x), rows)
    lengths = jnp.sum(residual**2, axis=1)
    mean_square = 2 * arrays.safe_divide(jnp.sum(lengths), jnp.sum(rows), 0.0)
    mean = jnp.where(jnp.any(rows), mean, 0)
    return mean_square, jnp.max(lengths, initial=0), mean
