"""Lengths of rows of any scale, in one pass over them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def to_unit(
    x: Float[Array, "*rows D"], present: Bool[Array, "*rows"] | None = None
) -> tuple[Float[Array, "*rows"], Float[Array, "*rows"]]:
    """Two factors of each row that make it of length one.

    It is to be multiplied by one and then the other: by a power of two, that
    rounds nothing, and by the inverse of the length that the row then has. One factor
    alone could be beyond what the dtype holds. The second is 0 for a row of zeros, and
    NaN for a row of NaN or infinity.

    Squares are added up as they are, which is a pass over the rows without a copy. Only
    where some row's would overflow or vanish are they added up again, at three scales
    (Blue, "A portable Fortran program to find the Euclidean norm of a vector", 1978).

    Args:
        x: floating point; the factors are float32 or wider. What is narrower is widened
            as it is read, and not written out.
        present: rows that count; all if None. Of the others the second factor is 0,
            whatever they hold, and their gradient is too.

    >>> power, inverse = to_unit(jnp.array([[3.0, 4.0], [0.0, 0.0], [3e-30, 4e-30]]))
    >>> power * inverse
    Array([2.e-01, 0.e+00, 2.e+29], dtype=float32)
    """
    if present is None:
        present = jnp.ones(x.shape[:-1], bool)
    return _factors(x, present)


@jax.custom_jvp
def _factors(x: Array, present: Array) -> tuple[Array, Array]:
    if jax.device_count() > 1:  # that no row needs it, devices would have to be told
        power, squares = _suited(x, *_sums(x, (1.0, *_scales(x))))
    else:
        wide = widen(x)
        squares = jnp.sum(wide * wide, axis=-1)
        least, most = _limits(wide)
        # A NaN is in no range, and no other scale would change it.
        outside = jnp.any(((squares < least) | (squares > most)) & present)
        branches = _at_three_scales, _as_it_is
        power, squares = jax.lax.cond(outside, *branches, x, squares)
    positive = squares > 0
    inverse = jnp.where(positive, 1 / jnp.sqrt(jnp.where(positive, squares, 1)), 0)
    inverse = jnp.where(jnp.isfinite(squares), inverse, jnp.nan)
    return power, jnp.where(present, inverse, 0)


@_factors.defjvp
def _factors_jvp(primals: tuple, tangents: tuple) -> tuple[tuple, tuple]:
    (x, present), (moved, _) = primals, tangents
    power, inverse = _factors(x, present)
    # An absent row can hold NaN, which times zero would still be NaN.
    x = jnp.where(present[..., None], widen(x), 0) * power[..., None]
    x, moved = x * inverse[..., None], widen(moved) * power[..., None]
    along = jnp.sum(x * moved, axis=-1)
    # Not the square of the inverse, which vanishes for long rows.
    return (power, inverse), (jnp.zeros_like(power), -inverse * (inverse * along))


def widen(x: Array) -> Array:
    """`x` in the dtype for computing: float32, or wider if it is."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _limits(x: Array) -> tuple[float, float]:
    """Sums of squares between these have lost nothing but rounding."""
    dtype = jnp.finfo(x.dtype)
    vanished = x.shape[-1] * float(dtype.tiny)  # what D squares can lose
    return vanished / float(dtype.eps), float(dtype.max)


def _as_it_is(x: Array, squares: Array) -> tuple[Array, Array]:
    return jnp.ones_like(squares), squares


def _at_three_scales(x: Array, squares: Array) -> tuple[Array, Array]:
    return _suited(x, squares, *_sums(x, _scales(x)))


def _scales(x: Array) -> tuple[float, float]:
    """Powers of two, for long rows and for short ones."""
    exponent = jnp.finfo(widen(x).dtype).maxexp * 3 // 4
    return 2.0**-exponent, 2.0**exponent


def _sums(x: Array, scales: tuple[float, ...]) -> tuple[Array, ...]:
    """The sums of squares of each row at each scale.

    One reduction, and nothing but what it reads is read: of several, XLA would write
    rows at a scale, or widened, out first.
    """
    x = widen(x)
    parts = tuple((x * jnp.asarray(scale, x.dtype)) ** 2 for scale in scales)
    none = (jnp.zeros((), x.dtype),) * len(scales)
    return tuple(jax.lax.reduce(parts, none, _added, (x.ndim - 1,)))


def _suited(
    x: Array, squares: Array, below: Array, above: Array
) -> tuple[Array, Array]:
    """A power of two that suits each row, and its squares' sum."""
    small, large = (jnp.asarray(scale, squares.dtype) for scale in _scales(x))
    least, most = _limits(widen(x))
    sums = jnp.where(squares > most, below, jnp.where(squares < least, above, squares))
    power = jnp.where(squares > most, small, jnp.where(squares < least, large, 1))
    return power, sums


def _added(one: tuple, other: tuple) -> tuple:
    return tuple(a + b for a, b in zip(one, other, strict=True))
