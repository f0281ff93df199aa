"""Array types by their axes, and primitives that every module uses.

Axes, always in this order: M charts, N samples, A anchors, D features, C classes.

Two rules hold in the whole library and are kept here. Arithmetic is done in float32
at least, whatever comes in (`widen`); arrays of samples go back in the dtype they came
in, statistics stay wide. A division or a root that could be 0/0 is guarded on both
sides of the `where`, so that its gradient is finite too.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Real

from jatlas._src import lengths

AnyArray = jax.Array | np.ndarray
Shaped = jax.Array | np.ndarray | jax.ShapeDtypeStruct
Number = float | int | Real[AnyArray, ""]
Where = Bool[AnyArray, " N"] | None
Precision = str | jax.lax.Precision | None

# Statistics need all digits; accelerators round what they multiply by default.
matmul = partial(jnp.matmul, precision="highest")


def widen(x: AnyArray) -> Array:
    """`x` in the dtype for computing: float32, or wider if it is."""
    return lengths.widen(jnp.asarray(x))


def all_rows(x: AnyArray, where: Where) -> Bool[Array, " N"]:
    """`where`, or a mask of all N rows if it is None."""
    return jnp.ones(x.shape[0], bool) if where is None else jnp.asarray(where)


def safe_divide(
    numerator: AnyArray, denominator: AnyArray, otherwise: Number = jnp.nan
) -> Array:
    """`numerator / denominator`, and `otherwise` where the denominator is zero.

    The gradient there is zero, not NaN: the division never sees the zero.
    """
    zero = denominator == 0
    return jnp.where(zero, otherwise, numerator / jnp.where(zero, 1, denominator))


def safe_sqrt(x: AnyArray) -> Array:
    """Square root of `max(x, 0)`, with gradient zero where `x <= 0`."""
    positive = x > 0
    # `x * 0` keeps a NaN a NaN: it must not come out as a root of zero.
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), x * 0)


def magnitude(x: AnyArray, axis: int) -> Array:
    """The largest |x| along the axis, or 1 if that is zero.

    The axis is kept, with size 1. To divide by before squaring, lest squares overflow
    or vanish. It is a constant to the gradient, which is exact for what depends on it
    only by rounding.
    """
    largest = jnp.max(jnp.abs(x), axis=axis, keepdims=True, initial=0)
    return jax.lax.stop_gradient(jnp.where(largest == 0, 1, largest))


def unit(x: Float[AnyArray, "*rows D"]) -> Float[Array, "*rows D"]:
    """Rows of length one; a zero row stays zero, with gradient zero.

    Exact for rows of any scale that the dtype can hold.

    >>> unit(jnp.array([[3.0, 4.0], [0.0, 0.0], [3e-30, 4e-30]]))
    Array([[0.6, 0.8],
           [0. , 0. ],
           [0.6, 0.8]], dtype=float32)
    """
    x = jnp.asarray(x)
    wide = widen(x)
    power, inverse = lengths.to_unit(wide)
    return (wide * power[..., None] * inverse[..., None]).astype(x.dtype)


def masked_sum(x: Float[Array, "N *rest"], where: Bool[Array, " N"]) -> Array:
    """Sum over the rows where `where`; the others can hold NaN."""
    return jnp.sum(keep(x, where), axis=0)


def keep(x: Float[Array, "N *rest"], where: Bool[Array, " N"]) -> Array:
    """`x` with zeros in the rows where `where` is False."""
    return jnp.where(where.reshape(-1, *[1] * (x.ndim - 1)), x, 0)


def center(
    x: Float[Array, "N D"], where: Bool[Array, " N"]
) -> tuple[Float[Array, "N D"], Float[Array, " D"]]:
    """The rows less their mean, and the mean.

    Rows that are masked out are zero. The mean is NaN if no rows are left. Centered
    twice: the mean of values near 1e4 is off by 1e-3 in float32, and a second pass over
    what is left takes that off. What then remains of a constant feature is rounding
    alone, and is set to zero, lest a statistic be made of it.
    """
    count = jnp.sum(where)
    first = safe_divide(masked_sum(x, where), count)
    residual = keep(x - first, where)
    second = safe_divide(masked_sum(residual, where), count)
    residual = keep(residual - second, where)
    rounding = 4 * jnp.finfo(x.dtype).eps * jnp.abs(first)
    constant = jnp.max(jnp.abs(residual), axis=0, initial=0) <= rounding
    return jnp.where(constant, 0, residual), first + second


def rescaled(
    x: Float[Array, "N D"], where: Bool[Array, " N"]
) -> tuple[Float[Array, "N D"], Float[Array, ""]]:
    """The rows times a power of two, and that power.

    It brings the largest magnitude near 1, for functions that do not depend on the
    scale of a space: their squares then neither overflow nor vanish. A power of two
    rounds nothing. It is a constant to the gradient. Rows that are masked out are zero.
    """
    kept = keep(x, where)
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(kept), initial=0))
    limits = jnp.finfo(x.dtype)
    exponent = jnp.clip(jnp.frexp(largest)[1], limits.minexp + 2, limits.maxexp - 2)
    factor = jnp.ldexp(jnp.ones_like(largest), -exponent)
    return kept * factor, factor


def check(message: str, assertion: Callable[..., None], *given: Any) -> None:
    """Raise ValueError with our message alone where an assertion of Chex fails."""
    try:
        assertion(*given)
    except AssertionError:
        raise ValueError(message) from None


def described(x: Any) -> str:
    """What was given, for a message: dtype and shape, or its type."""
    if hasattr(x, "shape") and hasattr(x, "dtype"):
        return f"{x.dtype}{tuple(x.shape)}"
    return type(x).__name__


def check_rows(name: str, x: Shaped) -> None:
    """Raise ValueError unless `x` is a matrix of floating point numbers."""
    message = (
        f"{name} must be a matrix, one row a sample; stacked spaces go through "
        f"jax.vmap. Got {described(x)}."
    )
    check(message, chex.assert_rank, x, 2)
    check_floating(name, x)


def check_floating(name: str, x: Shaped | Number) -> None:
    """Raise ValueError unless `x` holds floating point numbers."""
    message = (
        f"{name} must be floating point; convert it first, with "
        f"`.astype(jnp.float32)`, say. Got {described(x)}."
    )
    check(message, chex.assert_type, x, float)


def check_mask(
    name: str, mask: AnyArray | None, shape: tuple[int, ...], axes: str
) -> None:
    """Raise ValueError unless `mask` is None, or boolean of this shape."""
    if mask is None:
        return
    given = described(mask)
    message = f"{name} must have the axes {axes}, here {shape}; got {given}."
    check(message, chex.assert_shape, mask, shape)
    message = f"{name} must be boolean; for numbers write `{name} > 0`. Got {given}."
    check(message, chex.assert_type, mask, bool)


def check_equal(what: str, sizes: Sequence[Any], advice: str) -> None:
    """Raise ValueError unless all `sizes` are the same."""
    message = f"{what} must be the same, got {list(sizes)}. {advice}"
    for size in sizes[1:]:
        check(message, chex.assert_equal, sizes[0], size)


def check_pair(x: AnyArray, y: AnyArray, where: AnyArray | None) -> None:
    """Raise ValueError unless both are floating point matrices of N rows."""
    check_rows("x", x)
    check_rows("y", y)
    check_equal(
        "the number of samples N of x and y",
        [x.shape[0], y.shape[0]],
        "Row n must be the same sample in both spaces.",
    )
    check_mask("where", where, x.shape[:1], "(N,)")


def check_count(name: str, value: int, least: int) -> None:
    """Raise ValueError unless `value` is a whole number of `least` or more."""
    if not isinstance(value, int | np.integer) or value < least:
        raise ValueError(
            f"{name} must be a whole number of {least} or more, got {value}."
        )


def check_counts(least: int, **counts: int) -> None:
    """`check_count` of each argument by its name."""
    for name, value in counts.items():
        check_count(name, value, least)


def check_labels(
    labels: AnyArray,
    num_rows: int,
    num_classes: int,
    where: Where = None,
    advice: str = "Give the right num_classes, or mask the rows out with `where`.",
) -> None:
    """Raise ValueError unless labels are integers (N,) in 0..C-1 where `where`.

    The values are looked at only where they can be: not under a JAX transformation,
    nor when parts of the array live on other hosts. There a bad label becomes NaN.
    """
    given = described(labels)
    message = f"labels must be one a row, ({num_rows},); got {given}."
    check(message, chex.assert_shape, labels, (num_rows,))
    message = f"labels must be integers, the numbers of the classes; got {given}."
    check(message, chex.assert_type, labels, int)
    known = [labels] if where is None else [labels, where]
    if any(not is_concrete(array) for array in known):
        return
    seen = np.asarray(labels)
    seen = seen if where is None else seen[np.asarray(where)]
    bad = np.unique(seen[(seen < 0) | (seen >= num_classes)])
    if bad.size:
        raise ValueError(
            f"labels must lie in 0..{num_classes - 1} (num_classes={num_classes}); got "
            f"{bad[:10].tolist()}. {advice}"
        )


def check_disjoint(name: str, mask: AnyArray, other: str, others: AnyArray) -> None:
    """Raise ValueError if two masks overlap, where this can be seen."""
    if not (is_concrete(mask) and is_concrete(others)):
        return
    both = int(np.sum(np.asarray(mask) & np.asarray(others)))
    if both:
        raise ValueError(
            f"{both} places are both in {name} and in {other}: what is learned from "
            "cannot tell when to stop. Take them out of one."
        )


def check_on_host(function: str, **given: Any) -> None:
    """Raise ValueError if a host function is given traced values."""
    for name, tree in given.items():
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree)):
            raise ValueError(
                f"{function} runs on the host and reads the values of {name}; inside "
                "of jax.jit, vmap, grad or scan there are none. Call it outside of "
                "jit, and pass on what it gives."
            )


def is_concrete(x: AnyArray) -> bool:
    """Whether the values of `x` can be read here and now."""
    if isinstance(x, jax.core.Tracer):
        return False
    return bool(getattr(x, "is_fully_addressable", True))
