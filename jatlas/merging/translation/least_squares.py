"""Linear maps by least squares, their ridge chosen by left-out rows."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jatlas._src import arrays
from jatlas._src.spectra.roots import ZERO
from jatlas._src.spectra.singular import Singular


@jax.custom_jvp
def solved(
    x: Float[Array, "N D"],
    y: Float[Array, "N K"],
    ridge: Float[Array, ""],
    parts: Singular,
) -> Float[Array, "D K"]:
    """The smallest least squares map, with a ridge.

    It is the smallest W for which |x W - y|^2 + ridge |W|^2 is least.

    Args:
        x: (N, D).
        y: (N, K).
        ridge: 0 or more.
        parts: of x, from `singular`; with ridge 0 its dropped directions are mapped to
            zero.
    """
    return _solution(y, ridge, parts)


def _solution(y: Array, ridge: Array, parts: Singular) -> Array:
    values = parts.values
    shrunk = arrays.safe_divide(values, values**2 + ridge, 0.0)
    half = arrays.matmul(parts.left.T, y)
    return arrays.matmul(parts.right * shrunk, half)


@solved.defjvp
def _solved_jvp(
    primals: tuple[Array, Array, Array, Singular],
    tangents: tuple[Array, Array, Array, Singular],
) -> tuple[Array, Array]:
    """The derivative of the ridge map, finite where singular values coincide.

    It is that of (x'x + ridge I)^(-1) x'y. Without a ridge x is taken to keep its rank.
    First derivatives only.
    """
    _, y, ridge, parts = primals
    left, values, right = parts
    by_x, by_y, by_ridge, _ = tangents
    weights = _solution(y, ridge, parts)
    gains = arrays.safe_divide(jnp.ones_like(values), values**2 + ridge, 0.0)
    half = arrays.matmul(left.T, y)
    outside = y - arrays.matmul(left, half)
    # The residual, and what it is over the ridge, without the difference of both.
    residual = outside + arrays.matmul(left, (ridge * gains)[:, None] * half)
    slope = arrays.safe_divide(outside, jnp.broadcast_to(ridge, outside.shape), 0.0)
    slope = slope + arrays.matmul(left, gains[:, None] * half)

    def within(rows: Array) -> Array:
        return arrays.matmul(right.T, rows)

    change = arrays.matmul(left.T, by_y - arrays.matmul(by_x, weights))
    bent = within(arrays.matmul(by_x.T, residual)) - by_ridge * within(weights)
    inside = (values * gains)[:, None] * change + gains[:, None] * bent
    new = arrays.matmul(by_x.T, slope)
    new = new - arrays.matmul(right, within(new))
    return weights, arrays.matmul(right, inside) + new


def left_out_errors(
    y: Float[Array, "N K"],
    rows: Bool[Array, " N"],
    ridges: Float[Array, " L"],
    parts: Singular,
) -> Float[Array, " L"]:
    """Squared errors about rows that the map was not fitted on.

    For each ridge the sum over rows. The error of row n is that of the whole fit over
    1 - H_nn, with H the map from y to what is fitted of it, the mean included. Nothing
    is fitted anew.

    Args:
        y: (N, K), centered; zero where not `rows`.
        rows: (N,), those that count.
        ridges: (L,).
        parts: of the centered rows x, from `singular`.
    """
    left, values, _ = parts
    half = arrays.matmul(left.T, y)
    squares = left**2
    # What neither the mean nor x accounts for; nothing, where rows are few.
    free = 1 - 1 / jnp.maximum(jnp.sum(rows), 1) - jnp.sum(squares, axis=1)
    least = ZERO * jnp.finfo(y.dtype).eps
    free = jnp.where(free <= least, 0, free)
    outside = jnp.where(free[:, None] == 0, 0, y - arrays.matmul(left, half))

    def error(ridge: Array) -> Array:
        bent = arrays.safe_divide(
            jnp.broadcast_to(ridge, values.shape), values**2 + ridge, 1.0
        )
        residual = outside + arrays.matmul(left, bent[:, None] * half)
        open_share = free + arrays.matmul(squares, bent)
        squared = jnp.sum(residual**2, axis=1)
        each = arrays.safe_divide(squared, open_share**2, jnp.inf)
        return jnp.sum(jnp.where(rows, each, 0))

    return jax.lax.map(error, ridges)
