"""Canonical correlations of two spaces, and their means."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jatlas._src import arrays, border, layout
from jatlas._src.arrays import Where
from jatlas._src.spectra import roots


@border.jit(static_argnames="ridge")
@layout.automatic()
def mean_squared_cca(
    x: Float[Array, "N D1"],
    y: Float[Array, "N D2"],
    *,
    ridge: float = 0.0,
    where: Where = None,
) -> Float[Array, ""]:
    """The mean squared canonical correlation of two spaces.

    `|Qx'Qy|^2 / min(rank x, rank y)`, Qx and Qy being orthonormal bases of the centered
    spaces. It does not change when a space goes through an invertible affine map. With
    as many features as samples it is 1 whatever the spaces: N should be far larger, or
    the ridge positive.

    Args:
        x: (N, D1), floating point.
        y: (N, D2), floating point; row n is the same sample as row n of x.
        ridge: 0 or more, constant under `jit`: a share of the mean variance of the
            features of a space, that is added to each variance. Correlations shrink
            with it, and depend on the features then: rotations change nothing, other
            linear maps do.
        where: (N,), the rows that count; all if None. The others are not looked at.

    Returns:
        A scalar in [0, 1] up to rounding, in float32 or wider. The rank is the number
        of directions that rounding supports. NaN where nothing varies in a space.
        Gradients are finite everywhere.

    Raises:
        ValueError: if x and y are not floating point matrices of one N, or the ridge is
            negative.

    Example:
        >>> import jax
        >>> x = jax.random.normal(jax.random.key(0), (50, 3))
        >>> y = x @ jax.random.normal(jax.random.key(1), (3, 3))
        >>> mean_squared_cca(x, y).round(3)
        Array(1., dtype=float32)

    Source: Hotelling (1936); as a measure, Kornblith et al. (2019), table 1, R^2_CCA,
    which divides by the smaller number of features. Published code differs in whether
    it centers the spaces: this does.
    """
    sides = _pair(x, y, where, ridge)
    (u, rank_x), (v, rank_y) = (_whitened(side, ridge) for side in sides)
    squares = jnp.sum(arrays.matmul(u.T, v) ** 2)
    return _over(squares, jnp.minimum(rank_x, rank_y))


@border.jit(static_argnames="variance")
@layout.automatic()
def svcca(
    x: Float[Array, "N D1"],
    y: Float[Array, "N D2"],
    *,
    variance: float = 0.99,
    where: Where = None,
) -> Float[Array, ""]:
    """The mean canonical correlation of two spaces' principal components.

    Of each centered space the fewest principal components are kept that hold this share
    of its variance, kx and ky of them. The value is the sum of the canonical
    correlations of these over min(kx, ky): of the correlations, not of their squares.
    It does not change when a space is rotated, moved or rescaled as a whole.

    Args:
        x: (N, D1), floating point.
        y: (N, D2), floating point; row n is the same sample as row n of x.
        variance: the share of the variance to keep, above 0 and at most 1, constant
            under `jit`. With 1 all directions are kept that rounding supports.
        where: (N,), the rows that count; all if None. The others are not looked at.

    Returns:
        A scalar in [0, 1] up to rounding, in float32 or wider. NaN where nothing varies
        in a space. The gradient takes kx and ky for constants; it is finite everywhere.

    Raises:
        ValueError: if x and y are not floating point matrices of one N, or the variance
            is not in (0, 1].

    Example:
        >>> import jax
        >>> x = jax.random.normal(jax.random.key(0), (50, 3))
        >>> svcca(x, 2 * x[:, ::-1] + 1).round(3)
        Array(1., dtype=float32)

    Source: Raghu et al., "SVCCA" (2017), section 2. Published code differs: some keep a
    fixed number of components, some take the mean of the squares (R^2_SVCCA).
    """
    if not 0 < variance <= 1:
        raise ValueError(f"variance must lie in (0, 1], got {variance}.")
    sides = _pair(x, y, where, 0.0)
    (u, kept_x), (v, kept_y) = (_components(side, variance) for side in sides)
    across = arrays.matmul(u.T, v)
    # The derivative of a sum of singular values takes the vectors for constants.
    left, _, right = jax.lax.stop_gradient(jnp.linalg.svd(across, full_matrices=False))
    total = jnp.sum(arrays.matmul(left.T, across) * right)
    return _over(total, jnp.minimum(kept_x, kept_y))


@border.jit(static_argnames="ridge")
@layout.automatic()
def pwcca(
    x: Float[Array, "N D1"],
    y: Float[Array, "N D2"],
    *,
    ridge: float = 0.0,
    where: Where = None,
) -> Float[Array, ""]:
    """The mean canonical correlation of two spaces, weighted by what explains x.

    `sum_i a_i rho_i / sum_i a_i` with `a_i = sum_j |<h_i, x_j>|`: h_i is the i-th
    canonical variate of x, of length one, x_j the j-th feature of x, centered. It is
    not symmetric. An invertible affine map of y changes nothing. Of x it may be scaled
    as a whole, moved, and its features permuted, but not rotated: the weights are sums
    over its features.

    Args:
        x: (N, D1), floating point, whose features give the weights.
        y: (N, D2), floating point; row n is the same sample as row n of x.
        ridge: as for `mean_squared_cca`; the variates are then shorter than one.
        where: (N,), the rows that count; all if None. The others are not looked at.

    Returns:
        A scalar in [0, 1] up to rounding, in float32 or wider. NaN where nothing varies
        in a space. Gradients are finite everywhere; where two correlations coincide
        they take the variates of these for constants.

    Raises:
        ValueError: if x and y are not floating point matrices of one N, or the ridge is
            negative.

    Example:
        >>> import jax
        >>> x = jax.random.normal(jax.random.key(0), (50, 3))
        >>> pwcca(x, x @ jax.random.normal(jax.random.key(1), (3, 3))).round(3)
        Array(1., dtype=float32)

    Source: Morcos, Raghu and Bengio, "Insights on representational similarity in neural
    networks with canonical correlation" (2018), section 2.2. Their code takes the
    weights from the space with fewer features, this one from x.
    """
    sides = _pair(x, y, where, ridge)
    (u, rank_x), (v, rank_y) = (_whitened(side, ridge) for side in sides)
    across = arrays.matmul(u.T, v)
    # Of the power zero: the vectors themselves. The identity keeps those of no
    # correlation, which have a weight too.
    eye = jnp.eye(len(across), dtype=across.dtype)
    _, turn = roots.eigen(arrays.matmul(across, across.T) + eye, 0.0)
    rank = jnp.minimum(rank_x, rank_y)
    turn = jnp.where(jnp.arange(len(across)) < rank, turn, 0)
    # Lengths, not roots of eigenvalues: small correlations keep their digits.
    images = arrays.matmul(turn.T, across)
    correlations = arrays.safe_sqrt(jnp.sum(images**2, axis=1))
    variates = arrays.matmul(u, turn)
    weights = jnp.sum(jnp.abs(arrays.matmul(variates.T, sides[0])), axis=1)
    return arrays.safe_divide(jnp.sum(weights * correlations), jnp.sum(weights))


def _pair(
    x: Array, y: Array, where: Where, ridge: float
) -> tuple[Float[Array, "N D1"], Float[Array, "N D2"]]:
    """The centered spaces, their unit free."""
    arrays.check_pair(x, y, where)
    if not ridge >= 0:
        raise ValueError(f"ridge must be 0 or more, got {ridge}.")
    rows = arrays.all_rows(x, where)
    dtype = jnp.result_type(x, y, jnp.float32)
    x, y = (
        arrays.center(arrays.rescaled(space.astype(dtype), rows)[0], rows)[0]
        for space in (x, y)
    )
    return x, y


def _whitened(
    x: Float[Array, "N D"], ridge: float
) -> tuple[Float[Array, "N R"], Float[Array, ""]]:
    """The space whitened, up to a rotation, and its rank."""
    basis = _basis(x)
    rank = jax.lax.stop_gradient(jnp.round(jnp.sum(basis**2)))
    if ridge == 0:
        return basis, rank
    added = ridge * jnp.sum(x**2) / x.shape[1]
    small = roots.reduced(x)
    root = roots.inverse_sqrt(arrays.matmul(small.T, small), "highest", added)
    return arrays.matmul(small, root), rank


def _basis(x: Float[Array, "N D"]) -> Float[Array, "N R"]:
    """An orthonormal basis of the columns, zero beyond the rank.

    In two steps, as one would lose every direction below the root of eps: columns of
    size one are turned and stretched by constants until they are nearly orthonormal,
    which does not change what they span, and then made so. The derivative is that of
    the second step alone, up to a rotation of the basis.
    """
    x = roots.reduced(x / arrays.magnitude(x, axis=0))
    scatter = jax.lax.stop_gradient(arrays.matmul(x.T, x))
    values, vectors = jnp.linalg.eigh(scatter, symmetrize_input=True)
    # What lies below is noise, and shall not be stretched to more than noise.
    noise = max(roots.ROUNDING, x.shape[1]) * jnp.finfo(x.dtype).eps
    floor = jnp.maximum(values, noise * jnp.max(jnp.abs(values), initial=0))
    near = arrays.matmul(x, arrays.safe_divide(vectors, arrays.safe_sqrt(floor), 0.0))
    root = roots.inverse_sqrt(arrays.matmul(near.T, near), "highest")
    return arrays.matmul(near, root)


def _components(
    x: Float[Array, "N D"], variance: float
) -> tuple[Float[Array, "N R"], Float[Array, ""]]:
    """Principal components of length one, zero but for those kept; how many."""
    x = roots.reduced(x)
    values, columns = roots.eigen(arrays.matmul(x.T, x), -0.5)
    values = jax.lax.stop_gradient(jnp.maximum(values, 0))
    before = jnp.cumsum(values) - values
    kept = jnp.any(jax.lax.stop_gradient(columns) != 0, axis=0)
    if variance < 1:
        kept &= before < variance * jnp.sum(values)
    return arrays.matmul(x, jnp.where(kept, columns, 0)), jnp.sum(kept, dtype=x.dtype)


def _over(total: Float[Array, ""], count: Float[Array, ""]) -> Float[Array, ""]:
    return arrays.safe_divide(total, count)
