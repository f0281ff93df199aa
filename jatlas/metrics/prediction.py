"""How well one space predicts another by a linear map."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jatlas._src import arrays, border, layout
from jatlas._src.arrays import Number, Where
from jatlas._src.spectra import roots

_MOST_MEMORY = 4  # moments of folds, as a multiple of the spaces' memory
_SUPPORTED = 100  # times eps of the variance: a ridge that rounding does not reach


@border.jit(static_argnames="folds")
@layout.automatic()
def predictivity(
    x: Float[Array, "N D1"],
    y: Float[Array, "N D2"],
    *,
    folds: int = 5,
    ridge: Number = 0.01,
    where: Where = None,
) -> Float[Array, ""]:
    """The cross-validated share of the variance of y that x predicts linearly.

    `R^2 = 1 - sum |y_n - f(x_n)|^2 / sum |y_n - mean|^2` over all rows. For the rows of
    each fold f is the ridge regression of y on x, and the mean that of y, of the rows
    of the other folds: to predict nothing but the mean gives 0. It is not symmetric;
    `predictivity(y, x)` is the other way. Neither space's rotation, scale or place
    changes it.

    Args:
        x: (N, D1), floating point, the predictors.
        y: (N, D2), floating point, what is predicted; row n is the same sample as row n
            of x.
        folds: K, 2 or more. Of the rows that count, in order, every K-th is in one
            fold: shuffle rows whose order repeats.
        ridge: 0 or more: a share of the mean variance of the features of x, that is
            added to each variance. With 0, directions of x that rounding does not
            support are left out.
        where: (N,), the rows that count; all if None. The others are not looked at.

    Returns:
        A scalar in float32 or wider, at most 1, and below 0 where the map is worse than
        the mean. NaN if y does not vary, for fewer rows than folds, and for a negative
        ridge. Gradients are finite everywhere.

    Raises:
        ValueError: if x and y are not floating point matrices of one N, or there are
            fewer than two folds.

    Example:
        >>> import jax
        >>> x = jax.random.normal(jax.random.key(0), (50, 3))
        >>> y = x[:, :2] @ jax.random.normal(jax.random.key(1), (2, 2))
        >>> predictivity(x, y).round(2), (predictivity(y, x) < 0.7).item()
        (Array(1., dtype=float32), True)

    Source: Yamins et al. (2014) and Schrimpf et al., "Brain-Score" (2018), which take
    correlations and partial least squares; R^2 of ridge regression is as in Conwell et
    al. (2022).
    """
    arrays.check_pair(x, y, where)
    arrays.check_count("folds", folds, 2)
    rows = arrays.all_rows(x, where)
    dtype = jnp.result_type(x, y, jnp.float32)
    share = jnp.asarray(ridge, dtype) / x.shape[1]
    # Centered as a whole first: each fold's mean then is small, and keeps its digits.
    x, y = (
        roots.reduced(arrays.center(arrays.rescaled(s.astype(dtype), rows)[0], rows)[0])
        for s in (x, y)
    )
    order = _folds_of(len(rows), where, folds)
    counted = order < len(rows)
    x, y = (space.at[order].get(mode="fill", fill_value=0) for space in (x, y))

    @jax.checkpoint
    def errors(k: Array) -> Float[Array, "2"]:
        fitted = _without(k, x, y, counted, parts)
        weights = _ridge_weights(fitted, share)
        target = arrays.keep(y[k] - fitted.mean_y, counted[k])
        centered = arrays.keep(x[k] - fitted.mean_x, counted[k])
        predicted = arrays.matmul(centered, weights)
        return jnp.stack([jnp.sum((target - predicted) ** 2), jnp.sum(target**2)])

    # Kept only if they take no more memory than the spaces.
    parts = None
    if folds * x.shape[2] <= _MOST_MEMORY * len(rows):
        parts = jax.lax.map(lambda fold: _moments(*fold), (x, y, counted))
    wrong, total = jnp.sum(jax.lax.map(errors, jnp.arange(folds)), axis=0)
    known = (jnp.sum(rows) >= folds) & (share >= 0)
    return jnp.where(known, 1 - arrays.safe_divide(wrong, total), jnp.nan)


class _Moments(NamedTuple):
    """Of some rows: how many, their means, and products about these."""

    count: Float[Array, "*K"]  # type: ignore[assignment]  # hides tuple.count
    mean_x: Float[Array, "*K D1"]
    mean_y: Float[Array, "*K D2"]
    scatter: Float[Array, "*K D1 D1"]
    across: Float[Array, "*K D1 D2"]


def _folds_of(count: int, where: Where, folds: int) -> Int[Array, "K L"]:
    """Each fold's rows, in turn; N or above for none."""
    size = -(-count // folds)
    if where is None:
        order = jnp.arange(size * folds)
    else:
        (order,) = jnp.nonzero(where, size=size * folds, fill_value=count)
    return order.reshape(size, folds).T


def _moments(x: Array, y: Array, counted: Bool[Array, " L"]) -> _Moments:
    """The moments of the rows that count."""
    (x, mean_x), (y, mean_y) = (arrays.center(space, counted) for space in (x, y))
    count = jnp.sum(counted, dtype=x.dtype)
    mean_x, mean_y = (jnp.where(count > 0, mean, 0) for mean in (mean_x, mean_y))
    scatter, across = arrays.matmul(x.T, x), arrays.matmul(x.T, y)
    return _Moments(count, mean_x, mean_y, scatter, across)


def _without(
    k: Array, x: Array, y: Array, counted: Array, parts: _Moments | None
) -> _Moments:
    """The moments of all folds but one, from sums alone."""
    others = jnp.arange(len(counted)) != k
    if parts is None:
        x, y = (space.reshape(-1, space.shape[-1]) for space in (x, y))
        return _moments(x, y, (counted & others[:, None]).ravel())
    share = arrays.keep(parts.count, others)
    count = jnp.sum(share)
    share = arrays.safe_divide(share, count)
    mean_x, mean_y = (arrays.matmul(share, mean) for mean in parts[1:3])
    gap_x, gap_y = parts.mean_x - mean_x, parts.mean_y - mean_y
    weighted = gap_x * (share * count)[:, None]
    scatter, across = (
        jnp.tensordot(others.astype(x.dtype), part, 1, precision="highest")
        + arrays.matmul(weighted.T, gap)
        for part, gap in ((parts.scatter, gap_x), (parts.across, gap_y))
    )
    return _Moments(count, mean_x, mean_y, scatter, across)


def _ridge_weights(moments: _Moments, share: Float[Array, ""]) -> Float[Array, "D1 D2"]:
    """What the ridge regression multiplies x by.

    A ridge that rounding does not reach makes a matrix that has a Cholesky factor. Else
    it takes eigenvectors: some directions may be left out.
    """
    total = jnp.trace(moments.scatter)
    added = share * total
    eye = jnp.eye(len(moments.scatter), dtype=moments.scatter.dtype)
    supported = added > _SUPPORTED * jnp.finfo(eye.dtype).eps * total

    def by_factor(scatter: Array, across: Array) -> Array:
        # The other branch runs too under `vmap`: no NaN may come of it.
        safe = jnp.where(supported, scatter + added * eye, eye)
        return jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(safe), across)

    def by_root(scatter: Array, across: Array) -> Array:
        root = roots.inverse_sqrt(scatter, "highest", added)
        return arrays.matmul(root, arrays.matmul(root, across))

    return jax.lax.cond(supported, by_factor, by_root, moments.scatter, moments.across)
