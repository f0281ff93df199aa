"""HSIC, a measure of dependence, and CKA made of that of minibatches."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jatlas._src import arrays, border, cka_moments, layout
from jatlas._src.arrays import Where
from jatlas._src.spectra import roots
from jatlas.metrics.rbf import check_kernel, rbf_hsic


@border.jit(static_argnames=("kernel", "median", "debiased"))
@layout.automatic()
def hsic(
    x: Float[Array, "N D1"],
    y: Float[Array, "N D2"],
    *,
    kernel: str = "linear",
    sigma: float | Array | tuple[float | Array, float | Array] | None = None,
    median: str = "lower_nonzero",
    debiased: bool = False,
    where: Where = None,
) -> Float[Array, ""]:
    """The Hilbert-Schmidt independence criterion of two spaces.

    `tr(K H L H) / (N - 1)^2` with K and L the kernels of x and y and H = I - 1/N: for
    the linear kernel the squared norm of the covariance. Debiased, with the diagonals
    of K and L set to zero, `(tr(KL) + 1'K1 1'L1 / ((N-1)(N-2)) - 2 / (N-2) 1'KL1) /
    (N (N-3))`, whose mean over draws of samples does not depend on N. `cka` is what it
    is relative to that of each space with itself.

    Args:
        x: (N, D1), floating point.
        y: (N, D2), floating point; row n is the same sample as row n of x.
        kernel: "linear", k = x_i . x_j, or "rbf", exp(-d^2 / (2 sigma^2)), in tiles.
        sigma: width of the rbf kernel; as for `cka`.
        median: the rule of `median_distance` for a width of None.
        debiased: use the unbiased estimate, which needs N > 3.
        where: (N,), the rows that count; all if None. The others are not looked at.

    Returns:
        A scalar in float32 or wider: 0 and above up to rounding, or, debiased, about 0
        for independent spaces, below it too. NaN for fewer than two rows (debiased:
        four), and for a kernel width of zero. Gradients are finite in all of these.

    Raises:
        ValueError: as `cka`.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[0.0], [1.0], [2.0], [3.0], [4.0]])
        >>> hsic(x, 2 * x), hsic(x, 2 * x, debiased=True)
        (Array(25., dtype=float32), Array(20.666666, dtype=float32))

    Source: Gretton et al. (2005), equation 9; debiased: Song et al., "Feature selection
    via dependence maximization" (2012), equation 5.
    """
    arrays.check_pair(x, y, where)
    check_kernel(kernel, sigma, median)
    rows = arrays.all_rows(x, where)
    dtype = jnp.result_type(x, y, jnp.float32)
    x, y = x.astype(dtype), y.astype(dtype)
    if kernel == "linear":
        (x, unit_x), (y, unit_y) = (arrays.rescaled(space, rows) for space in (x, y))
        total = _linear((x, y), rows, debiased)[0][0, 1] / unit_x**2 / unit_y**2
    else:
        sigmas = sigma if isinstance(sigma, tuple) else (sigma, sigma)
        products, _, factors = rbf_hsic((x, y), rows, sigmas, median, debiased)
        total = arrays.safe_divide(products[0, 1], factors[0] * factors[1])
    n = jnp.sum(rows, dtype=dtype)
    some = n > (3 if debiased else 1)
    n = jnp.where(some, n, 5)
    value = total / (n * (n - 3) if debiased else (n - 1) ** 2)
    return jnp.where(some, value, jnp.nan)


@border.jit(static_argnames="batch_size")
@layout.automatic()
def minibatch_cka(
    x: Float[Array, "N D1"],
    y: Float[Array, "N D2"],
    batch_size: int,
    *,
    where: Where = None,
) -> Float[Array, ""]:
    """Linear CKA from the debiased HSIC of minibatches.

    `sum HSIC(K, L) / sqrt(sum HSIC(K, K) sum HSIC(L, L))`, the sums being over batches
    of consecutive rows. Debiased, it aims at the CKA of all rows whatever the size of
    the batches, so one batch is a fair sample of it: `1 - minibatch_cka(x, y, len(x))`
    is a training loss. For batches that come one at a time and all of whose rows count
    together, see `running.cka`.

    Args:
        x: (N, D1), floating point.
        y: (N, D2), floating point; row n is the same sample as row n of x.
        batch_size: 4 or more. What is left for the last batch counts if it has four
            rows or more.
        where: (N,), the rows that count; all if None. The others are not looked at.

    Returns:
        A scalar, at most 1, in float32 or wider. NaN if no batch has four rows that
        count, or if in no batch anything varies in a space. Gradients are finite.

    Raises:
        ValueError: if x and y are not floating point matrices of one N, or the batch
            size is below 4.

    Example:
        >>> import jax
        >>> x = jax.random.normal(jax.random.key(0), (50, 3))
        >>> minibatch_cka(x, 2 * x[:, ::-1] + 1, 8).round(3)
        Array(1., dtype=float32)

    Source: Nguyen, Raghu and Kornblith, "Do wide and deep networks learn the same
    things?" (2021), equation 2.
    """
    arrays.check_pair(x, y, where)
    arrays.check_count("batch_size", batch_size, 4)
    rows = arrays.all_rows(x, where)
    dtype = jnp.result_type(x, y, jnp.float32)
    # One unit for all batches: a sum over them of fourth powers.
    spaces = [arrays.rescaled(space.astype(dtype), rows)[0] for space in (x, y)]
    size = min(batch_size, max(len(rows), 1))
    missing = -len(rows) % size

    def batches(x: Array) -> Array:
        padded = jnp.pad(x, [(0, missing), *[(0, 0)] * (x.ndim - 1)])
        return padded.reshape(-1, size, *x.shape[1:])

    def products(batch: tuple[Array, Array, Array]) -> Float[Array, "2 2 2"]:
        *pair, counted = batch
        n = jnp.sum(counted, dtype=dtype)
        some = n > 3
        n = jnp.where(some, n, 4)
        sums = jnp.stack(_linear(pair, counted, True))
        return jnp.where(some, sums / (n * (n - 3)), 0)

    every = jax.lax.map(jax.checkpoint(products), tuple(map(batches, (*spaces, rows))))
    total, terms = jnp.sum(every, axis=0)
    # Of rows that are all equally far apart the energy is zero, but for rounding.
    rounding = 32 * jnp.finfo(dtype).eps * jnp.diag(terms)
    return cka_moments.alignment(total, rounding)


def _linear(
    spaces: tuple[Array, Array] | list[Array], rows: Bool[Array, " N"], debiased: bool
) -> tuple[Float[Array, "2 2"], Float[Array, "2 2"]]:
    """The three sums of kernel products, and their terms' sizes.

    K and L are the linear kernels of the centered spaces.
    Of centered features 1'K = 0: with the diagonals taken out, sums of K are -tr K, and
    those of its rows -k_ii. So |X'Y|^2 and the diagonals are all there is to know.
    """
    x, y = (roots.reduced(arrays.center(space, rows)[0]) for space in spaces)
    both = jnp.concatenate([x, y], axis=1)
    scatter = arrays.matmul(both.T, both) ** 2
    split = x.shape[1]
    across = jnp.sum(scatter[:split, split:])
    squares = [jnp.sum(scatter[:split, :split]), jnp.sum(scatter[split:, split:])]
    value = jnp.stack(
        [jnp.stack([squares[0], across]), jnp.stack([across, squares[1]])]
    )
    if not debiased:
        return value, value
    n = jnp.sum(rows, dtype=x.dtype)
    n = jnp.where(n > 3, n, 4)
    e = jnp.stack([jnp.sum(side**2, axis=1) for side in (x, y)])
    energy = jnp.sum(e, axis=1)
    diagonals = arrays.matmul(e, e.T) * n / (n - 2)
    totals = jnp.outer(energy, energy) / ((n - 1) * (n - 2))
    return value - diagonals + totals, value + diagonals + totals
