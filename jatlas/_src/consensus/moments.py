"""Moments of linked rows, from which consensus coordinates follow."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jatlas._src import arrays
from jatlas._src.arrays import AnyArray
from jatlas._src.consensus.linked import Stacked, linked_rows

Within = Float[Array, "M D D"] | tuple[Float[Array, "_ _"], ...]


# Not checked when it is made: a tree of shardings or of stacked arrays is one too.
@no_type_check
@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ConsensusState:
    """Moments of the linked rows seen so far.

    Charts lie side by side, W = D_1 + ... + D_M.
    z = (x_1 - mean_1, ..., x_M - mean_M), zero where a chart has not the sample; c is
    the number of charts that have it.

    Attributes:
        count: (M,), linked rows of each chart.
        mean: (W,), their means.
        within: (M, D, D), or M arrays (D_m, D_m) where these differ: each chart's own
            sum of z z'.
        across: (W, W), sum of z z' / c.
        first: (M, W), sum of z / c over the rows that chart m has.
        links: (M, M), sum of 1 / c over the rows that two charts have.
        dimensions: D_1, ..., D_M.
        normalize: whether rows were brought to length one first.
    """

    count: Float[Array, " M"]
    mean: Float[Array, " W"]
    within: Within
    across: Float[Array, "W W"]
    first: Float[Array, "M W"]
    links: Float[Array, "M M"]
    dimensions: tuple[int, ...] = field(metadata={"static": True})
    normalize: bool = field(metadata={"static": True})


def dimensions_of(embeddings: Stacked) -> tuple[int, ...]:
    """D_1, ..., D_M."""
    if isinstance(embeddings, Sequence):
        return tuple(x.shape[-1] for x in embeddings)
    return (embeddings.shape[-1],) * embeddings.shape[0]


def chart_of_feature(dimensions: Sequence[int]) -> np.ndarray:
    """(W,): the chart of each feature of the charts side by side.

    >>> chart_of_feature([1, 2]).tolist()
    [0, 1, 1]
    """
    return np.repeat(np.arange(len(dimensions)), dimensions)


def by_chart(x: Array, dimensions: Sequence[int]) -> Array | tuple[Array, ...]:
    """Cut (W, ...) into charts.

    The result is (M, D, ...), or M arrays where the D_m differ.
    """
    if len(set(dimensions)) == 1:
        return x.reshape(len(dimensions), -1, *x.shape[1:])
    return tuple(jnp.split(x, np.cumsum(dimensions)[:-1].tolist()))


def centered_rows(
    embeddings: Stacked, linked: Bool[Array, "M N"], normalize: bool
) -> tuple[list[Float[Array, "N _"]], list[Float[Array, " _"]]]:
    """Each chart's linked rows less their mean, zero elsewhere; and the means.

    The mean of no rows is zero here: such a chart has nothing to say about it.
    """
    rows, means = [], []
    for x, mine in zip(embeddings, linked, strict=True):
        x = arrays.keep(arrays.widen(x), mine)
        residual, mean = arrays.center(arrays.unit(x) if normalize else x, mine)
        rows.append(residual)
        means.append(jnp.where(jnp.any(mine), mean, 0))
    return rows, means


def shares(
    linked: Bool[Array, "M N"], dtype: jnp.dtype
) -> tuple[Float[Array, "M N"], Float[Array, " N"]]:
    """Linked rows as numbers, and 1 / c; zero for unlinked samples."""
    have = linked.astype(dtype)
    counts = jnp.sum(have, axis=0)
    return have, arrays.safe_divide(jnp.ones_like(counts), counts, 0.0)


def moments_of(
    embeddings: Stacked,
    presence: Bool[AnyArray, "M N"],
    where: Bool[AnyArray, " N"] | None,
    normalize: bool,
) -> ConsensusState:
    """The state of these rows alone."""
    linked = linked_rows(presence, where)
    rows, means = centered_rows(embeddings, linked, normalize)
    wide = jnp.result_type(*rows)
    have, parts = shares(linked, wide)
    side_by_side = jnp.concatenate(rows, axis=1).astype(wide)
    halves = side_by_side * jnp.sqrt(parts)[:, None]
    dimensions = dimensions_of(embeddings)
    within = tuple(arrays.matmul(x.T, x).astype(wide) for x in rows)
    return ConsensusState(
        count=jnp.sum(have, axis=1),
        mean=jnp.concatenate(means).astype(wide),
        within=jnp.stack(within) if len(set(dimensions)) == 1 else within,
        across=arrays.matmul(halves.T, halves),
        first=arrays.matmul(have * parts, side_by_side),
        links=arrays.matmul(have * parts, have.T),
        dimensions=dimensions,
        normalize=normalize,
    )


def combined(a: ConsensusState, b: ConsensusState) -> ConsensusState:
    """The moments of the rows of both, about the mean of both."""
    count = a.count + b.count
    share = arrays.safe_divide(b.count, count, 0.0)
    apart = b.mean - a.mean
    chart = chart_of_feature(a.dimensions)
    mean = a.mean + share[chart] * apart
    within = jax.tree.map(
        lambda one, other, weight, d: (
            one + other + weight[..., None, None] * d[..., :, None] * d[..., None, :]
        ),
        a.within,
        b.within,
        _like(a.within, a.count * share),
        by_chart(apart, a.dimensions),
    )
    one, other = _about(a, mean), _about(b, mean)
    across, first = jax.tree.map(jnp.add, one, other)
    return ConsensusState(
        count, mean, within, across, first, a.links + b.links, a.dimensions, a.normalize
    )


def _like(within: Within, per_chart: Float[Array, " M"]) -> Array | tuple[Array, ...]:
    return tuple(per_chart) if isinstance(within, tuple) else per_chart


def _about(
    state: ConsensusState, mean: Float[Array, " W"]
) -> tuple[Float[Array, "W W"], Float[Array, "M W"]]:
    """`across` and `first` about another mean.

    z becomes z + d where a chart has the sample.
    """
    d, chart = state.mean - mean, chart_of_feature(state.dimensions)
    half = d[:, None] * state.first[chart]
    both = d[:, None] * state.links[chart][:, chart] * d
    return state.across + half + half.T + both, state.first + state.links[:, chart] * d


def no_rows(
    dimensions: Sequence[int], normalize: bool, dtype: jnp.dtype
) -> ConsensusState:
    """The state before any row has joined."""
    sizes = tuple(int(d) for d in dimensions)
    charts, width = len(sizes), sum(sizes)
    squares = tuple(jnp.zeros((d, d), dtype) for d in sizes)
    return ConsensusState(
        jnp.zeros(charts, dtype),
        jnp.zeros(width, dtype),
        jnp.stack(squares) if len(set(sizes)) == 1 else squares,
        jnp.zeros((width, width), dtype),
        jnp.zeros((charts, width), dtype),
        jnp.zeros((charts, charts), dtype),
        sizes,
        normalize,
    )


def check_features(num_features: int, most: int, words: str) -> int:
    """K; ValueError unless it is from 1 to `most`."""
    arrays.check_count("num_features", num_features, 1)
    if num_features > most:
        raise ValueError(
            f"num_features must be from 1 to {most}, {words}, got {num_features}."
        )
    return int(num_features)


def check_same(a: ConsensusState, b: ConsensusState) -> None:
    """Raise ValueError unless two states are of the same charts."""
    arrays.check_equal(
        "the dimensions D_m of the charts of the two states",
        [a.dimensions, b.dimensions],
        "Only states of the same charts can be combined.",
    )
    arrays.check_equal(
        "normalize of the two states",
        [a.normalize, b.normalize],
        "Begin all states alike, with `empty`.",
    )
