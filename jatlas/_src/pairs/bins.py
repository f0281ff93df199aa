"""Ranks of pairs among the pairs of some samples."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jatlas._src import layout
from jatlas._src.pairs import places, tiles

Unlike = Callable[[Float[Array, "R D"], Float[Array, "B D"]], Float[Array, "R B"]]
Find = Callable[[Array], Int[Array, "*axes"]]


def edges(
    x: Float[Array, "N D"], rows: Bool[Array, " N"], unlike: Unlike, most: int
) -> Float[Array, " K"]:
    """Values between those of the pairs of some samples that count, sorted.

    Halfway, as the same pair made in another loop can differ by rounding. Between two
    that differ by no more than that there is none: they are equal.

    Args:
        x: (N, D).
        rows: (N,), the rows that count.
        unlike: how unlike rows are.
        most: how many samples are taken at most.
    """
    first = jnp.argsort(~rows, stable=True)
    size = min(len(rows), most)
    chosen = first[jnp.arange(size) * jnp.maximum(jnp.sum(rows), 1) // size]
    some = x[chosen]
    i, j = jnp.triu_indices(size, 1)
    values = places.ascending(unlike(some, some)[i, j])
    gaps = values[1:] - values[:-1]
    apart = gaps > 8 * jnp.finfo(x.dtype).eps * values[1:]
    return places.ascending(jnp.where(apart, values[:-1] + gaps / 2, jnp.inf))


def ranks(counts: Int[Array, " K1"], dtype: jnp.dtype) -> Float[Array, " K1"]:
    """The rank of each bin's pairs, as a share of all.

    Half the number of pairs below plus half the number up to and with: the mean rank of
    equal ones, and with any correlation the same as the rank. The mean of all is 1/2.

    >>> ranks(jnp.array([1, 2, 1]), jnp.dtype("float32"))
    Array([0.125, 0.5  , 0.875], dtype=float32)
    """
    counts = counts.astype(dtype)
    up_to = jnp.cumsum(counts)
    return (up_to - counts / 2) / jnp.where(up_to[-1] > 0, up_to[-1], 1)


def counted_in(
    place: Int[Array, "*axes"], counted: Bool[Array, "*axes"], size: int
) -> Int[Array, " size"]:
    """How many places that count are in each bin."""
    start = layout.varying(jnp.zeros(size, jnp.int32), place, counted)
    return start.at[place].add(counted)


def in_tiles(
    x: Float[Array, "N D"], rows: Bool[Array, " N"], unlike: Unlike, most: int
) -> Unlike:
    """A function of rows to their pairs' ranks among all pairs."""
    between = edges(x, rows, unlike, most)
    find = places.finder(between)

    def counts(group: tiles.Samples, block: tiles.Samples) -> Int[Array, " K1"]:
        pairs = tiles.pairs_of(group, block, distinct=True)
        place = find(unlike(group.spaces[0], block.spaces[0]))
        return counted_in(place, pairs, len(between) + 1)

    # The sum over the columns too would be one of floats: counts of a block are whole.
    swept = tiles.sweep(counts, tiles.samples_of([x], rows)).astype(x.dtype)
    of_bins = ranks(jnp.sum(swept, axis=0), x.dtype)
    return lambda one, other: of_bins[find(unlike(one, other))]


def at_once(
    x: Float[Array, "N D"],
    rows: Bool[Array, " N"],
    unlike: Unlike,
    most: int,
    pairs: tuple[Bool[Array, "S N"], Float[Array, "S N"]],
) -> Float[Array, "S N"]:
    """The ranks of all pairs, given which count and their values."""
    counted, values = pairs
    between = edges(x, rows, unlike, most)
    place = places.finder(between)(values)
    return ranks(counted_in(place, counted, len(between) + 1), x.dtype)[place]
