"""HSIC of RBF kernels in tiles, with no (N, N) array."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jatlas._src import chunks, layout
from jatlas._src.pairs import halves, tiles
from jatlas._src.pairs.kernels import Kernel, grams_of, kernel_of, samples_of
from jatlas._src.pairs.median import check_median

KERNELS = ("linear", "rbf")
# Rows from which on one pass is tried before two: of few, to compile both takes longer.
_MANY = 2048


def rbf_hsic(
    spaces: Sequence[Float[Array, "N _"]],
    rows: Bool[Array, " N"],
    sigmas: Sequence[float | Array | None],
    rule: str,
    debiased: bool,
) -> tuple[Float[Array, "2 2"], Float[Array, "2"], Float[Array, "2"]]:
    """The (2, 2) HSIC of two spaces' kernels, its rounding, and factors.

    HSIC is a sum over pairs, times the factors of both kernels, which CKA does not see.
    The factor is zero of a kernel that has no width.
    """
    both = zip(spaces, sigmas, strict=True)
    kernels = [kernel_of(x, rows, sigma, rule) for x, sigma in both]
    numbers = _hsic(kernels, rows, debiased)
    hsic, squares = jnp.stack(numbers[:3]), jnp.stack(numbers[3:])
    rounding = 16 * jnp.finfo(hsic.dtype).eps
    factors = jnp.stack([kernel.factor for kernel in kernels])
    return jnp.stack([hsic[:2], hsic[1:]]), rounding**2 * squares, factors


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _hsic(
    kernels: Sequence[Kernel], rows: Bool[Array, " N"], debiased: bool
) -> tuple[Float[Array, ""], ...]:
    """HSIC of two kernels, and their sums of squares.

    Of K and K, K and L, L and L; the squares are of K and of L as they are. Many rows
    take one pass over the pairs, if that keeps the digits.

    Numbers, not arrays: under `jax.vmap` JAX takes the batch axis of what the
    derivative gives to be that of the value, and only numbers have no other.
    """
    if len(rows) < _MANY or not layout.alone():
        return _numbers(*_in_two_passes(kernels, rows, debiased))

    @jax.custom_batching.custom_vmap
    def at_best(kernels: Sequence[Kernel], rows: Bool[Array, " N"]) -> Any:
        *once, sure = _in_one_pass(kernels, rows, debiased)
        return jax.lax.cond(
            sure, lambda: tuple(once), lambda: _in_two_passes(kernels, rows, debiased)
        )

    @at_best.def_vmap
    def of_many(axis_size: int, batched: Any, *arguments: Any) -> tuple[Any, Any]:
        """Both forms would be made for all of them."""
        axes = jax.tree.map(lambda is_batched: 0 if is_batched else None, batched)
        form = partial(_in_two_passes, debiased=debiased)
        given = jax.vmap(form, tuple(axes), axis_size=axis_size)(*arguments)
        return given, jax.tree.map(lambda _: True, given)

    return _numbers(*at_best(kernels, rows))


@_hsic.defjvp
def _hsic_jvp(
    debiased: bool, primals: tuple[Any, Any], tangents: tuple[Any, Any]
) -> tuple[Any, Any]:
    def numbers(kernels: Sequence[Kernel], rows: Bool[Array, " N"]) -> Any:
        return _numbers(*_in_two_passes(kernels, rows, debiased))

    return jax.jvp(numbers, primals, tangents)


def _numbers(*arrays: Float[Array, " _"]) -> tuple[Float[Array, ""], ...]:
    return tuple(number for array in arrays for number in array)


def _divisors(
    rows: Bool[Array, " N"], dtype: jnp.dtype, debiased: bool
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """What divides sums of rows, and of all, in centering.

    Debiased, it is centered without the diagonal, by sums over n - 2 (Székely and
    Rizzo, 2014): HSIC is then an inner product of two such matrices, too.
    """
    n = jnp.sum(rows, dtype=dtype)
    if debiased:
        n = jnp.where(n > 3, n, 4)
        return n - 2, (n - 1) * (n - 2)
    n = jnp.where(n > 0, n, 1)
    return n, n**2


def _in_two_passes(
    kernels: Sequence[Kernel], rows: Bool[Array, " N"], debiased: bool
) -> tuple[Float[Array, "3"], Float[Array, "2"]]:
    """The same from centered kernels, which keeps all digits.

    They are centered by the means of their rows, from a first pass over the tiles.
    """
    row_divisor, total_divisor = _divisors(rows, kernels[0].x.dtype, debiased)
    sums, squares = _sums(kernels, rows, debiased)
    means = tuple(s / row_divisor for s in sums)
    totals = [jnp.sum(s) / total_divisor for s in sums]
    moving = [kernel[:2] for kernel in kernels]
    still = [kernel[2:] for kernel in kernels]
    return _products(moving, (still, rows, means, totals), debiased), squares


def _in_one_pass(
    kernels: Sequence[Kernel], rows: Bool[Array, " N"], debiased: bool
) -> tuple[Float[Array, "3"], Float[Array, "2"], Bool[Array, ""]]:
    """The same from nearly centered kernels, and whether that is enough.

    Their rows' means are those of some columns. What is left of the means is small, and
    taken off at the end: centering does not see what is added to rows and columns.
    """
    row_divisor, total_divisor = _divisors(rows, kernels[0].x.dtype, debiased)
    means, totals = _near_means(kernels, rows)

    def tile(
        group: tiles.Samples, block: tiles.Samples
    ) -> tuple[list[Array], list[Array]]:
        grams = grams_of(kernels, debiased, group, block)
        k, l = _less_means(grams, totals, debiased, group, block)  # noqa: E741
        return [k, l], [k * k, k * l, l * l, *(gram**2 for gram in grams)]

    sums, whole = halves.row_sums(tile, samples_of(kernels, rows, means))
    pairs = [(sums[i], sums[j]) for i, j in ((0, 0), (0, 1), (1, 1))]
    left = jnp.stack(
        [
            2 * jnp.sum(a * b) / row_divisor - jnp.sum(a) * jnp.sum(b) / total_divisor
            for a, b in pairs
        ]
    )
    hsic = whole[:3] - left
    sure = jnp.all(hsic[::2] > whole[:3:2] / 2)
    return hsic, whole[3:], sure


def _near_means(
    kernels: Sequence[Kernel], rows: Bool[Array, " N"]
) -> tuple[list[Float[Array, " N"]], list[Float[Array, ""]]]:
    """The means of both kernels' rows in some columns, and their means."""
    some = jnp.arange(halves.COLUMNS) * (len(rows) // halves.COLUMNS)
    samples = samples_of(kernels, rows)
    block = jax.tree.map(lambda x: x[some], samples)

    def means(group: tuple[Array, ...]) -> Float[Array, "n 2"]:
        x, y, counted, ids = group
        grams = grams_of(kernels, False, tiles.Samples((x, y), counted, ids), block)
        return jnp.stack([jnp.sum(gram, axis=1) for gram in grams], axis=1)

    columns = jnp.maximum(jnp.sum(block.rows, dtype=kernels[0].x.dtype), 1)
    parts = (*samples.spaces, samples.rows, samples.ids)
    of_rows = chunks.map_padded(means, parts) / columns
    num_rows = jnp.maximum(jnp.sum(rows, dtype=of_rows.dtype), 1)
    return list(of_rows.T), list(jnp.sum(of_rows, axis=0) / num_rows)


def _less_means(
    grams: Sequence[Float[Array, "R B"]],
    totals: Sequence[Float[Array, ""]],
    debiased: bool,
    group: tiles.Samples,
    block: tiles.Samples,
) -> list[Float[Array, "R B"]]:
    """Tiles of both kernels, less the means of rows and columns."""
    pairs = tiles.pairs_of(group, block, debiased)
    sides = zip(grams, group.means, block.means, totals, strict=True)
    return [
        jnp.where(pairs, gram - (row_means[:, None] + other - total), 0)
        for gram, row_means, other, total in sides
    ]


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _sums(
    kernels: Sequence[Kernel], rows: Bool[Array, " N"], debiased: bool
) -> tuple[list[Float[Array, " N"]], Float[Array, "2"]]:
    """Row sums of both kernels, and sums of their squares."""
    both = partial(_with_squares, kernels, debiased)
    return halves.row_sums(both, samples_of(kernels, rows))


@_sums.defjvp
def _sums_jvp(
    debiased: bool, primals: tuple[Any, Any], tangents: tuple[Any, Any]
) -> tuple[Any, Any]:
    """By a sweep that has a gradient.

    The derivative of the gradient needs it.
    """

    def of_all(kernels: Sequence[Kernel], rows: Bool[Array, " N"]) -> Any:
        both = partial(_with_squares, kernels, debiased)
        return halves.row_sums_of_all(both, samples_of(kernels, rows))

    return jax.jvp(of_all, primals, tangents)


def _with_squares(
    kernels: Sequence[Kernel],
    debiased: bool,
    group: tiles.Samples,
    block: tiles.Samples,
) -> tuple[list[Array], list[Array]]:
    """A tile of each kernel, and their squares."""
    grams = grams_of(kernels, debiased, group, block)
    return grams, [gram**2 for gram in grams]


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
    kernels = [Kernel(*m, *c) for m, c in zip(moving, constants, strict=True)]

    def tile(
        group: tiles.Samples, block: tiles.Samples, weights: Array | float = 1.0
    ) -> list[Float[Array, " B"]]:
        grams = grams_of(kernels, debiased, group, block)
        k, l = _less_means(grams, totals, debiased, group, block)  # noqa: E741
        both = (weights * k, k), (weights * k, l), (weights * l, l)
        return [jnp.sum(a * b, axis=0) for a, b in both]

    return tile, samples_of(kernels, rows, means)


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
