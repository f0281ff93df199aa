"""Solve for the consensus map, from moments or from few rows."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import no_type_check

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jatlas._src import arrays
from jatlas._src.arrays import Number
from jatlas._src.consensus.linked import FEWEST, Stacked, joined, linked_rows
from jatlas._src.consensus.moments import (
    ConsensusState,
    by_chart,
    centered_rows,
    chart_of_feature,
    dimensions_of,
    shares,
)
from jatlas._src.spectra.roots import eigen

PerChart = Array | tuple[Array, ...]


# Not checked when it is made: a tree of shardings or of stacked arrays is one too.
@no_type_check
@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Consensus:
    """Each chart's map to consensus coordinates, (x - mean) / scale weights.

    Arrays over M charts, or tuples of M arrays where the charts' dimensions differ.

    Attributes:
        mean: (M, D) or M times (D_m,), of a chart's linked rows.
        scale: (M,), the root of their mean squared length.
        weights: (M, D, K) or M times (D_m, K). Coordinate k is already multiplied by
            agreement[k] ** agreement_power.
        agreement: (K,), in [0, 1], how far the charts agree about each coordinate,
            largest first. With M charts that have every sample and have nothing in
            common it is 1 / M.
        ridge, agreement_power: (), as they were given or chosen.
        normalize: whether rows are brought to length one first.
    """

    mean: PerChart
    scale: Float[Array, " M"]
    weights: PerChart
    agreement: Float[Array, " K"]
    ridge: Float[Array, ""]
    agreement_power: Float[Array, ""]
    normalize: bool = field(metadata={"static": True})


def of_moments(
    state: ConsensusState, num_features: int, ridge: Number, power: Number
) -> Consensus:
    """The map from moments.

    It is an eigenproblem of W = D_1 + ... + D_M rows. With L_m L_m' = X_m' X_m + ridge
    I, H = C^(-1/2) [X_1 L_1^(-T), ...] and H'H = V w V' it is W_m = L_m^(-T) V_m
    w^(1/2). That is (X_m' X_m + ridge I)^(-1) X_m' G, since G = C^(-1/2) H V w^(-1/2)
    and so X_m' G = L_m V_m w^(1/2). The weights w^power are in the same power of w.
    """
    ridge, power = _checked(ridge, power, state.across.dtype)
    scale = scale_of(state.count, jax.tree.map(trace_of, state.within))
    inverse = arrays.safe_divide(jnp.ones_like(scale), scale, 0.0)
    chart = chart_of_feature(state.dimensions)
    factors = jax.tree.map(
        lambda squares, s: _cholesky(squares * (s**2)[..., None, None], ridge),
        state.within,
        tuple(inverse) if isinstance(state.within, tuple) else inverse,
    )
    across = state.across * inverse[chart][:, None] * inverse[chart]
    half = _solve(factors, across, state.dimensions)
    both = _solve(factors, half.T, state.dimensions)
    values, columns = eigen(both, power + 0.5)
    columns = columns[:, :num_features]
    return _consensus(
        state.mean,
        jnp.where(usable(state.count, state.links), scale, jnp.nan),
        _solve(factors, columns, state.dimensions, transposed=True),
        values[:num_features],
        (ridge, power),
        state.dimensions,
        state.normalize,
    )


def of_rows(
    embeddings: Stacked,
    presence: Bool[Array, "M N"],
    where: Bool[Array, " N"] | None,
    normalize: bool,
    num_features: int,
    ridge: Number,
    power: Number,
) -> Consensus:
    """The map from rows.

    It is an eigenproblem of N rows, for N below W. The sum of the smoothers P_m is
    formed, (N, N), and W_m = (X_m' X_m + ridge I)^(-1) X_m' C^(-1/2) V is made of
    whichever side of X_m is the smaller.
    """
    linked = linked_rows(presence, where)
    rows, means = centered_rows(embeddings, linked, normalize)
    dtype = jnp.result_type(*rows)
    ridge, power = _checked(ridge, power, dtype)
    have, parts = shares(linked, dtype)
    roots = jnp.sqrt(parts)
    scale = scale_of(jnp.sum(have, axis=1), jnp.stack([jnp.sum(x**2) for x in rows]))
    inverse = arrays.safe_divide(jnp.ones_like(scale), scale, 0.0)
    smoothers, back = zip(
        *(
            _smoother(x.astype(dtype) * s, ridge)
            for x, s in zip(rows, inverse, strict=True)
        ),
        strict=True,
    )
    values, columns = eigen(sum(smoothers) * roots[:, None] * roots, power)
    columns = roots[:, None] * columns[:, :num_features]
    links = arrays.matmul(have * parts, have.T)
    return _consensus(
        jnp.concatenate(means).astype(dtype),
        jnp.where(usable(jnp.sum(have, axis=1), links), scale, jnp.nan),
        jnp.concatenate([solve(columns) for solve in back]),
        values[:num_features],
        (ridge, power),
        dimensions_of(embeddings),
        normalize,
    )


def _smoother(
    x: Float[Array, "N D"], ridge: Float[Array, ""]
) -> tuple[Float[Array, "N N"], Callable[[Array], Array]]:
    """A chart's ridge smoother, and its map from G to weights.

    X (X'X + ridge I)^(-1) X', and G -> (X'X + ridge I)^(-1) X' G.
    """
    if x.shape[1] <= x.shape[0]:
        factor = _cholesky(arrays.matmul(x.T, x), ridge)
        half = _triangular(factor, x.T)
        return arrays.matmul(half.T, half), lambda g: _triangular(
            factor, arrays.matmul(half, g), transposed=True
        )
    kernel = arrays.matmul(x, x.T)
    factor = _cholesky(kernel, ridge)

    def solved(rows: Array) -> Array:
        return _triangular(factor, _triangular(factor, rows), transposed=True)

    return solved(kernel), lambda g: arrays.matmul(x.T, solved(g))


def _consensus(
    mean: Float[Array, " W"],
    scale: Float[Array, " M"],
    weights: Float[Array, "W K"],
    values: Float[Array, " K"],
    options: tuple[Array, Array],
    dimensions: tuple[int, ...],
    normalize: bool,
) -> Consensus:
    ridge, power = options
    weights = signed(weights)
    unknown = jnp.any(jnp.isnan(jnp.concatenate([scale, values])))
    mean, scale, weights, agreement = (
        jnp.where(unknown | jnp.isnan(power), jnp.nan, x)
        for x in (mean, scale, weights, values)
    )
    return Consensus(
        by_chart(mean, dimensions),
        scale,
        by_chart(weights, dimensions),
        jnp.clip(agreement, 0, 1),
        ridge,
        power,
        normalize,
    )


def signed(weights: Float[Array, "W K"]) -> Float[Array, "W K"]:
    """Columns whose largest number is positive.

    The sign of an eigenvector is the solver's choice.
    """
    largest = jnp.argmax(jnp.abs(weights), axis=0)
    sign = jnp.sign(jnp.take_along_axis(weights, largest[None], axis=0))
    return weights * jax.lax.stop_gradient(jnp.where(sign == 0, 1, sign))


def _checked(ridge: Number, power: Number, dtype: jnp.dtype) -> tuple[Array, Array]:
    """Both options in this dtype, NaN where out of range."""
    ridge, power = jnp.asarray(ridge, dtype), jnp.asarray(power, dtype)
    return jnp.where(ridge > 0, ridge, jnp.nan), jnp.where(power >= 0, power, jnp.nan)


def usable(count: Float[Array, " M"], links: Float[Array, "M M"]) -> Bool[Array, ""]:
    return joined(links) & jnp.all(count >= FEWEST)


def scale_of(count: Float[Array, " M"], squares: PerChart) -> Float[Array, " M"]:
    """The root of the mean squared length; zero where nothing varies."""
    total = jnp.stack(squares) if isinstance(squares, tuple) else squares
    return arrays.safe_sqrt(arrays.safe_divide(total, count, 0.0))


def trace_of(squares: Float[Array, "*M D D"]) -> Float[Array, "*M"]:
    return jnp.trace(squares, axis1=-2, axis2=-1)


def _cholesky(squares: Float[Array, "*M D D"], ridge: Array) -> Float[Array, "*M D D"]:
    eye = jnp.eye(squares.shape[-1], dtype=squares.dtype)
    return jnp.linalg.cholesky(squares + ridge * eye)


def _triangular(factor: Array, rows: Array, transposed: bool = False) -> Array:
    return jax.lax.linalg.triangular_solve(
        factor, rows, left_side=True, lower=True, transpose_a=transposed
    )


def _solve(
    factors: PerChart,
    rows: Float[Array, "W K"],
    dimensions: tuple[int, ...],
    transposed: bool = False,
) -> Float[Array, "W K"]:
    """L_m^(-1) of each chart's rows, or L_m^(-T)."""
    solve = partial(_triangular, transposed=transposed)
    parts = jax.tree.map(solve, factors, by_chart(rows, dimensions))
    return (
        jnp.concatenate(parts)
        if isinstance(parts, tuple)
        else parts.reshape(rows.shape)
    )
