"""Intervals of any measure of two spaces, from half samples."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from jatlas._src import arrays, border
from jatlas._src.arrays import AnyArray


class BootstrapInterval(NamedTuple):
    """A measure of two spaces, and its interval over samples.

    Attributes:
        value: (), of all samples.
        draws: (R,), of R random halves of the samples.
        low: (), the lower end of the interval.
        high: (), the upper end.
    """

    value: Float[Array, ""]
    draws: Float[Array, " R"]
    low: Float[Array, ""]
    high: Float[Array, ""]


@border.jit(static_argnames=("statistic", "draws", "level"))
def bootstrap_interval(
    key: PRNGKeyArray,
    statistic: Callable[..., Array],
    x: Float[AnyArray, "N D1"],
    y: Float[AnyArray, "N D2"],
    *,
    draws: int = 200,
    level: float = 0.95,
    where: Bool[AnyArray, " N"] | None = None,
) -> BootstrapInterval:
    """The interval of a measure over draws of the samples.

    Each draw is a random half of the samples, without replacement: the spread of a
    measure over halves is that over independent sets of N samples, as n / 2 of n drawn
    vary by a factor of (1 - 1/2) / (1/2) = 1. With replacement a sample would meet
    itself: it would be its own neighbour, and at a distance of zero in both spaces,
    which makes spaces look more alike than they are. The interval is the value less the
    upper and the lower quantile of the draws' differences from their mean.

    Args:
        key: a JAX key.
        statistic: a function of x and y to a scalar, as for `permutation_test`. It must
            do with N // 2 samples.
        x: (N, D1), floating point.
        y: (N, D2), floating point; row n is the same sample as row n of x.
        draws: R, 2 or more.
        level: the share of intervals that shall hold the value of infinitely many
            samples, above 0 and below 1.
        where: (N,), the samples that count; all if None. If it is given, the statistic
            is called with `where=` too, half of these samples.

    Returns:
        A `BootstrapInterval`. Its ends are NaN where a draw is, and if fewer than four
        samples count. They do not know what
        the measure would be off by for N samples, as biased CKA is.

    Raises:
        ValueError: if x and y are not floating point matrices of one N of 4 or more,
            where is no mask of it, there are fewer than two draws, or the level is not
            between 0 and 1.

    Example:
        >>> import jax
        >>> from jatlas.metrics import rsa
        >>> x = jax.random.normal(jax.random.key(0), (40, 3))
        >>> y = x + jax.random.normal(jax.random.key(1), (40, 3))
        >>> interval = bootstrap_interval(jax.random.key(2), rsa, x, y, draws=50)
        >>> bool(interval.low < interval.value) & bool(interval.value < interval.high)
        True

    Source: McCarthy, "Pseudo-replication: half samples" (1969); of dissimilarities,
    Schütt et al., "Statistical inference on representational geometries" (2023).
    """
    arrays.check_pair(x, y, where)
    arrays.check_count("draws", draws, 2)
    if len(x) < 4:
        raise ValueError(f"there must be 4 samples or more, got {len(x)}.")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}.")
    x, y = jnp.asarray(x), jnp.asarray(y)
    if where is None:
        return halves(key, statistic, x, y, draws, level)
    return _masked_halves(key, statistic, x, y, jnp.asarray(where), draws, level)


def halves(
    key: PRNGKeyArray,
    statistic: Callable[[Array, Array], Array],
    x: Float[Array, "N D1"],
    y: Float[Array, "N D2"],
    draws: int,
    level: float,
) -> BootstrapInterval:
    """`bootstrap_interval` without its checks."""

    def half(key: PRNGKeyArray) -> Array:
        some = jax.random.permutation(key, len(x))[: len(x) // 2]
        return statistic(x[some], y[some])

    drawn = jax.lax.map(half, jax.random.split(key, draws))
    return _interval(statistic(x, y), drawn, level)


def _masked_halves(
    key: PRNGKeyArray,
    statistic: Callable[..., Array],
    x: Float[Array, "N D1"],
    y: Float[Array, "N D2"],
    where: Bool[Array, " N"],
    draws: int,
    level: float,
) -> BootstrapInterval:
    """The same of samples that count, by masks of half."""
    count = jnp.sum(where)

    def half(key: PRNGKeyArray) -> Array:
        order = jax.random.permutation(key, len(x))
        number = jnp.cumsum(where[order])[jnp.argsort(order)]
        return statistic(x, y, where=where & (number <= count // 2))

    drawn = jax.lax.map(half, jax.random.split(key, draws))
    drawn = jnp.where(count < 4, jnp.nan, drawn)
    return _interval(statistic(x, y, where=where), drawn, level)


def _interval(
    value: Float[Array, ""], drawn: Float[Array, " R"], level: float
) -> BootstrapInterval:
    tails = jnp.array([(1 + level) / 2, (1 - level) / 2], drawn.dtype)
    low, high = value - jnp.quantile(drawn - jnp.mean(drawn), tails)
    return BootstrapInterval(value, drawn, low, high)
