"""RSA: how alike the dissimilarities between samples are in two spaces."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jatlas._src import arrays, border, layout
from jatlas._src.arrays import Where
from jatlas._src.pairs import bins, by_features, kendall, places, tiles

DISSIMILARITIES = ("correlation", "euclidean", "cosine")
METHODS = ("pearson", "spearman", "kendall")
# Samples whose pairs are sorted, to rank the pairs of all samples among them.
SORTED = 384
# Samples all of whose pairs are sorted for Kendall's correlation: 2,096,128 of them.
MOST_SAMPLES = 2048


@border.jit(static_argnames=("dissimilarity", "method"))
@layout.automatic()
def rsa(
    x: Float[Array, "N D1"],
    y: Float[Array, "N D2"],
    *,
    dissimilarity: str = "correlation",
    method: str = "pearson",
    where: Where = None,
) -> Float[Array, ""]:
    """Representational similarity analysis of two spaces.

    The correlation, over all pairs of samples i < j, of how unlike i and j are in x
    with how unlike they are in y. Memory grows with N. Time grows with N D^2 for
    "pearson" of correlations or cosines, unless rows are few beside the features or
    nearly equidistant; else the pairs are made in tiles, in time N^2 D.

    Args:
        x: (N, D1), floating point.
        y: (N, D2), floating point; row n is the same sample as row n of x.
        dissimilarity: "correlation", one less the correlation of two rows over their
            features; "euclidean", the distance; or "cosine", one less the cosine.
        method: "pearson"; "spearman"; or "kendall", tau-b. The gradient of the last two
            is zero, and dissimilarities equal up to rounding are tied. Spearman's ranks
            are exact up to 384 samples. Of more samples those get one rank that lie
            between two neighbouring ones of the 73,536 pairs of 384 samples, which
            changes the value by about 1e-7. Kendall's is exact, and takes 2,048
            samples at most. The last two hold all pairs of up to 2,048 samples at once,
            16 MB an array.
        where: (N,), the samples that count; all if None. The others are not looked at.

    Returns:
        A scalar in [-1, 1] up to rounding, in float32 or wider. NaN for fewer than
        three samples, or where all pairs of a space are equally unlike. A row without a
        direction (zero, or of equal features for "correlation") is taken to be at a
        right angle to all that have one, and equal to others without. Gradients are
        finite everywhere.

    Raises:
        ValueError: if x and y are not floating point matrices of one N, the
            dissimilarity or the method is unknown, or there are more than 2,048 samples
            for "kendall".

    Example:
        >>> import jax
        >>> x = jax.random.normal(jax.random.key(0), (20, 3))
        >>> rsa(x, 2 * x[:, ::-1] + 1).round(3)
        Array(1., dtype=float32)

    Source: Kriegeskorte, Mur and Bandettini, "Representational similarity analysis"
    (2008); Kendall's among models that predict ties: Nili et al. (2014).
    """
    arrays.check_pair(x, y, where)
    _check(dissimilarity, method, len(x))
    rows = arrays.all_rows(x, where)
    dtype = jnp.result_type(x, y, jnp.float32)
    if len(x) < 3:
        return jnp.full((), jnp.nan, dtype)
    spaces = [_prepared(s.astype(dtype), rows, dissimilarity) for s in (x, y)]
    root = dissimilarity == "euclidean"
    finite = jnp.all(jnp.isfinite(spaces[0])) & jnp.all(jnp.isfinite(spaces[1]))
    known = (jnp.sum(rows) > 2) & finite
    if method == "pearson" and not root:
        value = _of_squares(spaces, rows)
    elif method == "pearson":
        value = _correlation(spaces, rows, _unlike(spaces, rows, root))
    else:
        spaces = jax.lax.stop_gradient(spaces)
        form = _kendall if method == "kendall" else _spearman
        value = form(spaces, rows, _unlike(spaces, rows, root))
    return jnp.where(known, value, jnp.nan)


def _of_squares(
    spaces: list[Float[Array, "N _"]], rows: Bool[Array, " N"]
) -> Float[Array, ""]:
    """Pearson's correlation of squared distances.

    From products of features where these keep the digits, else from all pairs.
    """
    middles = [tiles.spread(space, rows)[2] for space in spaces]
    # As exact as differences, in sum: see `by_features.covariances`.
    values = [partial(tiles.squares_by_product, middle=middle) for middle in middles]
    if len(rows) < 2 * max(space.shape[1] for space in spaces):
        return _correlation(spaces, rows, values)
    covariances, exact = by_features.covariances(spaces, rows)
    return jax.lax.cond(
        exact,
        lambda spaces: _cosine(covariances),
        lambda spaces: _correlation(spaces, rows, values),
        spaces,
    )


def _prepared(
    x: Float[Array, "N D"], rows: Bool[Array, " N"], dissimilarity: str
) -> Float[Array, "N _"]:
    """Rows whose squared distances tell how unlike they are."""
    x, _ = arrays.rescaled(x, rows)
    if dissimilarity == "euclidean":
        return x
    if dissimilarity == "correlation":
        x = arrays.center(x.T, jnp.ones(x.shape[1], bool))[0].T
    # Of unit rows, |u - v|^2 / 2 = 1 - u.v; what has no direction gets one more.
    units = arrays.unit(x)
    without = ~jnp.any(units != 0, axis=1, keepdims=True)
    units = jnp.concatenate([units, without.astype(x.dtype)], axis=1)
    return units / jnp.sqrt(jnp.asarray(2, x.dtype))


def _unlike(
    spaces: list[Float[Array, "N _"]], rows: Bool[Array, " N"], root: bool
) -> list[bins.Unlike]:
    """Functions of two spaces' rows to how unlike they are."""

    def of_space(middle: Float[Array, " D"]) -> bins.Unlike:
        def unlike(x: Float[Array, "R D"], y: Float[Array, "B D"]) -> Array:
            squares = tiles.squares(x, y, middle)
            return arrays.safe_sqrt(squares) if root else squares

        return unlike

    return [of_space(tiles.spread(space, rows)[2]) for space in spaces]


def _correlation(
    spaces: list[Float[Array, "N _"]],
    rows: Bool[Array, " N"],
    values: Sequence[bins.Unlike],
    means: Float[Array, "2"] | None = None,
) -> Float[Array, ""]:
    """Pearson's correlation of two values of all pairs of samples.

    Where the means are known it takes one pass over the pairs, not two.
    """
    samples = tiles.samples_of(spaces, rows)

    def sums(group: tiles.Samples, block: tiles.Samples) -> Array:
        return jnp.stack(
            [jnp.sum(value, axis=0) for value in _tile(values, group, block)]
        )

    count = jnp.sum(rows, dtype=spaces[0].dtype)
    pairs = jnp.where(count > 1, count * (count - 1), 1)
    if means is None:
        swept = tiles.sweep(sums, jax.lax.stop_gradient(samples))
        means = jnp.stack([tiles.total(t) / pairs for t in jnp.moveaxis(swept, 1, 0)])
    # Constants to the gradient: what multiplies their change adds up to zero.
    means = jax.lax.stop_gradient(means)

    def products(group: tiles.Samples, block: tiles.Samples) -> Array:
        counted = tiles.pairs_of(group, block, distinct=True)
        a, b = (
            jnp.where(counted, value - mean, 0)
            for value, mean in zip(_tile(values, group, block), means, strict=True)
        )
        return jnp.stack([jnp.sum(one, axis=0) for one in (a * a, a * b, b * b)])

    swept = jnp.moveaxis(tiles.sweep(products, samples), 1, 0)
    first, across, second = (tiles.total(part) for part in swept)
    # What differs from the mean by rounding only does not differ.
    floors = pairs * (8 * jnp.finfo(means.dtype).eps * means) ** 2
    energies = [
        jnp.where(energy <= floor, 0, energy)
        for energy, floor in zip((first, second), floors, strict=True)
    ]
    return _cosine(jnp.stack([energies[0], across, energies[1]]))


def _cosine(products: Float[Array, "3"]) -> Float[Array, ""]:
    """The cosine of a and b, from a.a, a.b and b.b."""
    first, across, second = products
    lengths = arrays.safe_sqrt(first) * arrays.safe_sqrt(second)
    return arrays.safe_divide(across, lengths)


def _tile(
    values: Sequence[bins.Unlike], group: tiles.Samples, block: tiles.Samples
) -> list[Float[Array, "R B"]]:
    """The values of a tile's pairs, zero for uncounted ones."""
    counted = tiles.pairs_of(group, block, distinct=True)
    both = zip(values, group.spaces, block.spaces, strict=True)
    return [jnp.where(counted, value(x, y), 0) for value, x, y in both]


def _spearman(
    spaces: list[Float[Array, "N _"]],
    rows: Bool[Array, " N"],
    values: Sequence[bins.Unlike],
) -> Float[Array, ""]:
    """Spearman's correlation of two values of all pairs of samples.

    Of few samples all pairs are held at once: it takes a third of the time.
    """
    half = jnp.full(2, 0.5, spaces[0].dtype)  # the mean of ranks
    both = zip(spaces, values, strict=True)
    if len(rows) > MOST_SAMPLES:
        ranks = [bins.in_tiles(x, rows, unlike, SORTED) for x, unlike in both]
        return _correlation(spaces, rows, ranks, half)
    counted, dense = _all_pairs(spaces, rows, values)
    a, b = (
        jnp.where(counted, bins.at_once(x, rows, unlike, SORTED, (counted, of_x)), 0.5)
        - 0.5
        for (x, unlike), of_x in zip(both, dense, strict=True)
    )
    return _cosine(
        jnp.stack([tiles.total(product) for product in (a * a, a * b, b * b)])
    )


def _all_pairs(
    spaces: list[Float[Array, "N _"]],
    rows: Bool[Array, " N"],
    values: Sequence[bins.Unlike],
) -> tuple[Bool[Array, "S N"], list[Float[Array, "S N"]]]:
    """Values of all pairs of samples, and which of them count.

    Sample i with i + 1, with i + 2, and so on, round the end: in S = N / 2 steps each
    pair is met once, but for those N / 2 apart, which are met from both ends.
    """
    n = len(rows)
    i, step = jnp.arange(n), jnp.arange(1, max(n // 2, 1) + 1)[:, None]
    j = jnp.where(i + step < n, i + step, i + step - n)
    counted = rows & rows[j] & ((2 * step < n) | (2 * i < n))
    return counted, [
        unlike(x, x).ravel()[i * n + j]
        for x, unlike in zip(spaces, values, strict=True)
    ]


def _kendall(
    spaces: list[Float[Array, "N _"]],
    rows: Bool[Array, " N"],
    values: Sequence[bins.Unlike],
) -> Float[Array, ""]:
    """Kendall's correlation of two values of all pairs of samples, at once."""
    counted, dense = _all_pairs(spaces, rows, values)
    counted = counted.ravel()
    first, second = (_dense(one.ravel(), counted) for one in dense)
    return kendall.tau_b(first, second, counted, spaces[0].dtype)


def _dense(values: Float[Array, " P"], counted: Bool[Array, " P"]) -> Int[Array, " P"]:
    """Ranks from zero without gaps; values equal up to rounding share one."""
    ordered = places.ascending(jnp.where(counted, values, jnp.inf))
    rounding = 8 * jnp.finfo(values.dtype).eps * ordered[1:]
    apart = jnp.append(False, ordered[1:] - ordered[:-1] > rounding)
    return jnp.cumsum(apart)[places.finder(ordered)(values) - 1]


def _check(dissimilarity: str, method: str, num_rows: int) -> None:
    """Raise ValueError unless names are known and samples few enough."""
    for what, name, known in (
        ("dissimilarity", dissimilarity, DISSIMILARITIES),
        ("method", method, METHODS),
    ):
        if name not in known:
            raise ValueError(f"unknown {what} {name!r}; known are {', '.join(known)}.")
    if method == "kendall" and num_rows > MOST_SAMPLES:
        raise ValueError(
            f'method "kendall" sorts all pairs at once, of {MOST_SAMPLES} samples at '
            f'most; got {num_rows}. Draw as many of them, or take "spearman".'
        )
