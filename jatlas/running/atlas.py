"""The masked mean over charts, and the atlas as a running sum."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from jatlas import arrays
from jatlas.arrays import AnyArray, Number

Weights = Float[AnyArray, " M"] | Float[AnyArray, "M N"]


class Atlas(NamedTuple):
    """A running merged space: sums over the charts that have joined so far.

    Attributes:
        total: (N, A), sum of the charts' relative representations where present.
        count: (N,), sum of the weights of these charts: their number, if unweighted.
    """

    total: Float[Array, "N A"]
    count: Float[Array, " N"]  # type: ignore[assignment] # hides tuple.count


@jax.jit
def masked_mean(
    relative: Float[Array, "M N A"],
    presence: Bool[Array, "M N"],
    *,
    weights: Weights | None = None,
    empty: Number = jnp.nan,
) -> Float[Array, "N A"]:
    """The atlas: every sample's mean over the charts in which it is present.

    r(x) = (1/K) sum over the K charts that have x of r_k(x).

    Args:
        relative: (M, N, A), each chart's relative representation. Rows of absent
            samples are not looked at and may hold anything, NaN too.
        presence: (M, N), boolean.
        weights: (M,) or (M, N), not negative (else NaN); the mean is then weighted. All
            1 if None.
        empty: what stands in the rows of a sample in no chart, or whose weights are
            all zero.

    Returns:
        (N, A) in the dtype of relative. Gradients are finite, and zero for absent rows.

    Raises:
        ValueError: if the shapes or dtypes are not these.

    Example:
        >>> import jax.numpy as jnp
        >>> relative = jnp.array([[[0.2], [0.4], [0.6]], [[0.4], [0.0], [0.0]]])
        >>> presence = jnp.array([[True, True, False], [True, False, False]])
        >>> masked_mean(relative, presence)
        Array([[0.3],
               [0.4],
               [nan]], dtype=float32)

    Source: Crisostomi et al., "From Charts to Atlas" (2023), section 3.
    """
    arrays.check_equal(
        "the number of axes of relative", [3, relative.ndim], "Give (M, N, A)."
    )
    arrays.check_floating("relative", relative)
    num_charts, num_samples, _ = relative.shape
    wide = arrays.widen(relative)
    w = chart_weights(presence, weights, (num_charts, num_samples), wide.dtype)
    kept = jnp.where(presence[..., None], wide, 0)
    total = jnp.einsum("mna,mn->na", kept, w, precision="highest")
    return atlas_mean(Atlas(total, w.sum(axis=0)), empty=empty).astype(relative.dtype)


def empty_atlas(
    num_samples: int, num_anchors: int, dtype: DTypeLike = jnp.float32
) -> Atlas:
    """An atlas that no chart has joined yet.

    Args:
        num_samples: N.
        num_anchors: A.
        dtype: of its sums; float32 where it is narrower.

    Returns:
        An `Atlas` of zeros, total (N, A) and count (N,).

    Example:
        >>> empty_atlas(3, 2).total.shape
        (3, 2)
    """
    dtype = jnp.promote_types(dtype, jnp.float32)
    shape = (num_samples, num_anchors)
    return Atlas(jnp.zeros(shape, dtype), jnp.zeros(num_samples, dtype))


@jax.jit
def add_chart(
    atlas: Atlas,
    relative: Float[Array, "N A"],
    presence: Bool[Array, " N"],
    *,
    weights: Number | Float[Array, " N"] | None = None,
) -> Atlas:
    """The atlas after one more chart. Their order does not matter, but for rounding.

    Args:
        atlas: over N samples and A anchors.
        relative: (N, A), the chart's relative representation. Rows of absent samples
            are not looked at.
        presence: (N,), boolean.
        weights: a scalar or (N,), not negative; 1 if None.

    Returns:
        An `Atlas` of the same shapes, in the wider dtype of atlas and relative; never
        narrower than float32.

    Raises:
        ValueError: if the shapes or dtypes are not these.

    Example:
        >>> import jax.numpy as jnp
        >>> one = jnp.array([[0.5], [0.1]])
        >>> atlas = add_chart(empty_atlas(2, 1), one, jnp.array([True, False]))
        >>> atlas_mean(add_chart(atlas, one, jnp.array([True, True])))
        Array([[0.5],
               [0.1]], dtype=float32)

    Source: Crisostomi et al., "From Charts to Atlas" (2023), section 3, as sums.
    """
    arrays.check_rows("relative", relative)
    arrays.check_equal(
        "the shape (N, A) of the atlas and of relative",
        [atlas.total.shape, relative.shape],
        "A chart joins with the same samples and the same anchors.",
    )
    arrays.check_mask("presence", presence, relative.shape[:1], "(N,)")
    dtype = jnp.result_type(atlas.total.dtype, relative.dtype, jnp.float32)
    w = row_weights(presence, weights).astype(dtype)
    kept = arrays.keep(relative.astype(dtype), presence)
    return Atlas(atlas.total + kept * w[:, None], atlas.count + w)


@jax.jit
def combine(a: Atlas, b: Atlas) -> Atlas:
    """One atlas of the charts of both; for parts merged on different hosts.

    Args:
        a: an atlas over N samples and A anchors.
        b: another over the same, of other charts.

    Returns:
        An `Atlas` of the same shapes, in the wider of the two dtypes.

    Raises:
        ValueError: if they differ in N or in A.

    Example:
        >>> combine(empty_atlas(3, 2), empty_atlas(3, 2)).total.shape
        (3, 2)
    """
    arrays.check_equal(
        "the shape (N, A) of the two atlases",
        [a.total.shape, b.total.shape],
        "Only atlases over the same samples and anchors can be combined.",
    )
    return Atlas(a.total + b.total, a.count + b.count)


@jax.jit
def atlas_mean(atlas: Atlas, *, empty: Number = jnp.nan) -> Float[Array, "N A"]:
    """The merged space of the charts that have joined so far.

    Args:
        atlas: over N samples and A anchors.
        empty: what stands in the rows of a sample in no chart, or whose weights are
            all zero.

    Returns:
        (N, A) in the dtype of the atlas: total / count.

    Example:
        >>> atlas_mean(empty_atlas(1, 2))
        Array([[nan, nan]], dtype=float32)
    """
    return arrays.safe_divide(atlas.total, atlas.count[:, None], empty)


def chart_weights(
    presence: AnyArray,
    weights: Weights | None,
    shape: tuple[int, int],
    dtype: DTypeLike,
) -> Float[Array, "M N"]:
    """The weight of each chart for each sample, zero where absent; dtype or wider."""
    arrays.check_mask("presence", presence, shape, "(M, N)")
    check_weights(weights, shape)
    if weights is None:
        return jnp.asarray(presence, dtype)
    w = _not_negative(jnp.asarray(weights, jnp.promote_types(weights.dtype, dtype)))
    return jnp.where(presence, w[:, None] if w.ndim == 1 else w, 0)


def check_weights(weights: Weights | None, shape: tuple[int, int]) -> None:
    """Raise ValueError unless weights are None, or floating point, (M,) or (M, N)."""
    if weights is None:
        return
    arrays.check_floating("weights", weights)
    if weights.shape not in ((shape[0],), shape):
        raise ValueError(
            f"weights must be (M,) or (M, N), here {(shape[0],)} or {shape}; got "
            f"{weights.shape}."
        )


def row_weights(presence: Array, weights: Number | Array | None) -> Array:
    """(N,): the weight of one chart for each sample, zero where absent."""
    if weights is None:
        return presence
    arrays.check_floating("weights", weights)
    if jnp.shape(weights) not in ((), presence.shape):
        raise ValueError(
            f"weights must be a scalar or (N,), here {presence.shape}; got "
            f"{jnp.shape(weights)}."
        )
    return jnp.where(presence, _not_negative(jnp.asarray(weights)), 0)


def _not_negative(weights: Array) -> Array:
    """NaN for a negative weight: of such, no mean of cosines need be a cosine."""
    return jnp.where(weights < 0, jnp.nan, weights)
