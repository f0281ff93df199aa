"""Generalized Procrustes: all charts rotated into one space."""

from collections.abc import Sequence
from functools import partial

import jax
from jaxtyping import Array, Bool, Float

from jatlas._src import arrays, border, layout
from jatlas._src.arrays import AnyArray
from jatlas._src.consensus import linked, moments, rotations
from jatlas._src.consensus.moments import dimensions_of
from jatlas._src.consensus.solving import Consensus


@border.border
def fit_procrustes(
    embeddings: Float[AnyArray, "M N D"] | Sequence[Float[AnyArray, "N _"]],
    presence: Bool[AnyArray, "M N"],
    *,
    num_features: int | None = None,
    sweeps: int = 10,
    normalize: bool = False,
    where: Bool[AnyArray, " N"] | None = None,
) -> Consensus:
    """Fit the rotations that bring all charts nearest to their mean.

    Generalized Procrustes analysis with missing rows. Each chart's linked rows, those
    of samples that two or more charts have, are centered and scaled to a mean squared
    norm of 1: X_m. Narrower charts are padded with zeros. With g_n the mean of the c_n
    charts that have sample n, the rotations W_m make

        `sum_n sum_m |x_mn W_m - g_n|^2`, m the charts that have n,

    least. Only rotations are learned, so that all distances within a chart stay, but
    for its scale and for directions that no other chart has, which are dropped.
    Consensus coordinates, which weigh and shrink directions, find samples better where
    charts agree about some directions only.

    Args:
        embeddings: (M, N, D), or M arrays (N, D_m) where the charts' dimensions differ.
            Rows of absent samples are not looked at.
        presence: (M, N), boolean.
        num_features: K, from 1 to the widest chart's D_m, which None means; fewer are
            the first principal axes of the mean, and distances then do not stay.
        sweeps: rounds over the charts, 1 or more. It begins with the charts' first
            principal axes side by side; two charts are done after one or two rounds.
        normalize: bring rows to length one first.
        where: (N,), the samples that may be learned from; all if None.

    Returns:
        A `Consensus`, which `apply_consensus` and `merge_consensus` take: weights (D_m,
        K) are rotations, coordinates are the principal axes of the mean, the largest
        first; agreement (K,) is the share of the charts' variance along each that is
        the mean's. Its ridge is infinite and its power 0: there are none. All is NaN
        where that of `fit_consensus` is. Gradients are finite, those of the given
        number of rounds; first derivatives only.

    Raises:
        ValueError: if the shapes or dtypes are not these, num_features or sweeps is out
            of range, or, outside of `jax.jit`, no chain of linked samples joins all
            charts or a chart has fewer than two; the message names the charts.

    Example:
        >>> import jax.numpy as jnp
        >>> from jatlas import apply_consensus
        >>> hidden = jax.random.normal(jax.random.key(0), (60, 3))
        >>> turn = jnp.linalg.qr(jax.random.normal(jax.random.key(1), (3, 3)))[0]
        >>> charts = jnp.stack([hidden, 5 * hidden @ turn + 2])
        >>> rotated = fit_procrustes(charts, jnp.ones((2, 60), bool))
        >>> rows = [apply_consensus(rotated, m, x) for m, x in enumerate(charts)]
        >>> jnp.allclose(*rows, atol=1e-4), rotated.agreement.round(3)
        (Array(True, dtype=bool), Array([1., 1., 1.], dtype=float32))

    Source: Gower, "Generalized Procrustes analysis" (1975); ten Berge, "Orthogonal
    Procrustes rotation for two or more matrices" (1977), for taking one chart after
    another.
    """
    linked.check_charts(embeddings, presence, where)
    widest = max(dimensions_of(embeddings))
    features = widest if num_features is None else num_features
    moments.check_features(features, widest, "the widest chart's dimension")
    arrays.check_count("sweeps", sweeps, 1)
    if arrays.is_concrete(presence) and (where is None or arrays.is_concrete(where)):
        linked.check_linked(presence, where)
    return _fitted(embeddings, presence, where, normalize, features, sweeps)


@partial(jax.jit, static_argnames=("normalize", "num_features", "sweeps"))
@layout.automatic()
def _fitted(
    embeddings: AnyArray | Sequence[AnyArray],
    presence: Bool[Array, "M N"],
    where: Bool[Array, " N"] | None,
    normalize: bool,
    num_features: int,
    sweeps: int,
) -> Consensus:
    state = moments.moments_of(embeddings, presence, where, normalize)
    return rotations.of_moments(state, num_features, sweeps)
