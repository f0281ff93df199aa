"""How alike the self-similarities of two spaces of the same samples are."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jatlas._src import arrays, border, chunks, layout
from jatlas._src.arrays import Where


@border.jit(static_argnames="method")
@layout.automatic()
def self_similarity_correlation(
    x: Float[Array, "N D1"],
    y: Float[Array, "N D2"],
    *,
    where: Where = None,
    method: str = "pearson",
) -> Float[Array, ""]:
    """How alike the self-similarities of two spaces of the same samples are.

    Row n of the self-similarity of a space holds the cosines of sample n with all
    samples, itself too. The rows of the two spaces are correlated one by one, and the
    correlations averaged over the samples.

    These rows are made only for ranks, and where D1 + D2 > N. With X^ the unit rows of
    x and X~ these less their mean, the covariance of the two rows of sample n is
    x^_n' X~'Y~ y^_n / N: time N (D1 + D2)^2, memory N (D1 + D2), and no N^2.

    Args:
        x: (N, D1), floating point.
        y: (N, D2), floating point; row n is the same sample as row n of x.
        where: (N,), the samples that count; all if None.
        method: "pearson", "spearman" (whose gradient is zero: ranks do not change
            smoothly), or "cosine", which is not centered.

    Returns:
        A scalar in [-1, 1] up to rounding, in float32 or wider. NaN if any row has no
        correlation, because its cosines are all the same, but for rounding: one sample,
        copies of one, a zero vector (mask it out). Cosines that differ by s only have
        log10(s / eps) digits, and the value no more.

    Raises:
        ValueError: if x and y are not floating point matrices of one N, or the method
            is unknown.

    Example:
        >>> import jax
        >>> x = jax.random.normal(jax.random.key(0), (20, 3))
        >>> self_similarity_correlation(x, -2 * x).round(3)
        Array(1., dtype=float32)

    Source: Crisostomi et al. (2023), appendix, and its code.
    """
    arrays.check_pair(x, y, where)
    if method not in CORRELATIONS:
        raise ValueError(
            f"unknown method {method!r}; known are {', '.join(CORRELATIONS)}."
        )
    rows = arrays.all_rows(x, where)
    x, y = (arrays.unit(arrays.keep(arrays.widen(space), rows)) for space in (x, y))
    if method == "spearman" or x.shape[1] + y.shape[1] > len(rows):
        correlations = _correlations_of_rows(x, y, rows, method)
    else:
        correlations = _correlations_from_moments(x, y, rows, method == "pearson")
    return arrays.safe_divide(arrays.masked_sum(correlations, rows), jnp.sum(rows))


def _correlations_from_moments(
    x: Float[Array, "N D1"],
    y: Float[Array, "N D2"],
    rows: Bool[Array, " N"],
    centered: bool,
) -> Float[Array, " N"]:
    """The correlation of the cosines of each sample, without the cosines."""
    u, v = (arrays.center(z, rows)[0] if centered else z for z in (x, y))

    def product(a: Array, b: Array, left: Array, right: Array) -> Array:
        return jnp.sum(arrays.matmul(left, arrays.matmul(a.T, b)) * right, axis=1)

    def length(a: Array, z: Array) -> Array:
        square = product(a, a, z, z)
        # Cosines themselves are rounded: what differs by that only does not differ.
        floor = jnp.sum(rows) * (4 * jnp.finfo(z.dtype).eps) ** 2
        return arrays.safe_sqrt(jnp.where(square <= floor, 0, square))

    return arrays.safe_divide(product(u, v, x, y), length(u, x) * length(v, y))


def _correlations_of_rows(
    x: Float[Array, "N D1"],
    y: Float[Array, "N D2"],
    rows: Bool[Array, " N"],
    method: str,
) -> Float[Array, " N"]:
    correlate = jax.vmap(CORRELATIONS[method], (0, 0, None))

    # A gather, which sends these rows to all devices, once. Times rows that stay where
    # they are, a device would get a part of every row of cosines, and send it for each
    # sort. That it begins at zero the compiler must not know, or it gathers nothing.
    everyone = jnp.minimum(jnp.sum(rows), 0) + jnp.arange(len(rows))
    all_x, all_y = (z.at[everyone].get(mode="promise_in_bounds") for z in (x, y))

    def correlation(samples: tuple[Array, Array]) -> Float[Array, " n"]:
        query_x, query_y = samples
        return correlate(
            arrays.matmul(query_x, all_x.T), arrays.matmul(query_y, all_y.T), rows
        )

    return chunks.map_padded(correlation, (x, y))


def _cosine(
    x: Float[Array, " N"], y: Float[Array, " N"], rows: Bool[Array, " N"]
) -> Float[Array, ""]:
    x, y = arrays.keep(x, rows), arrays.keep(y, rows)
    lengths = arrays.safe_sqrt(jnp.sum(x**2)) * arrays.safe_sqrt(jnp.sum(y**2))
    return arrays.safe_divide(jnp.sum(x * y), lengths)


def _pearson(
    x: Float[Array, " N"], y: Float[Array, " N"], rows: Bool[Array, " N"]
) -> Float[Array, ""]:
    x, y = (arrays.center(values[:, None], rows)[0][:, 0] for values in (x, y))
    return _cosine(x, y, rows)


def _spearman(
    x: Float[Array, " N"], y: Float[Array, " N"], rows: Bool[Array, " N"]
) -> Float[Array, ""]:
    return _pearson(_ranks(x, rows), _ranks(y, rows), rows)


def _ranks(x: Float[Array, " N"], rows: Bool[Array, " N"]) -> Float[Array, " N"]:
    """Ranks among `rows` from zero; equal values share their mean rank.

    Values that differ by rounding only are equal: else chance would rank them.
    """
    values = _ordered(x)
    ordered = jnp.sort(jnp.where(rows, values, jnp.iinfo(values.dtype).max))
    below = jnp.searchsorted(ordered, values)
    rounding = 8 * jnp.finfo(x.dtype).eps * jnp.max(jnp.abs(x), where=rows, initial=0)
    sizes = _unordered(ordered, x.dtype)  # NaN behind the rows
    apart = ~(sizes[1:] - sizes[:-1] <= rounding)
    places = jnp.arange(len(x))
    ends = jnp.where(jnp.append(apart, True), places + 1, len(x))
    up_to = jax.lax.cummin(ends, reverse=True)[below]
    starts = jnp.where(jnp.append(True, apart), places, 0)
    first = jax.lax.cummax(starts)[below]
    return jnp.where(jnp.isnan(x), x, ((first + up_to - 1) / 2).astype(x.dtype))


def _ordered(x: Float[Array, " N"]) -> Int[Array, " N"]:
    """Whole numbers in the order of `x`.

    On a CPU they are sorted five times faster.
    """
    kind = jnp.dtype(f"int{8 * x.dtype.itemsize}")
    # There are two zeros. Of negative numbers, the larger ones have the smaller bits.
    return _turned(jax.lax.bitcast_convert_type(jnp.where(x == 0, 0, x), kind))


def _unordered(values: Int[Array, " N"], dtype: jnp.dtype) -> Float[Array, " N"]:
    """The numbers that `_ordered` made whole."""
    return jax.lax.bitcast_convert_type(_turned(values), dtype)


def _turned(bits: Int[Array, " N"]) -> Int[Array, " N"]:
    """The bits with the negative ones reversed; twice, the bits again."""
    return jnp.where(bits < 0, bits ^ jnp.iinfo(bits.dtype).max, bits)


CORRELATIONS: dict[str, Callable[[Array, Array, Array], Array]] = {
    "pearson": _pearson,
    "spearman": _spearman,
    "cosine": _cosine,
}
