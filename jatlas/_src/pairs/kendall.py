"""Kendall's tau-b, exact, in time P log P."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jatlas._src import arrays, layout

# So many numbers are added as integers: no more than 2^22 each, they stay below 2^31.
_BLOCK = 512


def tau_b(
    a: Int[Array, " P"],
    b: Int[Array, " P"],
    counted: Bool[Array, " P"],
    dtype: jnp.dtype,
) -> Float[Array, ""]:
    """Kendall's tau-b of ranks below P, over the entries counted.

    `(C - D) / sqrt((n - ta) (n - tb))`, of n pairs of entries C in the same order in
    both, D in the other order, ta and tb tied in a and in b.

    >>> a, b = jnp.array([0, 1, 2, 3]), jnp.array([0, 2, 1, 1])
    >>> round(float(tau_b(a, b, jnp.ones(4, bool), jnp.dtype("float32"))), 4)
    0.1826
    """
    place = jnp.arange(len(a))
    # The others stand behind all, in one order in both, and are tied to none.
    behind = jnp.sum(counted) + jnp.cumsum(~counted) - 1
    a, b = (jnp.where(counted, ranks, behind) for ranks in (a, b))
    like_a, like_b = (_others_alike(ranks) for ranks in (a, b))
    # To sort takes many times as long as to put each at the place that its rank is.
    a, b = jax.lax.cond(
        jnp.any(like_a > 0),
        lambda a, b: tuple(jax.lax.sort((a, b), num_keys=2)),
        lambda a, b: (layout.varying(place, a, b), jnp.zeros_like(b).at[a].set(b)),
        a,
        b,
    )
    alike = (a[1:] == a[:-1]) & (b[1:] == b[:-1])
    start = jnp.where(jnp.append(False, alike)[: len(place)], 0, place)
    both = _total(place - jax.lax.cummax(start), dtype)
    count = jnp.sum(counted)
    pairs = _total(jnp.where(place < count, place, 0), dtype)
    ties = [_total(like, dtype) / 2 for like in (like_a, like_b)]
    turned = _turned(b, max(len(a), 1).bit_length(), dtype)
    excess = pairs - ties[0] - ties[1] + both - 2 * turned
    lengths = [arrays.safe_sqrt(pairs - tie) for tie in ties]
    return arrays.safe_divide(excess, lengths[0] * lengths[1])


def _others_alike(ranks: Int[Array, " P"]) -> Int[Array, " P"]:
    """How many other entries have the rank of each."""
    return jnp.zeros_like(ranks).at[ranks].add(1)[ranks] - 1


def _turned(x: Int[Array, " P"], bits: int, dtype: jnp.dtype) -> Float[Array, ""]:
    """The number of pairs whose larger entry comes first.

    Bit by bit from the highest: entries are kept in the order of the bits seen, those
    of equal ones as they came. Of two entries the larger is the one that has the first
    bit in which they differ. `start` is the first place of the entries whose bits so
    far are the same.
    """

    def level(n: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
        x, start, total = state
        bit = (x >> (bits - 1 - n)) & 1
        ones = jnp.cumsum(bit) - bit
        before = ones[start]
        total += _total(jnp.where(bit == 0, ones - before, 0), dtype)
        first_one = len(x) - jnp.sum(bit)
        place = jnp.where(bit == 1, first_one + ones, jnp.arange(len(x)) - ones)
        start = jnp.where(bit == 1, first_one + before, start - before)
        return x.at[place].set(x), start.at[place].set(start), total

    start = jnp.zeros_like(x), jnp.zeros((), dtype)
    state = (x, *layout.varying(start, x))
    return jax.lax.fori_loop(0, bits, level, state)[2]


def _total(counts: Int[Array, " P"], dtype: jnp.dtype) -> Float[Array, ""]:
    """The sum, as integers in blocks: long sums of floats lose digits."""
    padded = jnp.pad(counts, (0, -len(counts) % _BLOCK))
    blocks = jnp.sum(padded.reshape(-1, _BLOCK), axis=1).astype(dtype)
    blocks = jnp.pad(blocks, (0, -len(blocks) % 64)).reshape(-1, 64)
    return jnp.sum(jnp.sum(blocks, axis=1))
