"""How well one space predicts another by a linear map."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jatlas._src import arrays, border, layout, roots
from jatlas._src.arrays import Number, Where


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
    fold = (jnp.cumsum(rows) - 1) % folds

    @jax.checkpoint
    def errors(k: Array) -> Float[Array, "2"]:
        fitted, tested = rows & (fold != k), rows & (fold == k)
        (inner_x, mean_x), (inner_y, mean_y) = (
            arrays.center(space, fitted) for space in (x, y)
        )
        scatter = arrays.matmul(inner_x.T, inner_x)
        root = roots.inverse_sqrt(scatter, "highest", share * jnp.sum(inner_x**2))
        across = arrays.matmul(inner_x.T, inner_y)
        weights = arrays.matmul(root, arrays.matmul(root, across))
        target = arrays.keep(y - mean_y, tested)
        predicted = arrays.matmul(arrays.keep(x - mean_x, tested), weights)
        return jnp.stack([jnp.sum((target - predicted) ** 2), jnp.sum(target**2)])

    wrong, total = jnp.sum(jax.lax.map(errors, jnp.arange(folds)), axis=0)
    known = (jnp.sum(rows) >= folds) & (share >= 0)
    return jnp.where(known, 1 - arrays.safe_divide(wrong, total), jnp.nan)
