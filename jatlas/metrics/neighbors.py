"""How alike two spaces of the same samples are, by who is similar to whom in each."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jatlas._src import arrays, border, chunks, layout
from jatlas._src.arrays import AnyArray, Where

# Rows of an (N, N) matrix that are made at once: it never exists as a whole. Fewer of
# very long ones, so that they are no more than so many numbers, but not so few that the
# matrix products are slow.
_ROWS, _NUMBERS, _LEAST = 256, 2**22, 16

# Columns of a group, whose largest value is looked at before its values are.
_GROUP = 16


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
            smoothly), or "cosine", which is not centred.

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


@border.border
def mutual_neighbors(
    x: Float[AnyArray, "N D1"],
    y: Float[AnyArray, "N D2"],
    k: int,
    *,
    where: Where = None,
    similarity: str = "inner",
) -> Float[Array, ""]:
    """The share of a sample's k nearest neighbours that two spaces have in common.

    The mean over the samples of `|nn_x(n) and nn_y(n)| / k`, the sample itself left
    out. The published measure takes as nearest those with the largest inner product:
    with rows of unlike length, long ones are near to everyone. Of unit rows these are
    the neighbours by cosine, and by Euclidean distance too.

    Args:
        x: (N, D1), floating point.
        y: (N, D2), floating point; row n is the same sample as row n of x.
        k: the number of neighbours, 1 to N - 1.
        where: (N,), the samples that count, as neighbours too; all if None.
        similarity: "inner", or "euclidean", minus the distance.

    Returns:
        A scalar in [0, 1] in float32 or wider; near k / (N - 1) for spaces that have
        nothing to do with each other. Of equally near neighbours those of lower index
        are taken. NaN if a row holds a NaN or an infinity, or fewer than k + 1 samples
        count. Its gradient is zero.

    Raises:
        ValueError: if x and y are not floating point matrices of one N, there are not
            k other samples, or the similarity is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[0.0], [1.0], [3.0], [7.0]])
        >>> mutual_neighbors(x, x[::-1], 1, similarity="euclidean")
        Array(0.5, dtype=float32)

    Source: Huh et al., "The Platonic representation hypothesis" (2024), appendix A.
    """
    arrays.check_pair(x, y, where)
    check_neighbors(k, len(x), where)
    if similarity not in NEARNESS:
        raise ValueError(
            f"unknown similarity {similarity!r}; known are {', '.join(NEARNESS)}."
        )
    return _mutual_neighbors(x, y, k, where, similarity)


def _correlations_from_moments(
    x: Float[Array, "N D1"],
    y: Float[Array, "N D2"],
    rows: Bool[Array, " N"],
    centred: bool,
) -> Float[Array, " N"]:
    """The correlation of the cosines of each sample, without the cosines."""
    u, v = (arrays.centre(z, rows)[0] if centred else z for z in (x, y))

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
        of_x, of_y = samples
        return correlate(
            arrays.matmul(of_x, all_x.T), arrays.matmul(of_y, all_y.T), rows
        )

    return _by_rows(correlation, (x, y))


@partial(jax.jit, static_argnames=("k", "similarity"))
@layout.automatic()
def _mutual_neighbors(
    x: Array, y: Array, k: int, where: Array | None, similarity: str
) -> Float[Array, ""]:
    rows = arrays.all_rows(x, where)
    x, y = (
        jax.lax.stop_gradient(arrays.rescaled(arrays.widen(space), rows)[0])
        for space in (x, y)
    )

    def shared(samples: tuple[Array, Array, Array]) -> Int[Array, " n"]:
        *own, index = samples
        candidates = rows & (jnp.arange(len(rows)) != index[:, None])
        of_x, of_y = (
            _largest(
                jnp.where(candidates, NEARNESS[similarity](of, space), -jnp.inf), k
            )
            for of, space in zip(own, (x, y), strict=True)
        )
        return jnp.sum(of_x[:, :, None] == of_y[:, None, :], axis=(1, 2))

    shares = _by_rows(shared, (x, y, jnp.arange(len(rows)))) / k
    value = arrays.safe_divide(
        arrays.masked_sum(shares.astype(jnp.result_type(x, y)), rows), jnp.sum(rows)
    )
    known = (jnp.sum(rows) > k) & jnp.all(jnp.isfinite(x)) & jnp.all(jnp.isfinite(y))
    return jnp.where(known, value, jnp.nan)


def _by_rows(function: Callable[..., Array], samples: tuple[Array, ...]) -> Array:
    """What `function` gives for each of N samples, some at a time; padded to fit."""
    num_samples = len(samples[0])
    rows = max(_LEAST, min(_ROWS, _NUMBERS // max(num_samples, 1)))
    num_chunks = -(-num_samples // rows)
    size = num_samples
    if num_chunks > 1:  # evenly, and so that several devices can share a chunk
        size = _LEAST * -(-num_samples // (_LEAST * num_chunks))
    rest = size * num_chunks - num_samples
    padded = [jnp.pad(x, [(0, rest), *[(0, 0)] * (x.ndim - 1)]) for x in samples]
    axes = (0,) * len(samples)
    return chunks.map_samples(function, tuple(padded), axes, size)[:num_samples]


def _largest(values: Float[Array, "n N"], k: int) -> Int[Array, "n k"]:
    """Where the k largest values of each row are; the first of equal ones.

    They lie in the k groups of columns whose largest values are the largest, and of
    equal ones the first: any other value has k before it. So most are only looked at in
    finding the largest of their group.
    """
    if values.shape[1] < 4 * k * _GROUP:
        return jax.lax.top_k(values, k)[1]
    rest = -values.shape[1] % _GROUP
    values = jnp.pad(values, ((0, 0), (0, rest)), constant_values=-jnp.inf)
    groups = values.reshape(len(values), -1, _GROUP)
    # In the order of the columns again, for the ties between them.
    chosen = jnp.sort(jax.lax.top_k(jnp.max(groups, axis=2), k)[1], axis=1)
    of_chosen = jnp.take_along_axis(groups, chosen[:, :, None], axis=1)
    places = jax.lax.top_k(of_chosen.reshape(len(values), -1), k)[1]
    group = jnp.take_along_axis(chosen, places // _GROUP, axis=1)
    return group * _GROUP + places % _GROUP


def _inner(of: Float[Array, "n D"], x: Float[Array, "N D"]) -> Float[Array, "n N"]:
    return arrays.matmul(of, x.T)


def _minus_square(
    of: Float[Array, "n D"], x: Float[Array, "N D"]
) -> Float[Array, "n N"]:
    return -arrays.squared_distances(x, of).T


NEARNESS: dict[str, Callable[[Array, Array], Array]] = {
    "inner": _inner,
    "euclidean": _minus_square,
}


def _cosine(
    x: Float[Array, " N"], y: Float[Array, " N"], rows: Bool[Array, " N"]
) -> Float[Array, ""]:
    x, y = arrays.keep(x, rows), arrays.keep(y, rows)
    lengths = arrays.safe_sqrt(jnp.sum(x**2)) * arrays.safe_sqrt(jnp.sum(y**2))
    return arrays.safe_divide(jnp.sum(x * y), lengths)


def _pearson(
    x: Float[Array, " N"], y: Float[Array, " N"], rows: Bool[Array, " N"]
) -> Float[Array, ""]:
    x, y = (arrays.centre(values[:, None], rows)[0][:, 0] for values in (x, y))
    return _cosine(x, y, rows)


def _spearman(
    x: Float[Array, " N"], y: Float[Array, " N"], rows: Bool[Array, " N"]
) -> Float[Array, ""]:
    return _pearson(_ranks(x, rows), _ranks(y, rows), rows)


def _ranks(x: Float[Array, " N"], rows: Bool[Array, " N"]) -> Float[Array, " N"]:
    """Ranks among `rows` from zero; equal values share their mean rank."""
    values = _ordered(x)
    ordered = jnp.sort(jnp.where(rows, values, jnp.iinfo(values.dtype).max))
    below = jnp.searchsorted(ordered, values)
    last = jnp.append(ordered[1:] != ordered[:-1], True)
    ends = jnp.where(last, jnp.arange(1, len(x) + 1), len(x))
    up_to = jax.lax.cummin(ends, reverse=True)[below]
    return jnp.where(jnp.isnan(x), x, ((below + up_to - 1) / 2).astype(x.dtype))


def _ordered(x: Float[Array, " N"]) -> Int[Array, " N"]:
    """Whole numbers in the order of `x`; on a CPU they are sorted five times faster."""
    kind = jnp.dtype(f"int{8 * x.dtype.itemsize}")
    # There are two zeros. Of negative numbers, the larger ones have the smaller bits.
    bits = jax.lax.bitcast_convert_type(jnp.where(x == 0, 0, x), kind)
    return jnp.where(bits < 0, bits ^ jnp.iinfo(kind).max, bits)


CORRELATIONS: dict[str, Callable[[Array, Array, Array], Array]] = {
    "pearson": _pearson,
    "spearman": _spearman,
    "cosine": _cosine,
}


def check_neighbors(k: int, num_rows: int, where: AnyArray | None) -> None:
    """Raise ValueError unless every sample has k others, where that can be known."""
    count = num_rows
    if where is not None and arrays.is_concrete(where):
        count = int(where.sum())
    if not 1 <= k < count:
        raise ValueError(
            f"k must be from 1 to one less than the number of samples that count; got "
            f"k={k} and {count} samples of {num_rows}."
        )
