"""Translations of one chart's rows into another chart's space."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jatlas._src import arrays, border, layout
from jatlas._src.arrays import Number, Where
from jatlas._src.spectra.singular import rotation, singular
from jatlas.merging.transforms import Transform
from jatlas.merging.translation.least_squares import left_out_errors, solved

METHODS = ("ridge", "orthogonal", "affine", "relative")
# Two a decade, from 1e-5 to 1e2, of the mean squared length of a centered row.
RIDGES = tuple(10 ** (k / 2) for k in range(-10, 5))


@border.jit(static_argnames=("method", "rescale"))
@layout.automatic()
def fit_translation(
    source: Float[Array, "N D"],
    target: Float[Array, "N K"],
    *,
    where: Bool[Array, " N"] | None = None,
    method: str = "ridge",
    rescale: bool = True,
    ridges: Sequence[Number] | None = None,
) -> Transform:
    """Fit the transform of one chart's rows into another chart's space.

    x -> (x - mean of source) W + mean of target. With X and Y the centered rows, W is
    by method:

    - "ridge": (X'X + t I)^(-1) X'Y; t is chosen among `ridges`, shares of the mean
      `|x|^2`, by the squared error about rows that are left out one by one, in closed
      form from one decomposition of X.
    - "orthogonal": the rotation that brings X nearest to Y (Procrustes). The narrower
      space is padded with zeros. Directions that do not vary together are dropped.
    - "affine": X^+ Y, least squares; the smallest map if X does not say all.
    - "relative": A' (B')^+, with A and B the rows of X and Y of length one: the
      coordinates relative to the source's anchors, taken for those relative to the
      target's and turned back into the target's space. Each side needs its anchors
      alone; `fit_inverse_relative` is the second half by itself.

    The last inflates directions in which the target's anchors hardly vary, and what is
    noise there: it is for spaces that differ by little more than a rotation, or that
    were whitened, each by itself.

    Cosines divide by `|x - mean|`, which no affine map does. Here it is left out: a row
    comes out in the direction that inverse relative projection gives, which says
    nothing of lengths, with its own length.

    Of a new model's results in an index of old documents ridge and a rotation return as
    many, with a fifth of the documents in both models: .425 and .417 between two alike
    models of texts (`experiments/two_encoders`). A rotation needs fewer pairs and keeps
    all distances within the source.

    Args:
        source: (N, D), floating point; for "relative" the source's anchors.
        target: (N, K), floating point; row n is the same sample as row n of source.
        where: (N,), the rows it is fitted on; all if None. The others are not looked
            at.
        method: "ridge", "orthogonal", "affine" or "relative".
        rescale: for "orthogonal" and "relative": multiply by the factor that fits best,
            in least squares, or by that of the anchors' root mean squared lengths. The
            other methods scale by themselves.
        ridges: for "ridge": the t to choose from, 0 or more, else all is NaN; if None,
            15 from 1e-5 to 1e2, two a decade. One alone is taken as it is.

    Returns:
        A `Transform` with mean (D,), scale (D, K) and offset (K,), in float32 or wider.
        Of no rows all is NaN. Where nothing varies in the source, all goes to the mean
        of the target. Gradients are finite, those of the chosen ridge; first
        derivatives only.

    Raises:
        ValueError: if source and target are not floating point matrices of one N, the
            method is unknown, or ridges are given to another.

    Example:
        >>> import jax
        >>> from jatlas.merging.transforms import apply_transform
        >>> old = jax.random.normal(jax.random.key(0), (20, 3))
        >>> new = 2 * old[:, ::-1] + 5
        >>> fitted = fit_translation(old[:10], new[:10], method="orthogonal")
        >>> jnp.allclose(apply_transform(fitted, old), new, atol=1e-4)
        Array(True, dtype=bool)

    Source: Schönemann, "A generalized solution of the orthogonal Procrustes problem"
    (1966); Allen, "The relationship between variable selection and data augmentation"
    (1974), for rows left out; Maiorca et al., "Latent space translation via semantic
    alignment" (2023) and "Latent space translation via inverse relative projection"
    (2024).
    """
    _check(source, target, where)
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; known are {', '.join(METHODS)}.")
    if ridges is not None and method != "ridge":
        raise ValueError(f"ridges are of method 'ridge', and this is {method!r}.")
    rows = arrays.all_rows(source, where)
    dtype = jnp.result_type(source, target, jnp.float32)
    one, other = (_side(space.astype(dtype), rows) for space in (source, target))
    if method == "ridge":
        weights = _ridged(one.x, other.x, rows, RIDGES if ridges is None else ridges)
    elif method == "affine":
        parts = singular(one.x, _rounding(one.x, rows))
        weights = solved(one.x, other.x, jnp.zeros((), dtype), parts)
    elif method == "orthogonal":
        weights = _rotated(one.x, other.x, rows, rescale)
    else:
        turned = _inverse(arrays.unit(other.x))
        weights = arrays.matmul(arrays.unit(one.x).T, turned)
        if rescale:
            there, here = (arrays.safe_sqrt(jnp.sum(s.x**2)) for s in (other, one))
            weights = weights * arrays.safe_divide(there, here, 0.0)
    if rescale or method in ("ridge", "affine"):
        weights = weights * (one.factor / other.factor)
    return Transform(one.mean, weights, other.mean)


@border.jit()
@layout.automatic()
def fit_inverse_relative(
    anchors: Float[Array, "A D"], *, where: Bool[Array, " A"] | None = None
) -> Transform:
    """The transform from coordinates relative to anchors back into their space.

    r -> r (B')^+ length + mean, with B the centered anchors, of length one each, and
    length the root mean square before. It takes cosines to centered anchors: those that
    another chart has to its anchors of the same samples translate from there to here,
    and no one has both charts' anchors.

    Args:
        anchors: (A, D), floating point.
        where: (A,), those that count; all if None.

    Returns:
        A `Transform` with mean 0, (A,), scale (A, D) and offset (D,), in float32 or
        wider; of no anchors NaN. Rows come out at the mean length of the anchors from
        their mean, about: cosines say nothing of it.

    Raises:
        ValueError: if the shapes or dtypes are not these.

    Example:
        >>> import jax
        >>> from jatlas import apply_transform, fit_center, relativize
        >>> old = jax.random.normal(jax.random.key(0), (20, 3))
        >>> new = old[:, ::-1] + 5
        >>> centered = apply_transform(fit_center(old[:10]), old)
        >>> relative = relativize(centered, centered[:10])  # by the old chart alone
        >>> back = apply_transform(fit_inverse_relative(new[:10]), relative)
        >>> middle = new[:10].mean(axis=0)
        >>> cosines = jnp.diag(relativize(back - middle, new - middle))
        >>> jnp.allclose(cosines, 1, atol=1e-4)
        Array(True, dtype=bool)

    Source: Maiorca et al., "Latent space translation via inverse relative projection"
    (2024).
    """
    arrays.check_rows("anchors", anchors)
    arrays.check_mask("where", where, anchors.shape[:1], "(A,)")
    rows = arrays.all_rows(anchors, where)
    side = _side(arrays.widen(anchors), rows)
    square = arrays.safe_divide(jnp.sum(side.x**2), jnp.sum(rows))
    turned = arrays.keep(_inverse(arrays.unit(side.x)), rows)
    turned = turned * (arrays.safe_sqrt(square) / side.factor)
    return Transform(jnp.zeros(len(anchors), turned.dtype), turned, side.mean)


class _Side(NamedTuple):
    """Centered rows times a power of two, their mean and that power."""

    x: Float[Array, "N D"]
    mean: Float[Array, " D"]
    factor: Float[Array, ""]


def _side(x: Array, rows: Array) -> _Side:
    x, mean = arrays.center(x, rows)
    scaled, factor = arrays.rescaled(x, rows)
    return _Side(scaled, mean, factor)


def _rounding(x: Array, rows: Array) -> Array:
    """How much more rounding has to say where features outnumber rows."""
    count = jnp.maximum(jnp.sum(rows), 1)
    return jnp.sqrt(jnp.maximum(x.shape[1] / count, 1))


def _ridged(
    x: Array, y: Array, rows: Array, ridges: Sequence[Number]
) -> Float[Array, "D K"]:
    shares = jnp.stack([jnp.asarray(ridge, x.dtype) for ridge in ridges])
    shares = jnp.where(shares >= 0, shares, jnp.nan)
    unit = arrays.safe_divide(jnp.sum(x**2), jnp.sum(rows), 0.0)
    parts = singular(x, _rounding(x, rows))
    held = jax.lax.stop_gradient((y, rows, shares * unit))
    chosen = shares[jnp.argmin(left_out_errors(*held, parts))]
    return solved(x, y, jax.lax.stop_gradient(chosen) * unit, parts)


def _rotated(x: Array, y: Array, rows: Array, rescale: bool) -> Float[Array, "D K"]:
    across = arrays.matmul(x.T, y)
    wider = x if x.shape[1] > y.shape[1] else y
    weights = rotation(across, singular(across, _rounding(wider, rows)))
    if not rescale:
        return weights
    moved = arrays.matmul(x, weights)
    return weights * arrays.safe_divide(jnp.sum(moved * y), jnp.sum(moved**2), 0.0)


def _inverse(units: Float[Array, "A D"]) -> Float[Array, "A D"]:
    """(B')^+, the smallest map from cosines to anchors B back to rows."""
    parts = singular(units.T)
    eye, none = jnp.eye(units.shape[1], dtype=units.dtype), jnp.zeros((), units.dtype)
    return solved(units.T, eye, none, parts)


def _check(source: Array, target: Array, where: Where) -> None:
    """Raise ValueError unless rows are paired."""
    arrays.check_rows("source", source)
    arrays.check_rows("target", target)
    arrays.check_equal(
        "the number of samples N of source and target",
        [source.shape[0], target.shape[0]],
        "Row n must be the same sample in both spaces.",
    )
    arrays.check_mask("where", where, source.shape[:1], "(N,)")
