"""Sums over all pairs of rows, each pair made once.

What is symmetric is made for one half of the pairs: of rows on one device. Of those on
several each device does its part of every tile of `tiles.sweep`, which has all pairs.
Nothing here has a gradient by tiles: `tiles.sweep` has.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jatlas._src import layout
from jatlas._src.pairs import tiles
from jatlas._src.pairs.tiles import Samples

# Most rows and columns of a tile. The fewer, the less is made for the other half.
ROWS, COLUMNS = 512, 256

Weighted = Callable[[Samples, Samples, Float[Array, "R B"]], Any]
Matrices = Sequence[Float[Array, "R B"]]
Tiles = Callable[[Samples, Samples], tuple[Matrices, Matrices]]


def sweep(tile: Weighted, samples: Samples, distinct: bool) -> Any:
    """What `tile(rows, columns, weights)` gives, for tiles with all pairs.

    Args:
        tile: symmetric in rows and columns, and a sum over pairs times their weights.
        samples: as of `tiles.sweep`.
        distinct: whether a row and itself are no pair.

    Returns:
        Stacked over groups of tiles, to be summed up. Of a group on one device whole
        numbers add up to 2 ROWS N at most, which are integers to N = 2,000,000.
    """
    dtype = samples.spaces[0].dtype
    if not layout.alone():

        def whole(group: Samples, block: Samples) -> Any:
            return tile(
                group, block, tiles.pairs_of(group, block, distinct).astype(dtype)
            )

        return tiles.sweep(whole, samples)

    def part(group: Samples, block: Samples) -> Any:
        weights = _weights(group, block).astype(dtype)
        pairs = tiles.pairs_of(group, block, distinct)
        return tile(group, block, jnp.where(pairs, weights, 0))

    grid = _Grid(samples)

    def of_rows(number: Int[Array, ""]) -> Any:
        def add(column: Int[Array, ""], total: Any) -> Any:
            return jax.tree.map(jnp.add, total, part(*grid.tile(number, column)))

        like = jax.eval_shape(lambda: part(*grid.tile(number, number)))
        start = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like)
        return jax.lax.fori_loop(0, grid.blocks(number), add, start)

    return jax.lax.map(of_rows, jnp.arange(grid.num_groups))


def row_sums(
    tile: Tiles, samples: Samples
) -> tuple[list[Float[Array, " N"]], Float[Array, " T"]]:
    """Sums of symmetric matrices' rows, and whole sums of others.

    Args:
        tile: gives a tile of each of both, zero for pairs that do not count.
        samples: as of `tiles.sweep`.
    """
    if not layout.alone():
        return row_sums_of_all(tile, samples)
    grid = _Grid(samples)

    def add_tile(number: Int[Array, ""], column: Int[Array, ""], state: Any) -> Any:
        sums, totals = state
        group, block = grid.tile(number, column)
        weights = _weights(group, block)
        by_row, whole = tile(group, block)
        parts = [
            (number * grid.rows, [jnp.where(weights > 1, x, 0).sum(1) for x in by_row]),
            (
                column * grid.columns,
                [jnp.where(weights > 0, x, 0).sum(0) for x in by_row],
            ),
        ]
        for first, part in parts:
            here = jax.lax.dynamic_slice_in_dim(sums, first, len(part[0]), 1)
            sums = jax.lax.dynamic_update_slice_in_dim(
                sums, here + jnp.stack(part), first, 1
            )
        new = [jnp.sum(weights * x, axis=0) for x in whole]
        return sums, totals + jnp.stack(new)

    def add_rows(sums: Array, number: Int[Array, ""]) -> tuple[Array, Array]:
        def add(column: Int[Array, ""], state: Any) -> Any:
            return add_tile(number, column, state)

        return jax.lax.fori_loop(0, grid.blocks(number), add, (sums, no_totals))

    like = jax.eval_shape(tile, *jax.eval_shape(grid.tile, 0, 0))
    no_sums, no_totals = (
        jnp.zeros((len(matrices), size), matrices[0].dtype)
        for matrices, size in zip(
            like, (grid.num_groups * grid.rows, grid.columns), strict=True
        )
    )
    sums, totals = jax.lax.scan(add_rows, no_sums, jnp.arange(grid.num_groups))
    added = [tiles.total(part) for part in jnp.moveaxis(totals, 1, 0)]
    return [total[: len(samples.rows)] for total in sums], jnp.stack(added)


def row_sums_of_all(
    tile: Tiles, samples: Samples
) -> tuple[list[Float[Array, " N"]], Float[Array, " T"]]:
    """`row_sums`, by a sweep that has a gradient."""

    def both(group: Samples, block: Samples) -> tuple[list[Array], list[Array]]:
        by_row, whole = tile(group, block)
        return [x.sum(0) for x in by_row], [x.sum(0) for x in whole]

    sums, totals = tiles.sweep(both, samples)
    added = jnp.stack([tiles.total(part) for part in totals])
    return [each.ravel()[: len(samples.rows)] for each in sums], added


def _weights(group: Samples, block: Samples) -> Int[Array, "R B"]:
    """How often a pair stands for itself and its mirror image.

    Twice below the diagonal, once on it, and above it not at all.
    """
    ahead = group.ids[:, None] - block.ids
    return jnp.clip(ahead + 1, 0, 2)


class _Grid:
    """Tiles of samples up to the diagonal."""

    def __init__(self, samples: Samples) -> None:
        num_rows = len(samples.rows)
        self.columns = min(COLUMNS, _whole(num_rows, tiles.AT_ONCE))
        self.rows = min(ROWS, _whole(num_rows, self.columns))
        size = _whole(num_rows, self.rows)
        self.num_groups = size // self.rows

        def padded(x: Array) -> Array:
            return jnp.pad(x, [(0, size - num_rows), *[(0, 0)] * (x.ndim - 1)])

        # Those that fill up the last tile are no rows, and have numbers of their own.
        self._samples = jax.tree.map(padded, samples)._replace(ids=jnp.arange(size))

    def blocks(self, number: Int[Array, ""]) -> Int[Array, ""]:
        """How many blocks of columns a group of rows has."""
        return (number + 1) * (self.rows // self.columns)

    def tile(
        self, number: Int[Array, ""], column: Int[Array, ""]
    ) -> tuple[Samples, Samples]:
        """A group of rows and a block of columns."""

        def some(first: Array, size: int) -> Samples:
            slices = jax.lax.dynamic_slice_in_dim
            return jax.tree.map(lambda x: slices(x, first, size), self._samples)

        rows = some(number * self.rows, self.rows)
        return rows, some(column * self.columns, self.columns)


def _whole(number: int, of: int) -> int:
    """The least multiple that is not below the number, and not zero."""
    return max(1, -(-number // of)) * of
