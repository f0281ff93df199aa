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
    bits = max(len(a), 1).bit_length()
    # The others stand behind all, and before none.
    a, b = (jnp.where(counted, ranks, (1 << bits) - 1) for ranks in (a, b))
    a, b = jax.lax.sort((a, b), num_keys=2)
    ordered = jnp.sort(b)
    place = jnp.arange(len(a))
    real = place < jnp.sum(counted)

    def tied(*keys: Int[Array, " P"]) -> Float[Array, ""]:
        """Pairs of entries that are equal in all keys, which lie together."""
        alike = [key[1:] == key[:-1] for key in keys]
        same = jnp.all(jnp.stack(alike), axis=0)
        start = jnp.where(jnp.append(False, same)[: len(place)], 0, place)
        return _total(jnp.where(real, place - jax.lax.cummax(start), 0), dtype)

    pairs = _total(jnp.where(real, place, 0), dtype)
    ties = tied(a), tied(ordered)
    turned = _turned(b, bits, dtype)
    excess = pairs - ties[0] - ties[1] + tied(a, b) - 2 * turned
    lengths = [arrays.safe_sqrt(pairs - tie) for tie in ties]
    return arrays.safe_divide(excess, lengths[0] * lengths[1])


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
