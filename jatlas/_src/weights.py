"""Weights of charts and of rows, zero where a sample is absent."""

import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jatlas._src import arrays
from jatlas._src.arrays import AnyArray, Number

Weights = Float[AnyArray, " M"] | Float[AnyArray, "M N"]


def chart_weights(
    presence: AnyArray,
    weights: Weights | None,
    shape: tuple[int, int],
    dtype: DTypeLike,
) -> Float[Array, "M N"]:
    """The weight of each chart for each sample, zero where absent."""
    arrays.check_mask("presence", presence, shape, "(M, N)")
    check_weights(weights, shape)
    if weights is None:
        return jnp.asarray(presence, dtype)
    w = _not_negative(jnp.asarray(weights, jnp.promote_types(weights.dtype, dtype)))
    return jnp.where(presence, w[:, None] if w.ndim == 1 else w, 0)


def check_weights(weights: Weights | None, shape: tuple[int, int]) -> None:
    """Raise ValueError unless weights are floating point, (M,) or (M, N)."""
    if weights is None:
        return
    arrays.check_floating("weights", weights)
    if weights.shape not in ((shape[0],), shape):
        raise ValueError(
            f"weights must be (M,) or (M, N), here {(shape[0],)} or {shape}; got "
            f"{weights.shape}."
        )


def row_weights(presence: Array, weights: Number | Array | None) -> Array:
    """(N,): the weight of one chart for each sample, zero where absent."""
    if weights is None:
        return presence
    arrays.check_floating("weights", weights)
    if jnp.shape(weights) not in ((), presence.shape):
        raise ValueError(
            f"weights must be a scalar or (N,), here {presence.shape}; got "
            f"{jnp.shape(weights)}."
        )
    return jnp.where(presence, _not_negative(jnp.asarray(weights)), 0)


def _not_negative(weights: Array) -> Array:
    """NaN for a negative weight.

    With such a weight a mean of cosines need not be a cosine.
    """
    return jnp.where(weights < 0, jnp.nan, weights)
