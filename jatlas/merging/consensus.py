"""Consensus coordinates: maps of all charts into one space."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jatlas._src import arrays, border, layout
from jatlas._src.arrays import AnyArray, Number
from jatlas._src.consensus import linked, moments, solving
from jatlas._src.consensus.solving import Consensus
from jatlas._src.weights import Weights
from jatlas.merging import contraction
from jatlas.merging.placed import merged

Stacked = Float[AnyArray, "M N D"] | Sequence[Float[AnyArray, "N _"]]

__all__ = ["Consensus", "apply_consensus", "fit_consensus", "merge_consensus"]


@border.border
def fit_consensus(
    embeddings: Float[AnyArray, "M N D"] | Sequence[Float[AnyArray, "N _"]],
    presence: Bool[AnyArray, "M N"],
    *,
    num_features: int | None = None,
    ridge: Number = 1.0,
    agreement_power: Number = 1.0,
    normalize: bool = False,
    where: Bool[AnyArray, " N"] | None = None,
) -> Consensus:
    """Fit the maps on which charts agree best about linked samples.

    It is a generalised CCA (MAXVAR) with a ridge and with missing rows. Each chart's
    linked rows, those of samples that two or more charts have, are centred and scaled
    to a mean squared norm of 1: X_m. With its ridge smoother
    P_m = X_m (X_m' X_m + ridge I)^(-1) X_m' and c_n the number of charts that have
    sample n, the consensus G (S, K) maximises

        tr G' (sum over m of P_m) G   subject to   G' diag(c) G = I

    and chart m's weights are W_m = (X_m' X_m + ridge I)^(-1) X_m' G. The eigenvalues
    w_k in [0, 1] are how far the charts agree about coordinate k, and x has

        f_m(x) = (x - mean_m) / scale_m  W_m diag(w^agreement_power)

    Charts need no sample in common as long as a chain of linked samples joins them. No
    anchors are chosen. What a chart is rotated or scaled by does not matter, nor does
    the order of charts and samples; a chart that is given twice counts twice. The sign
    of a coordinate is arbitrary: the largest weight is positive.

    Args:
        embeddings: (M, N, D), or M arrays (N, D_m) where the charts' dimensions differ.
            Rows of absent samples are not looked at.
        presence: (M, N), boolean.
        num_features: K, from 1 to the smaller of N and D_1 + ... + D_M; the widest
            chart's D_m if None, where N allows. Further coordinates agree the least.
        ridge: above 0, else all is NaN. Rows have a mean squared norm of 1, so that it
            has the same meaning for charts of any width and number of samples; 0.3 to 3
            was within a point of the best in all that was tried. Near 0 it is classical
            MAXVAR, and large it is the principal components of the charts side by side.
        agreement_power: not negative, else all is NaN. How much a coordinate counts
            that the charts agree about: 1 to find one chart's samples by another's
            rows, 2 where rows of single charts and of several lie in one index, 0.5 to
            keep more of each chart's own neighbours.
        normalize: bring rows to length one first.
        where: (N,), the samples that may be learned from; all if None.

    Returns:
        A `Consensus` in float32 or wider. It takes the smaller of two eigenproblems by
        the shapes: of D_1 + ... + D_M rows, or of N. All its numbers are NaN if charts
        are not joined by linked samples, one has fewer than two, or a linked row holds
        a NaN; where the presence can be read, the first two are refused. A chart whose
        linked rows are all alike has no scale, and its rows become NaN. Gradients are
        finite. Where agreements coincide they are exact for what does not depend on
        the choice of a basis: how coordinates of one agreement turn into each other is
        taken not to change.

    Raises:
        ValueError: if the shapes or dtypes are not these, num_features is out of range,
            or, outside of `jax.jit`, no chain of linked samples joins all charts or a
            chart has fewer than two; the message names the charts.

    Example:
        >>> import jax
        >>> hidden = jax.random.normal(jax.random.key(0), (60, 3))
        >>> turn = jnp.linalg.qr(jax.random.normal(jax.random.key(1), (3, 3)))[0]
        >>> charts = jnp.stack([hidden, 5 * hidden @ turn + 2])
        >>> both = jnp.ones((2, 60), bool)
        >>> consensus = fit_consensus(charts, both, ridge=1e-3)
        >>> consensus.agreement.round(2)
        Array([1., 1., 1.], dtype=float32)
        >>> first = apply_consensus(consensus, 0, charts[0])
        >>> jnp.allclose(first, apply_consensus(consensus, 1, charts[1]), atol=1e-4)
        Array(True, dtype=bool)

    Source: Kettenring, "Canonical analysis of several sets of variables" (1971), for
    MAXVAR; van de Velden and Bijmolt, "Generalized canonical correlation analysis of
    matrices with missing rows" (2006), for missing rows; Artetxe, Labaka and Agirre,
    "Generalizing and improving bilingual word embedding mappings" (2018), for the
    weights.
    """
    linked.check_charts(embeddings, presence, where)
    num_features = number_of_features(embeddings, num_features)
    if arrays.is_concrete(presence) and (where is None or arrays.is_concrete(where)):
        linked.check_linked(presence, where)
    return _fitted(
        embeddings, presence, where, ridge, agreement_power, normalize, num_features
    )


def number_of_features(embeddings: Stacked, given: int | None) -> int:
    """K; ValueError unless it is in range."""
    dimensions = moments.dimensions_of(embeddings)
    most = min(embeddings[0].shape[0], sum(dimensions))
    if given is None:
        return min(most, max(dimensions))
    words = "the smaller of N and D_1 + ... + D_M"
    return moments.check_features(given, most, words)


@partial(jax.jit, static_argnames=("normalize", "num_features"))
@layout.automatic()
def _fitted(
    embeddings: Stacked,
    presence: Bool[Array, "M N"],
    where: Bool[Array, " N"] | None,
    ridge: Number,
    agreement_power: Number,
    normalize: bool,
    num_features: int,
) -> Consensus:
    rows = (embeddings, presence, where, normalize)
    options = (num_features, ridge, agreement_power)
    width = sum(moments.dimensions_of(embeddings))
    if embeddings[0].shape[0] < width:
        return solving.of_rows(*rows, *options)
    return solving.of_moments(moments.moments_of(*rows), *options)


@border.border
def apply_consensus(
    consensus: Consensus, chart: int, embeddings: Float[AnyArray, "N D"]
) -> Float[Array, "N K"]:
    """Map rows of one chart to consensus coordinates.

    f(x) = (x - mean) / scale weights.

    Args:
        consensus: from `fit_consensus`, `choose_consensus` or `running.consensus`.
        chart: whose rows they are, 0 to M - 1.
        embeddings: (N, D_m), any rows of that chart, also ones that are not in others.

    Returns:
        (N, K) in the dtype of the embeddings.

    Raises:
        ValueError: if the embeddings are not a floating point matrix of the chart's
            width, or there is no such chart.

    Example:
        >>> rows = jnp.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]])
        >>> one = fit_consensus(rows[None], jnp.ones((1, 4), bool))
        >>> apply_consensus(one, 0, jnp.zeros((1, 2))).shape
        (1, 2)

    Source: as for `fit_consensus`.
    """
    arrays.check_rows("embeddings", embeddings)
    num_charts = consensus.scale.shape[0]
    arrays.check_count("chart", chart, 0)
    if chart >= num_charts:
        raise ValueError(
            f"chart must be from 0 to {num_charts - 1}, the charts that the consensus "
            f"was fitted on; got {chart}."
        )
    mean, weights = consensus.mean[chart], consensus.weights[chart]
    arrays.check_equal(
        f"the dimension D of chart {chart} of the consensus and of the embeddings",
        [mean.shape[0], embeddings.shape[1]],
        "Give rows of this chart.",
    )
    return _applied(
        embeddings, mean, consensus.scale[chart], weights, consensus.normalize
    )


@partial(jax.jit, static_argnames="normalize")
@layout.automatic("embeddings")
def _applied(
    embeddings: Array, mean: Array, scale: Array, weights: Array, normalize: bool
) -> Float[Array, "N K"]:
    rows = _moved(normalize, mean, scale, arrays.widen(embeddings))
    mapped = arrays.matmul(rows, weights)
    # Behind the product: in it a NaN would be in the gradient of the weights.
    return jnp.where(scale > 0, mapped, jnp.nan).astype(embeddings.dtype)


def _moved(
    normalize: bool,
    mean: Float[Array, " D"],
    scale: Float[Array, ""],
    x: Float[Array, "N D"],
) -> Float[Array, "N D"]:
    """A chart's rows, centered and scaled; zero where it has no scale."""
    x = arrays.unit(x) if normalize else x
    known = scale > 0
    return jnp.where(known, (x - mean) / jnp.where(known, scale, 1), 0)


@border.promoting
def merge_consensus(
    consensus: Consensus,
    embeddings: Float[AnyArray, "M N D"] | Sequence[Float[AnyArray, "N _"]],
    presence: Bool[AnyArray, "M N"],
    *,
    weights: Weights | None = None,
    empty: Number = jnp.nan,
    batch_size: int | None = None,
) -> Float[Array, "N K"]:
    """Embeddings to one space: the mean over charts of their consensus coordinates.

    As `merge`: one product of the charts side by side, some samples at a time, with no
    (M, N, K) formed.

    Args:
        consensus: of these charts.
        embeddings: (M, N, D), or M arrays (N, D_m). Rows of absent samples are not
            looked at. Samples need not be those that it was fitted on.
        presence: (M, N), boolean.
        weights: (M,) or (M, N), not negative (else NaN); all 1 if None.
        empty: what stands in the rows of a sample in no chart, or whose weights are
            all zero.
        batch_size: samples at a time, as in `merge`.

    Returns:
        (N, K) in the dtype of the embeddings, the widest of them, computed in float32
        or wider. Gradients are finite, and zero for absent rows. Of samples sharded
        over devices each makes the rows that it holds.

    Raises:
        ValueError: if charts differ in N, are not as many or not as wide as those of
            the consensus, presence has another shape or is not boolean, the weights are
            not (M,) or (M, N) and floating point, or batch_size is below 1.

    Example:
        >>> rows = jnp.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]])
        >>> charts, both = jnp.stack([rows, rows]), jnp.ones((2, 4), bool)
        >>> consensus = fit_consensus(charts, both)
        >>> merged = merge_consensus(consensus, charts, both)
        >>> jnp.allclose(merged, apply_consensus(consensus, 0, rows), atol=1e-6)
        Array(True, dtype=bool)

    Source: as for `fit_consensus`; the masked mean is that of Crisostomi et al., "From
    Charts to Atlas" (2023).
    """

    def check(embeddings: Stacked, consensus: Consensus) -> tuple[int, jnp.dtype]:
        linked.check_charts(embeddings, presence, None)
        contraction.check_consensus(embeddings, consensus)
        dtype = contraction.dtype_of(embeddings, (), None)
        return consensus.agreement.shape[0], dtype

    samples = (embeddings, presence, weights)
    rows = contraction.consensus_rows
    return merged(rows, check, samples, consensus, empty, batch_size, {})
