"""The noise ceiling of a group of spaces."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jatlas._src import arrays, border
from jatlas._src.arrays import AnyArray


class NoiseCeiling(NamedTuple):
    """What a space can reach at most, on average over a group.

    Attributes:
        lower: (), the mean likeness of a space to the mean of the others.
        upper: (), that to the mean of all, itself too.
    """

    lower: Float[Array, ""]
    upper: Float[Array, ""]


@border.jit()
def noise_ceiling(similarities: Float[AnyArray, "M M"]) -> NoiseCeiling:
    """How alike a space can be to a group of noisy spaces.

    Spaces of one group (subjects, seeds of one encoder) are not equal. A space that is
    as like them as one of them is to the others reaches the lower bound; the one that
    is most like all of them, the upper. With C the matrix of correlations, `lower` is
    the mean over m of `sum_j C_mj / sqrt(sum_jk C_jk)`, j and k other than m; `upper`
    with m too.

    Args:
        similarities: (M, M), of the group, of a measure that is a correlation or a
            cosine of something made of each space: `rsa` by any method, or `cka` with
            one kernel. The mean of the spaces is then that of their standardized
            dissimilarities (ranks for "spearman", signs of differences for "kendall"),
            or of their centered kernels of length one.

    Returns:
        A `NoiseCeiling`, in float32 or wider. The lower bound is NaN for one space.

    Raises:
        ValueError: if it is not a square floating point matrix.

    Example:
        >>> import jax
        >>> from jatlas.metrics import compare_spaces
        >>> group = jax.random.normal(jax.random.key(0), (30, 4))
        >>> group += 0.3 * jax.random.normal(jax.random.key(1), (5, 30, 4))
        >>> alike = compare_spaces(group, measures=["rsa"]).values["rsa"]
        >>> ceiling = noise_ceiling(alike)
        >>> bool(ceiling.lower < ceiling.upper)
        True

    Source: Nili et al., "A toolbox for representational similarity analysis" (2014).
    """
    arrays.check_rows("similarities", similarities)
    arrays.check_equal(
        "the sides of similarities",
        list(similarities.shape),
        "Give those of one group of spaces, as `compare_spaces` does without `other`.",
    )
    c = arrays.widen(similarities)
    c = (c + c.T) / 2
    length = arrays.safe_sqrt(jnp.diagonal(c))
    sums = jnp.sum(c, axis=1)
    upper = arrays.safe_divide(sums, length * arrays.safe_sqrt(jnp.sum(sums)))
    others = sums - jnp.diagonal(c)
    energy = jnp.sum(sums) - sums - others
    lower = arrays.safe_divide(others, length * arrays.safe_sqrt(energy))
    return NoiseCeiling(jnp.mean(lower), jnp.mean(upper))
