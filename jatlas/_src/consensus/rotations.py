"""Rotations of all charts into one space, from moments of linked rows."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jatlas._src import arrays
from jatlas._src.consensus.moments import (
    ConsensusState,
    by_chart,
    chart_of_feature,
)
from jatlas._src.consensus.solving import (
    Consensus,
    scale_of,
    signed,
    trace_of,
    usable,
)
from jatlas._src.spectra.roots import eigen
from jatlas._src.spectra.singular import rotation, singular


def of_moments(state: ConsensusState, num_features: int, sweeps: int) -> Consensus:
    """The rotations that bring all charts nearest to their mean.

    With A_mj the sum of z_m z_j' / c, charts scaled, the squared distance to the mean
    is least where sum over m, j of tr(W_m' A_mj W_j) is largest. It begins with the
    first eigenvectors of A, and takes one chart after another: W_m is the rotation
    nearest to the sum over the others of A_mj W_j. Then all are turned alike, so that
    the coordinates are the principal axes of the mean.
    """
    dimensions = state.dimensions
    scale = scale_of(state.count, jax.tree.map(trace_of, state.within))
    inverse = arrays.safe_divide(jnp.ones_like(scale), scale, 0.0)
    chart = chart_of_feature(dimensions)
    across = state.across * inverse[chart][:, None] * inverse[chart]
    weights = _swept(across, dimensions, sweeps)
    mean = arrays.matmul(weights.T, arrays.matmul(across, weights))
    axes = eigen(mean, jnp.zeros((), mean.dtype))[1][:, :num_features]
    weights = signed(arrays.matmul(weights, axes))
    common = jnp.sum(weights * arrays.matmul(across, weights), axis=0)
    known = usable(state.count, state.links)
    agreement = arrays.safe_divide(common, _spread(state, inverse, weights), 0.0)
    scale = jnp.where(known, scale, jnp.nan)
    parts = (state.mean, scale, weights, agreement)
    place, scale, weights, agreement = (jnp.where(known, x, jnp.nan) for x in parts)
    return Consensus(
        by_chart(place, dimensions),
        scale,
        by_chart(weights, dimensions),
        jnp.clip(agreement, 0, 1),
        jnp.full((), jnp.inf, weights.dtype),
        jnp.zeros((), weights.dtype),
        state.normalize,
    )


def _swept(
    across: Float[Array, "W W"], dimensions: tuple[int, ...], sweeps: int
) -> Float[Array, "W K"]:
    """Each chart's rotation to as many coordinates as the widest has."""
    width, ends = max(dimensions), np.cumsum((0, *dimensions)).tolist()
    if len(dimensions) == 1:
        return jnp.eye(width, dtype=across.dtype)
    blocks = list(pairwise(ends))
    # Where it ends does not depend on where it begins.
    start = eigen(jax.lax.stop_gradient(across), jnp.full((), 0.5, across.dtype))[1]
    start = jnp.concatenate([_nearest(start[a:b, :width]) for a, b in blocks])

    def sweep(weights: Array, _: None) -> tuple[Array, None]:
        for a, b in blocks:
            others = weights.at[a:b].set(0)
            turned = _nearest(arrays.matmul(across[a:b], others))
            weights = weights.at[a:b].set(turned)
        return weights, None

    return jax.lax.scan(sweep, start, None, length=sweeps)[0]


def _nearest(matrix: Float[Array, "D K"]) -> Float[Array, "D K"]:
    return rotation(matrix, singular(matrix))


def _spread(
    state: ConsensusState, inverse: Float[Array, " M"], weights: Float[Array, "W K"]
) -> Float[Array, " K"]:
    """The sum over all charts' rows of each squared coordinate."""
    total = jnp.zeros(weights.shape[1], weights.dtype)
    parts = by_chart(weights, state.dimensions)
    for m, squares in enumerate(state.within):
        turned = arrays.matmul(squares * inverse[m] ** 2, parts[m])
        total = total + jnp.sum(parts[m] * turned, axis=0)
    return total
