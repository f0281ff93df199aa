"""RBF kernels, in tiles."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jatlas._src import arrays
from jatlas._src.pairs import tiles
from jatlas._src.pairs.median import median_square

# The exponent of the row farthest from the middle up to which distances are made by a
# product: it is then off by some 16 eps at most.
_HARMLESS = 8


class Kernel(NamedTuple):
    """A kernel exp(-scale d^2), or that less one, times factor.

    x less middle is centered. Of a wide kernel what counts is how far it is below one,
    of a narrow one how far above zero: so the smaller is given, which has digits.
    Centered, it is the same. A kernel much narrower than the space tells near rows from
    each other, and needs the digits of their differences: then it is `fine`.
    """

    x: Float[Array, "N D"]
    scale: Float[Array, ""]
    middle: Float[Array, " D"]
    wide: Bool[Array, ""]
    fine: Bool[Array, ""]
    factor: Float[Array, ""]


def kernel_of(
    x: Float[Array, "N D"],
    rows: Bool[Array, " N"],
    sigma: float | Array | None,
    rule: str,
) -> Kernel:
    """The kernel of a given or median width; zero unless positive."""
    x, factor = arrays.rescaled(x, rows)
    if sigma is None:
        width = median_square(x, rule, rows, False)
    else:
        # A width of zero or less is none.
        width = jnp.square(jnp.where(jnp.asarray(sigma) > 0, sigma, jnp.nan) * factor)
    known = width > 0
    scale = jnp.where(known, 0.5 / jnp.where(known, width, 1), 0).astype(x.dtype)
    mean_square, farthest, middle = tiles.spread(x, rows)
    unit = jax.lax.stop_gradient(scale)
    typical = unit * mean_square
    # Of a space in which nothing varies a product would give rounding.
    fine = (unit * farthest > _HARMLESS) | (mean_square == 0)
    wide = typical < jnp.log(2)
    # The largest of a narrow kernel stand on its diagonal. A power of two.
    largest = jnp.where(wide, -jnp.expm1(-typical), 1)
    _, factor = arrays.rescaled(largest[None, None], jnp.ones(1, bool))
    return Kernel(x, scale, middle, wide, fine, jnp.where(known, factor, 0))


def samples_of(
    kernels: Sequence[Kernel], rows: Bool[Array, " N"], means: Any = ()
) -> tiles.Samples:
    return tiles.samples_of([kernel.x for kernel in kernels], rows, means)


def grams_of(
    kernels: Sequence[Kernel],
    debiased: bool,
    group: tiles.Samples,
    block: tiles.Samples,
) -> list[Float[Array, "R B"]]:
    """A tile of each kernel, zero for uncounted pairs."""
    pairs = tiles.pairs_of(group, block, debiased)
    grams = []
    for kernel, x, y in zip(kernels, group.spaces, block.spaces, strict=True):
        forms = tiles.squares, tiles.squares_by_product
        squares = jax.lax.cond(kernel.fine, *forms, x, y, kernel.middle)
        exponent = -kernel.scale * squares
        gram = jax.lax.cond(kernel.wide, jnp.expm1, jnp.exp, exponent)
        grams.append(jnp.where(pairs, gram * kernel.factor, 0))
    return grams
