"""Centre, standardise, whiten: affine maps fitted on some rows, applied to any."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jatlas._src import arrays, layout
from jatlas._src.arrays import Number, Precision


class Transform(NamedTuple):
    """The affine map x -> (x - mean) scale.

    Attributes:
        mean: (D,). One number a feature: what comes out is centred to `eps |mean|`, in
            float32 a feature near 1e4 to 1e-3; differences of rows keep all digits.
        scale: (D,), one factor a feature, or (D, K), a matrix.
    """

    mean: Float[Array, " D"]
    scale: Float[Array, " D"] | Float[Array, "D K"]


@jax.jit
@layout.automatic()
def fit_center(
    embeddings: Float[Array, "N D"], *, where: Bool[Array, " N"] | None = None
) -> Transform:
    """The transform that takes the mean off every feature.

    Args:
        embeddings: (N, D), floating point.
        where: (N,), the rows it is fitted on; all if None. Of no rows the mean is NaN.

    Returns:
        A `Transform` with mean (D,) and scale 1, in float32 or wider.

    Raises:
        ValueError: if the shapes or dtypes are not these.

    Example:
        >>> import jax.numpy as jnp
        >>> rows = jnp.array([[1.0, 10.0], [3.0, 30.0]])
        >>> apply_transform(fit_center(rows), rows)
        Array([[ -1., -10.],
               [  1.,  10.]], dtype=float32)
    """
    _, mean = _centred(embeddings, where)
    return Transform(mean, jnp.ones_like(mean))


@jax.jit
@layout.automatic()
def fit_standardize(
    embeddings: Float[Array, "N D"], *, where: Bool[Array, " N"] | None = None
) -> Transform:
    """The transform that gives every feature mean 0 and standard deviation 1.

    The deviation is that of the population (divided by N), as in scikit-learn's
    `StandardScaler`; a constant feature is centred only. So is one whose values differ
    by no more than rounding, `4 eps |mean|`.

    Args:
        embeddings: (N, D), floating point.
        where: (N,), the rows it is fitted on; all if None.

    Returns:
        A `Transform` with mean and scale (D,), in float32 or wider. Of no rows both
        are NaN.

    Raises:
        ValueError: if the shapes or dtypes are not these.

    Example:
        >>> import jax.numpy as jnp
        >>> rows = jnp.array([[1.0, 10.0], [3.0, 10.0]])
        >>> apply_transform(fit_standardize(rows), rows)
        Array([[-1.,  0.],
               [ 1.,  0.]], dtype=float32)
    """
    rest, mean = _centred(embeddings, where)
    count = jnp.sum(arrays.all_rows(embeddings, where))
    largest = arrays.magnitude(rest, axis=0)
    variance = arrays.safe_divide(jnp.sum((rest / largest) ** 2, axis=0), count)
    deviation = largest[0] * arrays.safe_sqrt(variance)
    return Transform(mean, arrays.safe_divide(jnp.ones_like(mean), deviation, 1.0))


@partial(jax.jit, static_argnames="precision")
@layout.automatic()
def fit_whiten(
    embeddings: Float[Array, "N D"],
    *,
    where: Bool[Array, " N"] | None = None,
    shrinkage: Number = 0.1,
    precision: Precision = "highest",
) -> Transform:
    """The transform that makes the covariance the identity, but for the shrinkage.

    x -> (x - mean) S^(-1/2), with S = (1 - shrinkage) covariance + shrinkage t I and t
    the mean variance of a feature. S^(-1/2) is the symmetric root (ZCA).

    Args:
        embeddings: (N, D), floating point.
        where: (N,), the rows it is fitted on; all if None.
        shrinkage: in [0, 1]; 0 trusts the covariance alone, 1 only rescales. With 0,
            directions in which nothing varies are mapped to zero, and so is everything
            if nothing varies at all (one row). Outside of [0, 1] the scale is NaN.
        precision: of the matrix products, as in `jax.lax.Precision`.

    Returns:
        A `Transform` with mean (D,) and scale (D, D), in float32 or wider. Of no rows
        both are NaN.

    Raises:
        ValueError: if the shapes or dtypes are not these.

    Example:
        >>> import jax.numpy as jnp
        >>> rows = jnp.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> white = apply_transform(fit_whiten(rows, shrinkage=0.0), rows)
        >>> (white.T @ white / 4).round(3)
        Array([[1., 0.],
               [0., 1.]], dtype=float32)

    Source: Ledoit and Wolf, "A well-conditioned estimator for large-dimensional
    covariance matrices" (2004), for the target of the shrinkage.
    """
    rest, mean = _centred(embeddings, where)
    rows = arrays.all_rows(embeddings, where)
    rest, factor = arrays.rescaled(rest, rows)
    covariance = jnp.matmul(rest.T, rest, precision=precision)
    covariance = arrays.safe_divide(covariance, jnp.sum(rows))
    root = inverse_sqrt(_shrunk(covariance, shrinkage), precision)
    return Transform(mean, root * factor)


@partial(jax.jit, static_argnames="precision")
@layout.automatic()
def fit_nystroem(
    anchor_relative: Float[Array, "A A"],
    *,
    ridge: Number = 1e-3,
    precision: Precision = "highest",
) -> Transform:
    """The transform from merged rows to orthonormal coordinates of the atlas's kernel.

    A merged row is r(x) = K(x, anchors), K being the mean of the charts' kernels. Its
    coordinates are badly conditioned. r(x) K(anchors, anchors)^(-1/2) are coordinates
    of the same width whose inner products approximate K(x, y).

    Args:
        anchor_relative: (A, A), the anchors' own merged rows. Its symmetric part is
            used: under partial presence it may not be symmetric.
        ridge: added to the eigenvalues, as a share of their mean; keeps directions
            that are rounding only from being blown up. Not negative, or the
            scale is NaN. Directions whose eigenvalue is not above rounding even so are
            mapped to zero.
        precision: of the matrix products, as in `jax.lax.Precision`.

    Returns:
        A `Transform` with mean 0 and scale (A, A), for merged rows (N, A).

    Raises:
        ValueError: if the argument is not a square floating point matrix.

    Example:
        >>> import jax.numpy as jnp
        >>> kernel = jnp.array([[1.0, 0.5], [0.5, 1.0]])
        >>> rows = apply_transform(fit_nystroem(kernel, ridge=0.0), kernel)
        >>> (rows @ rows.T).round(3)
        Array([[1. , 0.5],
               [0.5, 1. ]], dtype=float32)

    Source: Williams and Seeger, "Using the Nyström method to speed up kernel machines"
    (2001).
    """
    arrays.check_rows("anchor_relative", anchor_relative)
    arrays.check_equal(
        "the two sides of anchor_relative",
        anchor_relative.shape,
        "Give the rows of the anchors themselves, (A, A).",
    )
    kernel = arrays.widen(anchor_relative)
    ridge = jnp.where(jnp.asarray(ridge) >= 0, ridge, jnp.nan)
    share = ridge * jnp.trace(kernel) / kernel.shape[0]
    kernel = kernel + share * jnp.eye(kernel.shape[0], dtype=kernel.dtype)
    return Transform(
        jnp.zeros(kernel.shape[0], kernel.dtype), inverse_sqrt(kernel, precision)
    )


@partial(jax.jit, static_argnames="precision")
@layout.automatic("embeddings")
def apply_transform(
    transform: Transform,
    embeddings: Float[Array, "N D"],
    *,
    precision: Precision = "highest",
) -> Float[Array, "N K"]:
    """Rows through a fitted transform: (x - mean) scale.

    Args:
        transform: from `fit_center`, `fit_standardize`, `fit_whiten` or `fit_nystroem`.
        embeddings: (N, D), any rows, not only those that the transform was fitted on.
        precision: of the matrix product, as in `jax.lax.Precision`.

    Returns:
        (N, K) in the dtype of the embeddings; K is D but for a matrix (D, K).

    Raises:
        ValueError: if the embeddings are not a floating point matrix of width D.

    Example:
        >>> import jax.numpy as jnp
        >>> apply_transform(Transform(jnp.ones(2), jnp.full(2, 2.0)), jnp.zeros((1, 2)))
        Array([[-2., -2.]], dtype=float32)
    """
    arrays.check_rows("embeddings", embeddings)
    arrays.check_equal(
        "the dimension D of the transform and of the embeddings",
        [transform.mean.shape[0], embeddings.shape[1]],
        "Fit it on rows of the same space.",
    )
    rest = arrays.widen(embeddings) - transform.mean
    if transform.scale.ndim == 1:
        moved = rest * transform.scale
    else:
        moved = jnp.matmul(rest, transform.scale, precision=precision)
    return moved.astype(embeddings.dtype)


def _centred(embeddings: Array, where: Array | None) -> tuple[Array, Array]:
    arrays.check_rows("embeddings", embeddings)
    arrays.check_mask("where", where, embeddings.shape[:1], "(N,)")
    return arrays.center(arrays.widen(embeddings), arrays.all_rows(embeddings, where))


def _shrunk(covariance: Array, shrinkage: Number) -> Array:
    size = covariance.shape[0]
    shrinkage = jnp.asarray(shrinkage)
    shrinkage = jnp.where((shrinkage >= 0) & (shrinkage <= 1), shrinkage, jnp.nan)
    target = jnp.trace(covariance) / size * jnp.eye(size, dtype=covariance.dtype)
    return (1 - shrinkage) * covariance + shrinkage * target


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def inverse_sqrt(matrix: Float[Array, "D D"], precision: Precision) -> Array:
    """S^(-1/2) of a positive semi-definite matrix's symmetric part; null space to 0.

    The derivative is that of Daleckii and Krein, which stays finite where eigenvalues
    coincide: the derivative of an eigenvector, which JAX would go through, does not.
    The null space is taken to keep its dimension.
    """
    return _eigen(matrix, precision)[0]


def _eigen(matrix: Array, precision: Precision) -> tuple[Array, Array, Array, Array]:
    values, vectors = jnp.linalg.eigh(matrix, symmetrize_input=True)
    floor = matrix.shape[0] * jnp.finfo(values.dtype).eps * jnp.max(jnp.abs(values))
    kept = values > floor
    # A NaN fails every comparison; it must come out as NaN, not as a null space.
    roots = jnp.where(kept, jax.lax.rsqrt(jnp.where(kept, values, 1)), values * 0)
    root = jnp.matmul(vectors * roots, vectors.T, precision=precision)
    return root, values, vectors, roots


@inverse_sqrt.defjvp
def _inverse_sqrt_jvp(
    precision: Precision, primals: tuple[Array], tangents: tuple[Array]
) -> tuple[Array, Array]:
    root, values, vectors, roots = _eigen(*primals, precision)
    matmul = partial(jnp.matmul, precision=precision)
    # Divided differences of l^(-1/2): closed form between two kept eigenvalues, where
    # they may coincide; the plain quotient between a kept one and one of the null
    # space, where they cannot; zero within the null space.
    r, s = roots[:, None], roots[None, :]
    both = -arrays.safe_divide((r * s) ** 2, r + s, 0.0)
    gap = values[:, None] - values[None, :]
    mixed = arrays.safe_divide(r - s, jnp.where((r == 0) == (s == 0), 0, gap), 0.0)
    quotient = jnp.where((r > 0) & (s > 0), both, mixed)
    (tangent,) = tangents
    inside = matmul(matmul(vectors.T, (tangent + tangent.T) / 2), vectors)
    return root, matmul(matmul(vectors, quotient * inside), vectors.T)
