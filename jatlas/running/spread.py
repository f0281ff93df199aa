"""How far the charts of an atlas are apart about each sample, as a running state.

For arrays on the device, in any program. The commands on files keep the same moments on
the host, in float64, some rows at a time (`jatlas.files.sums`).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from jatlas._src import arrays, border
from jatlas._src.arrays import Number
from jatlas._src.weights import row_weights
from jatlas.running import atlas
from jatlas.running.atlas import AtlasState

__all__ = ["SpreadState", "add", "combine", "empty", "value"]


class SpreadState(NamedTuple):
    """An atlas, and the second moment of the charts about it.

    Attributes:
        atlas: the running mean; `value` and all that takes an `AtlasState` goes on it.
        squares: (N,), sum over charts of weight times squared deviation from the mean,
            the mean over the A coordinates.
        charts: (N,), how many charts have the sample, with a weight above zero.
    """

    atlas: AtlasState
    squares: Float[Array, " N"]
    charts: Float[Array, " N"]


def empty(
    num_samples: int, num_anchors: int, dtype: DTypeLike = jnp.float32
) -> SpreadState:
    """The state before any chart has joined.

    Args:
        num_samples: N.
        num_anchors: A.
        dtype: of the sums.

    Returns:
        A `SpreadState` of zeros.

    Example:
        >>> value(empty(2, 3))
        Array([nan, nan], dtype=float32)
    """
    empty = atlas.empty(num_samples, num_anchors, dtype)
    return SpreadState(empty, jnp.zeros_like(empty.count), jnp.zeros_like(empty.count))


@border.jit()
def add(
    spread: SpreadState,
    relative: Float[Array, "N A"],
    presence: Bool[Array, " N"],
    *,
    weights: Number | Float[Array, " N"] | None = None,
) -> SpreadState:
    """One more chart: as `running.atlas.add`, and its squared deviation.

    By West's update, `S + w (W / (W + w)) |x - mean|^2`, which loses no digits where
    the charts nearly agree. A mean of squares less the square of a mean would.

    Args:
        spread: over N samples and A anchors.
        relative: (N, A), the chart's relative representation. Absent rows are not
            looked at.
        presence: (N,), the samples that the chart has.
        weights: of the chart, a number or (N,); 1 if None. Not negative, else NaN.

    Returns:
        The state with the chart.

    Raises:
        ValueError: as `running.atlas.add`.

    Example:
        >>> import jax.numpy as jnp
        >>> spread, both = empty(2, 1), jnp.array([True, True])
        >>> spread = add(spread, jnp.array([[0.9], [0.1]]), both)
        >>> spread = add(spread, jnp.array([[0.5], [0.1]]), both)
        >>> value(spread).round(3)
        Array([0.2, 0. ], dtype=float32)

    Source: West, "Updating mean and variance estimates: an improved method" (1979).
    """
    arrays.check_mask("presence", presence, spread.charts.shape, "(N,)")
    before = spread.atlas
    after = atlas.add(before, relative, presence, weights=weights)
    weight = row_weights(presence, weights).astype(after.count.dtype)
    # The first chart of a sample has nothing to be apart from.
    later = (weight > 0) & (before.count > 0)
    rest = _apart(relative.astype(after.total.dtype), atlas.value(before))
    share = arrays.safe_divide(before.count, after.count, 0.0)
    moved = weight * share * jnp.mean(arrays.keep(rest, later) ** 2, axis=1)
    squares = spread.squares + moved
    return SpreadState(after, squares, spread.charts + (weight > 0))


@border.jit()
def combine(a: SpreadState, b: SpreadState) -> SpreadState:
    """One state of the charts of both; for parts made on different hosts.

    Args:
        a: over N samples and A anchors.
        b: over the same, of other charts.

    Returns:
        A `SpreadState` of the same shapes, in the wider of the two dtypes.

    Raises:
        ValueError: if they differ in N or in A.

    Example:
        >>> combine(empty(3, 2), empty(3, 2)).squares.shape
        (3,)

    Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for
    computing sample variances" (1979).
    """
    arrays.check_equal(
        "the number of samples N of the two states",
        [a.squares.shape, b.squares.shape],
        "Only states over the same samples and anchors can be combined.",
    )
    both = atlas.combine(a.atlas, b.atlas)
    known = (a.atlas.count > 0) & (b.atlas.count > 0)
    rest = _apart(atlas.value(a.atlas), atlas.value(b.atlas))
    apart = arrays.keep(rest, known)
    weight = arrays.safe_divide(a.atlas.count * b.atlas.count, both.count, 0.0)
    squares = a.squares + b.squares + weight * jnp.mean(apart**2, axis=1)
    return SpreadState(both, squares, a.charts + b.charts)


@border.jit()
def value(spread: SpreadState) -> Float[Array, " N"]:
    """How far the charts are apart about each sample.

    d(x) = sqrt((1/A) sum over anchors of the variance over charts of r_k(x)): the root
    mean square deviation of a coordinate from the atlas.

    Args:
        spread: of the charts that have joined so far.

    Returns:
        (N,) in the dtype of the state, in [0, 1] for cosines up to rounding; NaN of a
        sample in fewer than two charts, of which nothing is known, or whose weights are
        all zero. The gradient is zero where all charts agree.

    Example:
        >>> import jax.numpy as jnp
        >>> one = add(empty(1, 1), jnp.ones((1, 1)), jnp.array([True]))
        >>> value(one)
        Array([nan], dtype=float32)
    """
    variance = arrays.safe_divide(spread.squares, spread.atlas.count)
    return jnp.where(spread.charts > 1, arrays.safe_sqrt(variance), jnp.nan)


def _apart(x: Float[Array, "N A"], mean: Float[Array, "N A"]) -> Float[Array, "N A"]:
    """How far x is from the mean; zero where that is rounding, as of equal charts."""
    rounding = 4 * jnp.finfo(mean.dtype).eps * jnp.abs(mean)
    rest = x - mean
    return jnp.where(jnp.abs(rest) <= rounding, 0, rest)
