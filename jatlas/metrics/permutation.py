"""A permutation test of any measure of two spaces' likeness."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from jatlas._src import arrays, border
from jatlas._src.arrays import AnyArray, Where

# What two values may differ by and be equal, in eps of one of them.
ROUNDING = 128


class PermutationTest(NamedTuple):
    """A measure of two spaces, and its values under permutation.

    Attributes:
        value: (), of the spaces as they are.
        null: (R,), of R random pairings of their samples.
        p_value: (), the odds of such a value, or a larger, by chance alone.
    """

    value: Float[Array, ""]
    null: Float[Array, " R"]
    p_value: Float[Array, ""]


@border.jit(static_argnames=("statistic", "permutations"))
def permutation_test(
    key: PRNGKeyArray,
    statistic: Callable[..., Array],
    x: Float[AnyArray, "N D1"],
    y: Float[AnyArray, "N D2"],
    *,
    permutations: int = 199,
    where: Bool[AnyArray, " N"] | None = None,
) -> PermutationTest:
    """Test whether x and y are more alike than chance.

    The samples of y are shuffled, R times, which leaves each space as it is and undoes
    what they have in common. p = (1 + #{null >= value}) / (1 + R): the pairing that is
    given counts as one of those that chance might bring, so that p is never zero, and
    no test at level p errs more often than it says. A tie counts, and so does a null
    value that is below by rounding (128 eps): where all pairings are alike, p is 1.

    Args:
        key: a JAX key.
        statistic: a function of x and y to a scalar, larger for spaces more alike, as
            `cka`. It is compiled for anew each time it is another object.
        x: (N, D1), floating point.
        y: (N, D2), floating point; row n is the same sample as row n of x.
        permutations: R, 1 or more; p is a multiple of 1 / (1 + R).
        where: (N,), the samples that count and are shuffled; all if None. If it is
            given, the statistic is called with `where=` too.

    Returns:
        A `PermutationTest`. All is NaN where the statistic is.

    Raises:
        ValueError: if x and y are not floating point matrices of one N, where is no
            mask of it, or R is below 1.

    Example:
        >>> import jax
        >>> x = jax.random.normal(jax.random.key(0), (20, 3))
        >>> key = jax.random.key(1)
        >>> one = permutation_test(key, jnp.vdot, x, 2 * x, permutations=19)
        >>> one.p_value
        Array(0.05, dtype=float32)

    Source: Phipson and Smyth, "Permutation p-values should never be zero" (2010).
    """
    arrays.check_pair(x, y, where)
    arrays.check_count("permutations", permutations, 1)
    x, y = jnp.asarray(x), jnp.asarray(y)
    if where is not None:
        statistic = partial(statistic, where=where)

    def paired(places: Int[Array, " N"]) -> Float[Array, ""]:
        return statistic(x, y[places])

    return permuted(key, statistic(x, y), paired, len(x), permutations, where)


def permuted(
    key: PRNGKeyArray,
    value: Float[Array, ""],
    paired: Callable[[Array], Array],
    num_rows: int,
    permutations: int,
    where: Where = None,
) -> PermutationTest:
    """The test of a value against those of random pairings of rows."""

    def shuffled(key: PRNGKeyArray) -> Array:
        if where is None:
            return paired(jax.random.permutation(key, num_rows))
        return paired(_among(jax.random.permutation(key, num_rows), where))

    null = jax.lax.map(shuffled, jax.random.split(key, permutations))
    # Pairings that are alike give values that differ by rounding: all of them count.
    rounding = ROUNDING * jnp.finfo(value.dtype).eps * jnp.abs(value)
    p_value = (1 + jnp.sum(null >= value - rounding)) / (1 + permutations)
    known = jnp.isfinite(value) & jnp.all(jnp.isfinite(null))
    return PermutationTest(value, null, jnp.where(known, p_value, jnp.nan))


def _among(order: Int[Array, " N"], where: Bool[AnyArray, " N"]) -> Int[Array, " N"]:
    """A random order of rows that count; others stay in place."""
    counted = jnp.asarray(where)
    # Those that count come first, in the random order.
    first = order[jnp.argsort(~counted[order], stable=True)]
    number = jnp.cumsum(counted) - 1
    return jnp.where(counted, first[number], jnp.arange(len(order)))
