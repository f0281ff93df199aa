"""Consensus coordinates as a running state: rows in chunks, on many hosts."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Bool, Float

from jatlas._src import arrays, border, layout
from jatlas._src.arrays import AnyArray, Number
from jatlas._src.consensus import linked, moments, rotations, solving
from jatlas._src.consensus.moments import ConsensusState
from jatlas._src.consensus.solving import Consensus

__all__ = ["ConsensusState", "add", "combine", "empty", "rotated", "value"]


@border.short
def empty(
    dimensions: Sequence[int],
    *,
    normalize: bool = False,
    dtype: DTypeLike = jnp.float32,
) -> ConsensusState:
    """A state without rows, for M charts.

    Args:
        dimensions: D_1, ..., D_M, the width of each chart.
        normalize: bring rows to length one before they are added.
        dtype: of the sums: float32, also where it is narrower, or float64 for more
            digits.

    Returns:
        A `ConsensusState`, of (D_1 + ... + D_M)^2 numbers and a few.

    Raises:
        ValueError: if there is no chart, or a width is not a whole number of 1 or more.

    Example:
        >>> empty([3, 2]).across.shape
        (5, 5)
    """
    if len(dimensions) == 0:
        raise ValueError("there are no charts; give the width of one at least.")
    for chart, width in enumerate(dimensions):
        arrays.check_count(f"the dimension of chart {chart}", width, 1)
    wide = jnp.promote_types(dtype, jnp.float32)
    return moments.no_rows(dimensions, normalize, wide)


@border.jit()
@layout.automatic()
def add(
    state: ConsensusState,
    embeddings: Float[AnyArray, "M N D"] | Sequence[Float[AnyArray, "N _"]],
    presence: Bool[AnyArray, "M N"],
    *,
    where: Bool[AnyArray, " N"] | None = None,
) -> ConsensusState:
    """Add N more samples to the state, with all their charts.

    Samples that one chart alone has change nothing. A sample must come with all of its
    charts at once: who is linked is seen here only.

    Args:
        state: from `empty` or another call.
        embeddings: (M, N, D), or M arrays (N, D_m). Rows of absent samples are not
            looked at.
        presence: (M, N), boolean.
        where: (N,), the samples that count; all if None. With it the last chunk can be
            padded to the length of the others.

    Returns:
        A `ConsensusState` of the same shapes, in float32 or wider.

    Raises:
        ValueError: if the shapes or dtypes are not these.

    Example:
        >>> import jax
        >>> from jatlas import fit_consensus
        >>> charts = jax.random.normal(jax.random.key(0), (2, 50, 3))
        >>> both = jnp.ones((2, 50), bool)
        >>> state = add(empty([3, 3]), charts[:, :20], both[:, :20])
        >>> state = add(state, charts[:, 20:], both[:, 20:])
        >>> whole = fit_consensus(charts, both)
        >>> jnp.allclose(value(state).agreement, whole.agreement, atol=1e-5)
        Array(True, dtype=bool)
    """
    linked.check_charts(embeddings, presence, where)
    arrays.check_equal(
        "the dimensions D_m of the charts of the state and of the rows",
        [state.dimensions, moments.dimensions_of(embeddings)],
        "Rows are added of the charts that the state began with.",
    )
    new = moments.moments_of(embeddings, presence, where, state.normalize)
    return moments.combined(state, new)


@border.jit()
@layout.automatic()
def combine(a: ConsensusState, b: ConsensusState) -> ConsensusState:
    """Combine the rows of two states.

    For parts seen on different hosts, and for all folds but one.

    Args:
        a: the state of some samples.
        b: the state of others, of the same charts.

    Returns:
        A `ConsensusState`, the same in whichever order up to rounding.

    Raises:
        ValueError: if they differ in the charts' dimensions or in `normalize`.

    Example:
        >>> combine(empty([3, 2]), empty([3, 2])).links.shape
        (2, 2)

    Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for
    computing sample variances" (1979).
    """
    moments.check_same(a, b)
    return moments.combined(a, b)


@border.border
def value(
    state: ConsensusState,
    *,
    num_features: int | None = None,
    ridge: Number = 1.0,
    agreement_power: Number = 1.0,
) -> Consensus:
    """The consensus map of the rows seen so far.

    Args:
        state: from `add` or `combine`.
        num_features: K, from 1 to D_1 + ... + D_M; the widest chart's D_m if None.
        ridge: as in `fit_consensus`.
        agreement_power: as in `fit_consensus`.

    Returns:
        A `Consensus`, that of `fit_consensus` on all these rows at once, up to the sign
        of a coordinate. All NaN if charts are not joined by linked samples, or one has
        fewer than two.

    Raises:
        ValueError: if num_features is out of range.

    Example:
        >>> bool(jnp.isnan(value(empty([3, 2])).agreement).all())
        True

    Source: as for `fit_consensus`.
    """
    width = sum(state.dimensions)
    if num_features is None:
        num_features = max(state.dimensions)
    features = moments.check_features(num_features, width, "D_1 + ... + D_M")
    return _valued(state, ridge, agreement_power, features)


@partial(jax.jit, static_argnames="num_features")
@layout.automatic()
def _valued(
    state: ConsensusState, ridge: Number, agreement_power: Number, num_features: int
) -> Consensus:
    return solving.of_moments(state, num_features, ridge, agreement_power)


@border.border
def rotated(
    state: ConsensusState, *, num_features: int | None = None, sweeps: int = 10
) -> Consensus:
    """The rotations of `fit_procrustes`, of the rows seen so far.

    Args:
        state: from `add` or `combine`.
        num_features: K, from 1 to the widest chart's D_m, which None means.
        sweeps: as in `fit_procrustes`.

    Returns:
        A `Consensus`, that of `fit_procrustes` on all these rows at once, up to the
        sign of a coordinate. All NaN where that of `value` is.

    Raises:
        ValueError: if num_features or sweeps is out of range.

    Example:
        >>> bool(jnp.isnan(rotated(empty([3, 2])).agreement).all())
        True

    Source: as for `jatlas.merging.fit_procrustes`.
    """
    widest = max(state.dimensions)
    features = widest if num_features is None else num_features
    moments.check_features(features, widest, "the widest chart's dimension")
    arrays.check_count("sweeps", sweeps, 1)
    return _rotated(state, features, sweeps)


_rotated = partial(jax.jit, static_argnums=(1, 2))(
    layout.automatic()(rotations.of_moments)
)
