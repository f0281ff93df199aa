"""HSIC of RBF kernels in tiles, with no (N, N) array."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jatlas._src import arrays
from jatlas._src.pairs import halves, tiles
from jatlas._src.pairs.median import check_median, median_square

KERNELS = ("linear", "rbf")
# The exponent of the row farthest from the middle up to which distances are made by a
# product: it is then off by some 16 eps at most.
_HARMLESS = 8


class _Kernel(NamedTuple):
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


def rbf_hsic(
    spaces: Sequence[Float[Array, "N _"]],
    rows: Bool[Array, " N"],
    sigmas: Sequence[float | Array | None],
    rule: str,
    debiased: bool,
) -> tuple[Float[Array, "2 2"], Float[Array, "2"], Float[Array, "2"]]:
    """The (2, 2) HSIC of two spaces' kernels, its rounding, and factors.

    HSIC is a sum over pairs, times the factors of both kernels, which CKA does not see.
    The factor is zero of a kernel that has no width. The kernels are centered before
    they are multiplied, lest digits be lost: by the means of their rows, from a first
    pass over the tiles. Debiased, they are centered without the diagonal, by sums over
    n - 2 (Székely and Rizzo, 2014): HSIC is then an inner product of two such matrices,
    too.
    """
    both = zip(spaces, sigmas, strict=True)
    kernels = [_kernel(x, rows, sigma, rule) for x, sigma in both]
    n = jnp.sum(rows, dtype=kernels[0].x.dtype)
    if debiased:
        n = jnp.where(n > 3, n, 4)
        row_divisor, total_divisor = n - 2, (n - 1) * (n - 2)
    else:
        n = jnp.where(n > 0, n, 1)
        row_divisor, total_divisor = n, n**2
    sums, squares = _sums(kernels, rows, debiased)
    means = tuple(s / row_divisor for s in sums)
    totals = [jnp.sum(s) / total_divisor for s in sums]
    moving = [kernel[:2] for kernel in kernels]
    still = [kernel[2:] for kernel in kernels]
    hsic = _products(moving, (still, rows, means, totals), debiased)
    rounding = 16 * jnp.finfo(hsic.dtype).eps
    factors = jnp.stack([kernel.factor for kernel in kernels])
    return jnp.stack([hsic[:2], hsic[1:]]), rounding**2 * squares, factors


def _kernel(
    x: Float[Array, "N D"],
    rows: Bool[Array, " N"],
    sigma: float | Array | None,
    rule: str,
) -> _Kernel:
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
    return _Kernel(x, scale, middle, wide, fine, jnp.where(known, factor, 0))


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _sums(
    kernels: Sequence[_Kernel], rows: Bool[Array, " N"], debiased: bool
) -> tuple[list[Float[Array, " N"]], Float[Array, "2"]]:
    """Row sums of both kernels, and sums of their squares."""
    grams = partial(_grams, kernels, debiased)
    return halves.row_sums(grams, _samples(kernels, rows))


@_sums.defjvp
def _sums_jvp(
    debiased: bool, primals: tuple[Any, Any], tangents: tuple[Any, Any]
) -> tuple[Any, Any]:
    """By a sweep that has a gradient.

    The derivative of the gradient needs it.
    """

    def of_all(kernels: Sequence[_Kernel], rows: Bool[Array, " N"]) -> Any:
        grams = partial(_grams, kernels, debiased)
        return halves.row_sums_of_all(grams, _samples(kernels, rows))

    return jax.jvp(of_all, primals, tangents)


def _samples(
    kernels: Sequence[_Kernel], rows: Bool[Array, " N"], means: Any = ()
) -> tiles.Samples:
    return tiles.samples_of([kernel.x for kernel in kernels], rows, means)


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _products(moving: Any, still: Any, debiased: bool) -> Float[Array, "3"]:
    """Sums over pairs of K K, K L and L L, centered."""
    tile, samples = _centered(moving, still, debiased)
    swept = halves.sweep(tile, samples, debiased)
    return jnp.stack([tiles.total(products) for products in swept])


@_products.defjvp
def _products_jvp(
    debiased: bool, primals: tuple[Any, Any], tangents: tuple[Any, Any]
) -> tuple[Array, Array]:
    """The derivative, in which the means have no part.

    The means depend on x too. What multiplies their change is the sum of a row of a
    centered kernel, which is zero: so the gradient takes one pass backwards, not two.
    """
    moving, still = primals
    fixed = partial(_products_of_all, still=still, debiased=debiased)
    return jax.jvp(fixed, (moving,), tangents[:1])


def _products_of_all(moving: Any, still: Any, debiased: bool) -> Float[Array, "3"]:
    """`_products`, by a sweep that has a gradient."""
    tile, samples = _centered(moving, still, debiased)
    return jnp.stack([tiles.total(part) for part in tiles.sweep(tile, samples)])


def _centered(
    moving: Any, still: Any, debiased: bool
) -> tuple[Callable[..., list[Float[Array, " B"]]], tiles.Samples]:
    """Products of tiles of both kernels, centered, and the samples for them."""
    constants, rows, means, totals = still
    kernels = [_Kernel(*m, *c) for m, c in zip(moving, constants, strict=True)]

    def tile(
        group: tiles.Samples, block: tiles.Samples, weights: Array | float = 1.0
    ) -> list[Float[Array, " B"]]:
        pairs = tiles.pairs_of(group, block, debiased)
        grams = _grams(kernels, debiased, group, block)
        sides = zip(grams, group.means, block.means, totals, strict=True)
        k, l = (  # noqa: E741
            jnp.where(pairs, gram - (row_means[:, None] + other - total), 0)
            for gram, row_means, other, total in sides
        )
        both = (weights * k, k), (weights * k, l), (weights * l, l)
        return [jnp.sum(a * b, axis=0) for a, b in both]

    return tile, _samples(kernels, rows, means)


def _grams(
    kernels: Sequence[_Kernel],
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


def check_kernel(kernel: str, sigma: object, median: str) -> None:
    """Raise ValueError for an unknown kernel or an invalid sigma."""
    if kernel not in KERNELS:
        raise ValueError(f"unknown kernel {kernel!r}; known are {', '.join(KERNELS)}.")
    check_median(median)
    if kernel == "linear" and sigma is not None:
        raise ValueError("sigma is a width of the kernel 'rbf'; 'linear' has none.")
    widths = sigma if isinstance(sigma, tuple) else (sigma, sigma)
    if len(widths) != 2 or any(jnp.shape(w) for w in widths if w is not None):
        raise ValueError(
            f"sigma must be a number or a pair of numbers, one a space; got {sigma!r}."
        )
