"""Sums over all pairs of rows from products of features."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jatlas._src import arrays

# The sums are those of all pairs less those of each row with itself. They are exact
# enough while so many times what is left is above the whole: it loses three bits.
_LEFT = 8


def covariances(
    spaces: Sequence[Float[Array, "N _"]], rows: Bool[Array, " N"]
) -> tuple[Float[Array, "3"], Bool[Array, ""]]:
    """Products of two spaces' squared distances, less their means, summed over pairs.

    Of centered rows, p_i and q_i their squared lengths, |x_i - x_j|^2 is
    `p_i + p_j - 2 x_i.x_j`. Over all (i, j) the two parts are orthogonal, as the rows
    add up to zero: so the sum of the products is `sum (p_i + p_j)(q_i + q_j)` and
    4 |X'Y|^2. This also bounds what a squared distance by a product of centered rows
    loses: it is off by some eps (p_i + p_j), whose squares add up to no more than the
    squares of the distances.

    Args:
        spaces: x and y, (N, D1) and (N, D2).
        rows: (N,), the rows that count.

    Returns:
        The sums over pairs of different rows, of x with x, x with y, and y with y; and
        whether they are exact: they are not where rows are nearly equidistant, or fewer
        than the features.

    >>> x = jnp.array([[0.0], [1.0], [3.0]])  # squared distances 1, 4, 9: each twice
    >>> sums, exact = covariances([x, x], jnp.ones(3, bool))
    >>> sums.round(2), bool(exact)
    (Array([65.33, 65.33, 65.33], dtype=float32), True)
    """
    x, y = (arrays.center(space, rows)[0] for space in spaces)
    lengths = jnp.stack([jnp.sum(side**2, axis=1) for side in (x, y)])
    totals = jnp.sum(lengths, axis=1)
    count = jnp.sum(rows, dtype=x.dtype)
    means = arrays.safe_divide(totals, count, 0.0)
    p, q = jnp.where(rows, lengths - means[:, None], 0)
    p_total, q_total = totals
    sums = [
        (2 * count * jnp.sum(a * b) + 4 * jnp.sum(arrays.matmul(u.T, v) ** 2), s * t)
        for a, b, u, v, s, t in (
            (p, p, x, x, p_total, p_total),
            (p, q, x, y, p_total, q_total),
            (q, q, y, y, q_total, q_total),
        )
    ]
    whole, itself = (jnp.stack(part) for part in zip(*sums, strict=True))
    left = whole - 4 * arrays.safe_divide(itself, count - 1, 0.0)
    exact = jax.lax.stop_gradient(_LEFT * left[::2] > whole[::2])
    return left, jnp.all(exact)
