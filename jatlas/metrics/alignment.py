"""Centered kernel alignment: linear in feature space, and RBF."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jatlas._src import arrays, border, cka_moments, layout
from jatlas._src.arrays import Where
from jatlas.metrics.rbf import check_kernel, rbf_hsic


@border.jit(static_argnames=("kernel", "median", "debiased"))
@layout.automatic()
def cka(
    x: Float[Array, "N D1"],
    y: Float[Array, "N D2"],
    *,
    kernel: str = "linear",
    sigma: float | Array | tuple[float | Array, float | Array] | None = None,
    median: str = "lower_nonzero",
    debiased: bool = False,
    where: Where = None,
) -> Float[Array, ""]:
    """Centered kernel alignment of two spaces of the same N samples.

    CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)), K and L being the kernels of x and
    of y. The linear one is `|X'Y|^2 / (|X'X| |Y'Y|)` on centered columns, from features
    or, where that is less memory, from rows: (D1 + D2)^2 numbers or 2 N^2. It does not
    change when a space is rotated, moved, or rescaled as a whole; it does when a
    feature is rescaled.

    Args:
        x: (N, D1), floating point.
        y: (N, D2), floating point; row n is the same sample as row n of x.
        kernel: "linear" or "rbf", exp(-d^2 / (2 sigma^2)), in tiles: its time
            grows with N^2, its memory with N.
        sigma: width of the rbf kernel, in the unit of distances; one for both spaces or
            a pair. If None, `median_distance` of each space, through which the gradient
            goes too.
        median: the rule of `median_distance`. Published rules differ, and CKA with
            them; the default is that of the paper's code.
        debiased: use the unbiased HSIC of Song et al. (2012), which needs N > 3. The
            biased value is above zero for independent spaces, near D / (N + D).
        where: (N,), the rows that count; all if None. The others are not looked at.

    Returns:
        A scalar in float32 or wider: in [0, 1] up to rounding, or, debiased, about it
        and at most 1. NaN where it is not defined: a space in which nothing varies, no
        rows, one row; if debiased, up to three rows, and a space whose rows are all
        equally far apart; a kernel width of zero. Gradients are finite in all of these.

    Raises:
        ValueError: if x and y are not floating point matrices of one N, sigma is not a
            number or a pair of them, or the kernel or the median rule is unknown.

    Example:
        >>> import jax
        >>> x = jax.random.normal(jax.random.key(0), (50, 3))
        >>> cka(x, 2 * x[:, ::-1] + 1).round(3)
        Array(1., dtype=float32)

    Source: Kornblith et al., "Similarity of neural network representations revisited"
    (2019); debiased: Nguyen, Raghu and Kornblith (2021), equation 3.
    """
    arrays.check_pair(x, y, where)
    check_kernel(kernel, sigma, median)
    rows = arrays.all_rows(x, where)
    dtype = jnp.result_type(x, y, jnp.float32)
    x, y = x.astype(dtype), y.astype(dtype)
    if kernel == "linear":
        if cka_moments.by_grams(x.shape[0], x.shape[1] + y.shape[1]):
            return cka_moments.value_of_grams(x, y, rows, debiased)
        state = cka_moments.moments_of(x, y, rows, scaled=True)
        return cka_moments.value_of(state, debiased)
    sigmas = sigma if isinstance(sigma, tuple) else (sigma, sigma)
    products, rounding, _ = rbf_hsic((x, y), rows, sigmas, median, debiased)
    value = cka_moments.alignment(products, rounding)
    return jnp.where(jnp.sum(rows) > 3, value, jnp.nan) if debiased else value
