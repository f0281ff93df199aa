"""RSA: how alike the dissimilarities between samples are in two spaces."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jatlas._src import arrays, border, layout
from jatlas._src.arrays import Where
from jatlas._src.pairs import kendall, tiles

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
    with how unlike they are in y. The pairs are made in tiles: time grows with N^2,
    memory with N.

    Args:
        x: (N, D1), floating point.
        y: (N, D2), floating point; row n is the same sample as row n of x.
        dissimilarity: "correlation", one less the correlation of two rows over their
            features; "euclidean", the distance; or "cosine", one less the cosine.
        method: "pearson"; "spearman"; or "kendall", tau-b. The gradient of the last two
            is zero, and dissimilarities equal up to rounding are tied. Spearman's ranks
            are exact up to 384 samples. Of more samples those get one rank that lie
            between two neighbouring ones of the 73,536 pairs of 384 samples, which
            changes the value by about 1e-7. Kendall's is exact, holds N^2 / 2 numbers,
            and takes 2,048 samples at most.
        where: (N,), the samples that count; all if None. The others are not looked at.

    Returns:
        A scalar in [-1, 1] up to rounding, in float32 or wider. NaN for fewer than
        three samples, or where all pairs of a space are equally unlike. A row without a
        direction (zero, or of equal features for "correlation") is taken to be at a
        right angle to all. Gradients are finite everywhere.

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
    spaces = [_prepared(s.astype(dtype), rows, dissimilarity) for s in (x, y)]
    root = dissimilarity == "euclidean"
    finite = jnp.all(jnp.isfinite(spaces[0])) & jnp.all(jnp.isfinite(spaces[1]))
    known = (jnp.sum(rows) > 2) & finite
    if method == "kendall":
        value = _kendall(jax.lax.stop_gradient(spaces), rows, root)
        return jnp.where(known, value, jnp.nan)
    values = [_unlike(tiles.spread(space, rows)[2], root) for space in spaces]
    if method == "spearman":
        spaces = jax.lax.stop_gradient(spaces)
        both = zip(spaces, values, strict=True)
        values = [_ranks(space, rows, unlike) for space, unlike in both]
    value = _correlation(spaces, rows, values)
    return jnp.where(known, value, jnp.nan)


def _prepared(
    x: Float[Array, "N D"], rows: Bool[Array, " N"], dissimilarity: str
) -> Float[Array, "N D"]:
    """Rows whose squared distances tell how unlike they are."""
    x, _ = arrays.rescaled(x, rows)
    if dissimilarity == "euclidean":
        return x
    if dissimilarity == "correlation":
        x = arrays.center(x.T, jnp.ones(x.shape[1], bool))[0].T
    # Of unit rows, |u - v|^2 / 2 = 1 - u.v
    return arrays.unit(x) / jnp.sqrt(jnp.asarray(2, x.dtype))


Dissimilarity = Callable[[Array, Array], Array]


def _unlike(middle: Float[Array, " D"], root: bool) -> Dissimilarity:
    """A function of rows to how unlike they are."""

    def unlike(x: Float[Array, "R D"], y: Float[Array, "B D"]) -> Float[Array, "R B"]:
        squares = tiles.squares(x, y, middle)
        return arrays.safe_sqrt(squares) if root else squares

    return unlike


def _correlation(
    spaces: list[Float[Array, "N _"]],
    rows: Bool[Array, " N"],
    values: list[Dissimilarity],
) -> Float[Array, ""]:
    """Pearson's correlation of two values of all pairs of samples."""
    samples = tiles.samples_of(spaces, rows)

    def sums(group: tiles.Samples, block: tiles.Samples) -> Array:
        return jnp.stack(
            [jnp.sum(value, axis=0) for value in _tile(values, group, block)]
        )

    count = jnp.sum(rows, dtype=spaces[0].dtype)
    pairs = jnp.where(count > 1, count * (count - 1), 1)
    fixed = jax.lax.stop_gradient(samples)
    totals = jnp.moveaxis(tiles.sweep(sums, fixed), 1, 0)
    # Constants to the gradient: what multiplies their change adds up to zero.
    means = jax.lax.stop_gradient(jnp.stack([tiles.total(t) / pairs for t in totals]))

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
    lengths = arrays.safe_sqrt(energies[0]) * arrays.safe_sqrt(energies[1])
    return arrays.safe_divide(across, lengths)


def _tile(
    values: list[Dissimilarity], group: tiles.Samples, block: tiles.Samples
) -> list[Float[Array, "R B"]]:
    """The values of a tile's pairs, zero for uncounted ones."""
    counted = tiles.pairs_of(group, block, distinct=True)
    both = zip(values, group.spaces, block.spaces, strict=True)
    return [jnp.where(counted, value(x, y), 0) for value, x, y in both]


def _ranks(
    x: Float[Array, "N D"], rows: Bool[Array, " N"], unlike: Dissimilarity
) -> Dissimilarity:
    """A function of rows to their pairs' ranks among all pairs.

    Half the number of pairs below plus half the number up to and with: its mean over
    equal ones, and with any correlation the same as the rank. The pairs of some rows,
    sorted, are the bins that all pairs are counted in.
    """
    edges = _edges(x, rows, unlike)
    last = len(edges)

    def bins(values: Float[Array, "R B"]) -> Int[Array, "R B"]:
        return jnp.searchsorted(edges, values, side="right")

    def counted(group: tiles.Samples, block: tiles.Samples) -> Int[Array, " K"]:
        pairs = tiles.pairs_of(group, block, distinct=True)
        places = bins(unlike(group.spaces[0], block.spaces[0]))
        start = layout.varying(jnp.zeros(last + 1, jnp.int32), places)
        return start.at[places].add(pairs)

    samples = tiles.samples_of([x], rows)
    # The sum over the columns too would be one of floats: counts of a block are whole.
    counts = jnp.sum(tiles.sweep(counted, samples).astype(x.dtype), axis=0)
    up_to = jnp.cumsum(counts)
    ranks = (up_to - counts / 2) / jnp.where(up_to[-1] > 0, up_to[-1], 1)

    def rank(one: Float[Array, "R D"], other: Float[Array, "B D"]) -> Array:
        return ranks[bins(unlike(one, other))]

    return rank


def _kendall(
    spaces: list[Float[Array, "N _"]], rows: Bool[Array, " N"], root: bool
) -> Float[Array, ""]:
    """Kendall's correlation of two spaces' dissimilarities, all pairs at once.

    Sample i with i + 1, with i + 2, and so on, round the end: in N / 2 steps each pair
    is met once, but for those N / 2 apart, which are met from both ends.
    """
    n = len(rows)
    steps = jnp.arange(1, max(n // 2, 1) + 1)
    index = jnp.arange(n)

    def pairs(step: Int[Array, ""]) -> tuple[Array, Array]:
        counted = rows & jnp.roll(rows, -step) & ((2 * step < n) | (2 * index < n))
        both = [jnp.sum((x - jnp.roll(x, -step, axis=0)) ** 2, axis=1) for x in spaces]
        values = jnp.stack(both)
        return counted, arrays.safe_sqrt(values) if root else values

    counted, values = jax.lax.map(pairs, steps)
    counted = counted.ravel()
    first, second = (_dense(values[:, s].ravel(), counted) for s in range(2))
    return kendall.tau_b(first, second, counted, spaces[0].dtype)


def _dense(values: Float[Array, " P"], counted: Bool[Array, " P"]) -> Int[Array, " P"]:
    """Ranks from zero without gaps; values equal up to rounding share one."""
    order = jnp.argsort(jnp.where(counted, values, jnp.inf))
    ordered = values[order]
    rounding = 8 * jnp.finfo(values.dtype).eps * ordered[1:]
    apart = jnp.append(False, ordered[1:] - ordered[:-1] > rounding)
    return jnp.zeros(len(values), int).at[order].set(jnp.cumsum(apart))


def _edges(
    x: Float[Array, "N D"], rows: Bool[Array, " N"], unlike: Dissimilarity
) -> Float[Array, " K"]:
    """Values between those of the pairs of some samples that count, sorted.

    Halfway, as the same pair made in another loop can differ by rounding. Between two
    that differ by no more than that there is none: they are equal.
    """
    first = jnp.argsort(~rows, stable=True)
    size = min(len(rows), SORTED)
    places = first[jnp.arange(size) * jnp.maximum(jnp.sum(rows), 1) // size]
    some = x[places]
    i, j = jnp.triu_indices(size, 1)
    values = jnp.sort(unlike(some, some)[i, j])
    gaps = values[1:] - values[:-1]
    apart = gaps > 8 * jnp.finfo(x.dtype).eps * values[1:]
    return jnp.sort(jnp.where(apart, values[:-1] + gaps / 2, jnp.inf))


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
