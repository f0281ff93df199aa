"""Squared distances by differences, which lose no digits of near rows."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jatlas._src import layout
from jatlas._src.arrays import AnyArray

# Features that are added in one go: with fewer, XLA does not vectorise the loop on a
# CPU, which takes five times as long.
AT_ONCE = 16


def squared_distances(
    x: Float[AnyArray, "N D"],
    y: Float[AnyArray, "K D"],
    signs: Float[Array, "N K"] | None = None,
) -> Float[Array, "N K"]:
    """Squared Euclidean distances between the rows of `x` and of `y`.

    By differences, not by |x|^2 + |y|^2 - 2 xy, which loses half the digits of small
    distances. Some features after others, and the differences made again for the
    gradient: no (N, K, D) array is formed.

    Args:
        x: (N, D).
        y: (K, D).
        signs: (N, K), what each row of `y` is multiplied with for each row of `x`.
    """
    x, y = jnp.asarray(x), jnp.asarray(y)
    size = max(1, min(AT_ONCE, x.shape[1]))
    more = -x.shape[1] % size
    steps = (x.shape[1] + more) // size
    sides = tuple(
        jnp.pad(side, ((0, 0), (0, more))).T.reshape(steps, size, len(side))
        for side in (x, y)
    )

    @jax.checkpoint
    def add(total: Array, features: tuple[Array, Array]) -> tuple[Array, None]:
        some = jnp.zeros_like(total)  # of few numbers the sum keeps more digits
        for one, other in zip(*features, strict=True):
            moved = other if signs is None else signs * other
            some += (one[:, None] - moved) ** 2
        return total + some, None

    # Of the sharding of the rows, which zeros of a shape alone would not have.
    start = jnp.zeros_like(x[:, :1] + y[:, 0]) if x.shape[1] else _none(x, y)
    return jax.lax.scan(add, layout.varying(start, *sides), sides)[0]


def _none(x: Float[Array, "N D"], y: Float[Array, "K D"]) -> Float[Array, "N K"]:
    return jnp.zeros((len(x), len(y)), jnp.result_type(x, y))
