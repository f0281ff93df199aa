"""Sums over all pairs of N rows, in tiles that have each pair once.

What is symmetric is made for one half of the pairs: of rows on one device. Of those on
several each device does its part of every tile of `tiles.sweep`, which has all pairs.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jatlas._src import layout
from jatlas._src.pairs import tiles
from jatlas._src.pairs.tiles import Samples

# Most rows and columns of a tile. The fewer, the less is made for the other half.
ROWS, COLUMNS = 512, 256

Weighted = Callable[[Samples, Samples, Float[Array, "R B"]], Any]
Grams = Callable[[Samples, Samples], Sequence[Float[Array, "R B"]]]


def sweep(tile: Weighted, samples: Samples, distinct: bool) -> Any:
    """What `tile(rows, columns, weights)` gives, for tiles with all pairs.

    It has no gradient by tiles: `tiles.sweep` has.

    Args:
        tile: symmetric in rows and columns, and a sum over pairs times their weights.
        samples: as of `tiles.sweep`.
        distinct: whether a row and itself are no pair.

    Returns:
        Stacked over tiles, to be summed up.
    """
    if jax.device_count() > 1:

        def whole(group: Samples, block: Samples) -> Any:
            pairs = tiles.pairs_of(group, block, distinct)
            return tile(group, block, pairs.astype(samples.spaces[0].dtype))

        return tiles.sweep(whole, samples)

    def part(group: Samples, block: Samples) -> Any:
        weights = _weights(group, block).astype(samples.spaces[0].dtype)
        pairs = tiles.pairs_of(group, block, distinct)
        return tile(group, block, jnp.where(pairs, weights, 0))

    starts, take = _tiling(samples)
    return jax.lax.map(lambda start: part(*take(start)), starts)


def row_sums(
    grams: Grams, samples: Samples
) -> tuple[list[Float[Array, " N"]], Float[Array, " S"]]:
    """The sums of S symmetric matrices' rows, and of their squares.

    Args:
        grams: gives a tile of each matrix, zero for pairs that do not count.
        samples: as of `tiles.sweep`.
    """
    num_rows = len(samples.rows)
    if jax.device_count() > 1:

        def whole(group: Samples, block: Samples) -> list[tuple[Array, Array]]:
            both = grams(group, block)
            return [(jnp.sum(gram, axis=0), jnp.sum(gram**2, axis=0)) for gram in both]

        swept = tiles.sweep(whole, samples)
        squares = jnp.stack([tiles.total(part) for _, part in swept])
        return [sums.ravel()[:num_rows] for sums, _ in swept], squares

    starts, take = _tiling(samples)

    def add(sums: list[Array], start: Int[Array, "2"]) -> tuple[list[Array], Array]:
        group, block = take(start)
        weights = _weights(group, block)
        new, squares = [], []
        for total, gram in zip(sums, grams(group, block), strict=True):
            columns = jnp.sum(jnp.where(weights > 0, gram, 0), axis=0)
            rows = jnp.sum(jnp.where(weights > 1, gram, 0), axis=1)
            for first, part in zip(start, (rows, columns), strict=True):
                both = jax.lax.dynamic_slice_in_dim(total, first, len(part)) + part
                total = jax.lax.dynamic_update_slice_in_dim(total, both, first, 0)
            new.append(total)
            squares.append(jnp.sum(weights * gram**2, axis=0))
        return new, jnp.stack(squares)

    dtype, size = samples.spaces[0].dtype, num_rows + ROWS
    sums = [jnp.zeros(size, dtype) for _ in samples.spaces]
    sums, squares = jax.lax.scan(add, layout.varying(sums, samples), starts)
    parts = jnp.moveaxis(squares, 1, 0)
    return [total[:num_rows] for total in sums], jnp.stack([*map(tiles.total, parts)])


def _weights(group: Samples, block: Samples) -> Int[Array, "R B"]:
    """How often a pair stands for itself and its mirror image.

    Twice below the diagonal, once on it, and above it not at all.
    """
    ahead = group.ids[:, None] - block.ids
    return jnp.clip(ahead + 1, 0, 2)


def _tiling(
    samples: Samples,
) -> tuple[Int[Array, "T 2"], Callable[[Array], tuple[Samples, Samples]]]:
    """Where tiles begin, in rows and columns, and a function that takes one."""
    num_rows = len(samples.rows)
    columns = min(COLUMNS, _whole(num_rows, tiles.AT_ONCE))
    rows = min(ROWS, _whole(num_rows, columns))
    firsts = np.arange(0, max(num_rows, 1), rows)
    of_rows, of_columns = np.meshgrid(
        firsts, np.arange(0, max(num_rows, 1), columns), indexing="ij"
    )
    starts = np.stack([of_rows, of_columns], axis=-1)[of_columns < of_rows + rows]
    missing = _whole(num_rows, rows) - num_rows

    def padded(x: Array) -> Array:
        return jnp.pad(x, [(0, missing), *[(0, 0)] * (x.ndim - 1)])

    all_rows = jax.tree.map(padded, samples)
    # Those that fill up the last tile count as no rows, and are others than all rows.
    all_rows = all_rows._replace(ids=jnp.arange(len(all_rows.rows)))

    def take(start: Int[Array, "2"]) -> tuple[Samples, Samples]:
        def some(first: Array, size: int) -> Samples:
            slices = jax.lax.dynamic_slice_in_dim
            return jax.tree.map(lambda x: slices(x, first, size), all_rows)

        return some(start[0], rows), some(start[1], columns)

    return jnp.asarray(starts), take


def _whole(number: int, of: int) -> int:
    """The least multiple that is not below the number, and not zero."""
    return max(1, -(-number // of)) * of
