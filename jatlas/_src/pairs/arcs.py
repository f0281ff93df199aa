"""Angles from distances of unit vectors, and the arc sine for them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jatlas._src import arrays
from jatlas._src.arrays import Precision
from jatlas._src.pairs.differences import squared_distances

_OPPOSITE = 3.0  # |u - v|^2 of unit vectors with a cosine of -0.5

# Of (arcsin(x) - x) / x^3 in powers of x^2, the highest first (Cephes, `asinf`).
_SERIES = (
    4.2163199048e-2,
    2.4181311049e-2,
    4.5470025998e-2,
    7.4953002686e-2,
    1.6666752422e-1,
)


def similarities(
    u: Float[Array, "N D"],
    v: Float[Array, "A D"],
    known: Bool[Array, "N A"],
    precision: Precision,
) -> Float[Array, "N A"]:
    """One less the angle between unit vectors as a share of pi.

    Distances to -v take as long as all else, and are made where some pair needs them.

    Args:
        u: (N, D).
        v: (A, D).
        known: the others are given 1/2.
        precision: of a product that tells which pairs are beyond a right angle.
    """

    def similar(squares: Array, opposite: Array | bool = False) -> Array:
        # Of unit vectors |u + v|^2 is 4 - |u - v|^2: the smaller of both has digits.
        obtuse = squares > 2
        half = arrays.safe_sqrt(jnp.where(obtuse, 4 - squares, squares)) / 2
        share = arcsine(half) * (2 / jnp.pi)
        return jnp.where(known, jnp.where(obtuse | opposite, share, 1 - share), 0.5)

    @jax.checkpoint
    def some_opposite(opposite: Array) -> Array:
        signs = jnp.where(opposite, -1, 1).astype(u.dtype)
        return similar(squared_distances(u, v, signs), opposite)

    if jax.device_count() > 1:  # that no pair needs it, devices would have to be told
        product = jax.lax.stop_gradient(jnp.matmul(u, v.T, precision=precision))
        return some_opposite(product < 1 - _OPPOSITE / 2)
    squares = squared_distances(u, v)
    return jax.lax.cond(
        jnp.any(squares > _OPPOSITE),
        lambda squares: some_opposite(squares > _OPPOSITE),
        jax.checkpoint(similar),
        squares,
    )


@jax.custom_jvp
def arcsine(x: Float[Array, "*axes"]) -> Float[Array, "*axes"]:
    """The arc sine of numbers in [0, 1].

    Within two units in the last place. In float32 by a polynomial: XLA's own, by an arc
    tangent, takes several times as long on a CPU.
    """
    if x.dtype != jnp.float32:
        return jnp.arcsin(x)
    large = x > 0.5
    square = jnp.where(large, (1 - x) / 2, x * x)
    root = jnp.where(large, jnp.sqrt(square), x)
    series = jnp.zeros_like(x)
    for coefficient in _SERIES:
        series = series * square + coefficient
    value = series * square * root + root
    return jnp.where(large, jnp.pi / 2 - 2 * value, value)


@arcsine.defjvp
def _arcsine_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """1 / sqrt(1 - x^2), and zero at one."""
    (x,), (change,) = primals, tangents
    slope = arrays.safe_divide(jnp.ones_like(x), arrays.safe_sqrt(1 - x * x), 0.0)
    return arcsine(x), change * slope
