"""The atlas as a running sum: charts join one after another, in any order."""

from typing import NamedTuple

import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from jatlas._src import arrays, border
from jatlas._src.arrays import Number
from jatlas._src.weights import row_weights

__all__ = ["AtlasState", "add", "combine", "empty", "value"]


class AtlasState(NamedTuple):
    """A running merged space: sums over the charts that have joined so far.

    Attributes:
        total: (N, A), sum of the charts' relative representations where present.
        count: (N,), sum of the weights of these charts: their number, if unweighted.
    """

    total: Float[Array, "N A"]
    count: Float[Array, " N"]  # type: ignore[assignment] # hides tuple.count


def empty(
    num_samples: int, num_anchors: int, dtype: DTypeLike = jnp.float32
) -> AtlasState:
    """An atlas that no chart has joined yet.

    Args:
        num_samples: N.
        num_anchors: A.
        dtype: of its sums; float32 where it is narrower.

    Returns:
        An `AtlasState` of zeros, total (N, A) and count (N,).

    Example:
        >>> empty(3, 2).total.shape
        (3, 2)
    """
    dtype = jnp.promote_types(dtype, jnp.float32)
    shape = (num_samples, num_anchors)
    return AtlasState(jnp.zeros(shape, dtype), jnp.zeros(num_samples, dtype))


@border.jit()
def add(
    atlas: AtlasState,
    relative: Float[Array, "N A"],
    presence: Bool[Array, " N"],
    *,
    weights: Number | Float[Array, " N"] | None = None,
) -> AtlasState:
    """The atlas after one more chart. Their order does not matter, but for rounding.

    Args:
        atlas: over N samples and A anchors.
        relative: (N, A), the chart's relative representation. Rows of absent samples
            are not looked at.
        presence: (N,), boolean.
        weights: a scalar or (N,), not negative; 1 if None.

    Returns:
        An `AtlasState` of the same shapes, in the wider dtype of atlas and relative;
        never narrower than float32.

    Raises:
        ValueError: if the shapes or dtypes are not these.

    Example:
        >>> import jax.numpy as jnp
        >>> one = jnp.array([[0.5], [0.1]])
        >>> atlas = add(empty(2, 1), one, jnp.array([True, False]))
        >>> value(add(atlas, one, jnp.array([True, True])))
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
    return AtlasState(atlas.total + kept * w[:, None], atlas.count + w)


@border.jit()
def combine(a: AtlasState, b: AtlasState) -> AtlasState:
    """One atlas of the charts of both; for parts merged on different hosts.

    Args:
        a: an atlas over N samples and A anchors.
        b: another over the same, of other charts.

    Returns:
        An `AtlasState` of the same shapes, in the wider of the two dtypes.

    Raises:
        ValueError: if they differ in N or in A.

    Example:
        >>> combine(empty(3, 2), empty(3, 2)).total.shape
        (3, 2)
    """
    arrays.check_equal(
        "the shape (N, A) of the two atlases",
        [a.total.shape, b.total.shape],
        "Only atlases over the same samples and anchors can be combined.",
    )
    return AtlasState(a.total + b.total, a.count + b.count)


@border.jit()
def value(atlas: AtlasState, *, empty: Number = jnp.nan) -> Float[Array, "N A"]:
    """The merged space of the charts that have joined so far.

    Args:
        atlas: over N samples and A anchors.
        empty: what stands in the rows of a sample in no chart, or whose weights are
            all zero.

    Returns:
        (N, A) in the dtype of the atlas: total / count.

    Example:
        >>> value(empty(1, 2))
        Array([[nan, nan]], dtype=float32)
    """
    return arrays.safe_divide(atlas.total, atlas.count[:, None], empty)
