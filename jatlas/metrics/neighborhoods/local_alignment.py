"""CKNNA: kernel alignment of what is near in two spaces."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jatlas._src import arrays, border, chunks, cka_moments, layout
from jatlas._src.arrays import AnyArray, Where
from jatlas.metrics.neighborhoods.nearest import check_neighborhoods, nearest_neighbors

SIMILARITIES = ("inner", "cosine")


@border.border
def cknna(
    x: Float[AnyArray, "N D1"],
    y: Float[AnyArray, "N D2"],
    k: int,
    *,
    similarity: str = "inner",
    where: Where = None,
) -> Float[Array, ""]:
    """Kernel alignment over the neighbours that two spaces share.

    Debiased CKA of inner products, set to zero for all pairs (i, j) but those where j
    is one of the k nearest to i in both spaces: `h(K, L) / sqrt(h(K, K) h(L, L))`, h
    being the unbiased HSIC of the kernels so masked; for h(K, K) the mask is that of x
    alone. With k = N - 1 it is debiased linear CKA. Not centered otherwise: it changes
    when a space is moved.

    Args:
        x: (N, D1), floating point.
        y: (N, D2), floating point; row n is the same sample as row n of x.
        k: the number of neighbours, 2 to N - 1.
        similarity: "inner", the inner product, or "cosine", that of unit rows, which
            the published values take.
        where: (N,), the samples that count, as neighbours too; all if None.

    Returns:
        A scalar in float32 or wider, at most about 1. NaN if a row holds a NaN or an
        infinity, for fewer than k + 1 samples or than four, and where h(K, K) or
        h(L, L) is not positive. The gradient takes the neighbours for constants, and is
        finite everywhere. Time grows with N^2, memory with N k^2.

    Raises:
        ValueError: if x and y are not floating point matrices of one N, k is below 2,
            there are not k other samples, or the similarity is unknown.

    Example:
        >>> import jax
        >>> x = jax.random.normal(jax.random.key(0), (50, 3))
        >>> cknna(x, 2 * x[:, ::-1], 10).round(3)
        Array(1., dtype=float32)

    Source: Huh et al., "The Platonic representation hypothesis" (2024), appendix A. Its
    code adds 1e-6 to the denominator; here nothing is.
    """
    arrays.check_count("k", k, 2)
    check_neighborhoods(x, y, k, where, similarity)
    if similarity not in SIMILARITIES:
        raise ValueError(
            f"unknown similarity {similarity!r}; known are {', '.join(SIMILARITIES)}."
        )
    return _cknna(x, y, k, where, similarity)


@partial(jax.jit, static_argnames=("k", "similarity"))
@layout.automatic()
def _cknna(
    x: Array, y: Array, k: int, where: Array | None, similarity: str
) -> Float[Array, ""]:
    rows = arrays.all_rows(x, where)
    dtype = jnp.result_type(x, y, jnp.float32)
    x, y = (arrays.rescaled(space.astype(dtype), rows)[0] for space in (x, y))
    if similarity == "cosine":
        x, y = arrays.unit(x), arrays.unit(y)
    fixed = jax.lax.stop_gradient((x, y))
    near_x, near_y = nearest_neighbors(fixed, rows, k, "inner")
    inner_x, inner_y = _inner(x, near_x), _inner(y, near_y)
    everyone = jnp.broadcast_to(rows[:, None], near_x.shape)
    shared = everyone & jnp.any(near_x[:, :, None] == near_y[:, None, :], axis=2)
    count = jnp.sum(rows, dtype=dtype)
    hsic = partial(_hsic, count=count)
    across = hsic(near_x, shared, inner_x, _inner(y, near_x))
    energies = [
        hsic(near, everyone, inner, inner)
        for near, inner in ((near_x, inner_x), (near_y, inner_y))
    ]
    (value_x, terms_x), (value_y, terms_y) = energies
    products = jnp.stack(
        [jnp.stack([value_x, across[0]]), jnp.stack([across[0], value_y])]
    )
    rounding = 32 * jnp.finfo(dtype).eps * jnp.stack([terms_x, terms_y])
    value = cka_moments.alignment(products, rounding)
    finite = jnp.all(jnp.isfinite(x)) & jnp.all(jnp.isfinite(y))
    return jnp.where(finite & (count > jnp.maximum(k, 3)), value, jnp.nan)


def _inner(x: Float[Array, "N D"], near: Int[Array, "N k"]) -> Float[Array, "N k"]:
    """Inner products of rows with their neighbours."""

    def products(samples: tuple[Array, Array]) -> Float[Array, "n k"]:
        queries, places = samples
        return jnp.sum(queries[:, None, :] * x[places], axis=2)

    return chunks.map_padded(products, (x, near))


def _hsic(
    near: Int[Array, "N k"],
    kept: Bool[Array, "N k"],
    k_values: Float[Array, "N k"],
    l_values: Float[Array, "N k"],
    count: Float[Array, ""],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The unbiased HSIC times n (n - 3), and its terms' sizes.

    Of two matrices that are zero but for the entries that are kept of row i in columns
    near[i]. The formula is that of symmetric kernels; these are not, as j can be near
    to i and i not near to j. So it holds K_ij L_ji, which is not zero where both are.
    """
    k_values, l_values = jnp.where(kept, k_values, 0), jnp.where(kept, l_values, 0)

    def is_back(samples: tuple[Array, Array]) -> Bool[Array, "n k"]:
        places, index = samples
        return jnp.any((near[places] == index[:, None, None]) & kept[places], axis=2)

    back = chunks.map_padded(is_back, (near, jnp.arange(len(near))))
    trace = jnp.sum(jnp.where(back, k_values * l_values, 0))
    start = layout.varying(jnp.zeros(len(near), k_values.dtype), k_values)
    columns = start.at[near].add(k_values)
    chained = jnp.sum(columns * jnp.sum(l_values, axis=1))
    n = jnp.where(count > 3, count, 4)
    squared = jnp.sum(k_values) * jnp.sum(l_values) / ((n - 1) * (n - 2))
    chained = 2 * chained / (n - 2)
    terms = jnp.abs(trace) + jnp.abs(squared) + jnp.abs(chained)
    return trace + squared - chained, jax.lax.stop_gradient(terms)
