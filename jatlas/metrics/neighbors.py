"""The nearest neighbours that two spaces have in common."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jatlas._src import arrays, border, chunks, layout
from jatlas._src.arrays import AnyArray, Where

# Columns of a group, whose largest value is looked at before its values are.
_GROUP = 16


@border.border
def mutual_neighbors(
    x: Float[AnyArray, "N D1"],
    y: Float[AnyArray, "N D2"],
    k: int,
    *,
    where: Where = None,
    similarity: str = "inner",
) -> Float[Array, ""]:
    """The share of k nearest neighbours that two spaces have in common.

    The mean over the samples of `|nn_x(n) and nn_y(n)| / k`, the sample itself left
    out. The published measure takes as nearest those with the largest inner product:
    with rows of unlike length, long ones are near to everyone. Of unit rows these are
    the neighbours by cosine, and by Euclidean distance too.

    Args:
        x: (N, D1), floating point.
        y: (N, D2), floating point; row n is the same sample as row n of x.
        k: the number of neighbours, 1 to N - 1.
        where: (N,), the samples that count, as neighbours too; all if None.
        similarity: "inner", or "euclidean", minus the distance, for rows of unlike
            length.

    Returns:
        A scalar in [0, 1] in float32 or wider; near k / (N - 1) for spaces that have
        nothing to do with each other. Of equally near neighbours those of lower index
        are taken. NaN if a row holds a NaN or an infinity, or fewer than k + 1 samples
        count. Its gradient is zero.

    Raises:
        ValueError: if x and y are not floating point matrices of one N, there are not
            k other samples, or the similarity is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[0.0], [1.0], [3.0], [7.0]])
        >>> mutual_neighbors(x, x[::-1], 1, similarity="euclidean")
        Array(0.5, dtype=float32)

    Source: Huh et al., "The Platonic representation hypothesis" (2024), appendix A.
    """
    arrays.check_pair(x, y, where)
    check_neighbors(k, len(x), where)
    if similarity not in NEARNESS:
        raise ValueError(
            f"unknown similarity {similarity!r}; known are {', '.join(NEARNESS)}."
        )
    return _mutual_neighbors(x, y, k, where, similarity)


@partial(jax.jit, static_argnames=("k", "similarity"))
@layout.automatic()
def _mutual_neighbors(
    x: Array, y: Array, k: int, where: Array | None, similarity: str
) -> Float[Array, ""]:
    rows = arrays.all_rows(x, where)
    x, y = (
        jax.lax.stop_gradient(arrays.rescaled(arrays.widen(space), rows)[0])
        for space in (x, y)
    )

    def shared(samples: tuple[Array, Array, Array]) -> Int[Array, " n"]:
        *queries, index = samples
        candidates = rows & (jnp.arange(len(rows)) != index[:, None])
        nearest_x, nearest_y = (
            _largest(
                jnp.where(candidates, NEARNESS[similarity](query, space), -jnp.inf), k
            )
            for query, space in zip(queries, (x, y), strict=True)
        )
        return jnp.sum(nearest_x[:, :, None] == nearest_y[:, None, :], axis=(1, 2))

    shares = chunks.map_padded(shared, (x, y, jnp.arange(len(rows)))) / k
    value = arrays.safe_divide(
        arrays.masked_sum(shares.astype(jnp.result_type(x, y)), rows), jnp.sum(rows)
    )
    known = (jnp.sum(rows) > k) & jnp.all(jnp.isfinite(x)) & jnp.all(jnp.isfinite(y))
    return jnp.where(known, value, jnp.nan)


def _largest(values: Float[Array, "n N"], k: int) -> Int[Array, "n k"]:
    """Where the k largest values of each row are, ties in order.

    They lie in the k groups of columns whose largest values are the largest, and of
    equal ones the first: any other value has k before it. So most are only looked at in
    finding the largest of their group.
    """
    if values.shape[1] < 4 * k * _GROUP:
        return jax.lax.top_k(values, k)[1]
    missing = -values.shape[1] % _GROUP
    values = jnp.pad(values, ((0, 0), (0, missing)), constant_values=-jnp.inf)
    groups = values.reshape(len(values), -1, _GROUP)
    # In the order of the columns again, for the ties between them.
    chosen = jnp.sort(jax.lax.top_k(jnp.max(groups, axis=2), k)[1], axis=1)
    of_chosen = jnp.take_along_axis(groups, chosen[:, :, None], axis=1)
    places = jax.lax.top_k(of_chosen.reshape(len(values), -1), k)[1]
    group = jnp.take_along_axis(chosen, places // _GROUP, axis=1)
    return group * _GROUP + places % _GROUP


def _inner(of: Float[Array, "n D"], x: Float[Array, "N D"]) -> Float[Array, "n N"]:
    return arrays.matmul(of, x.T)


def _minus_square(
    of: Float[Array, "n D"], x: Float[Array, "N D"]
) -> Float[Array, "n N"]:
    return -arrays.squared_distances(x, of).T


NEARNESS: dict[str, Callable[[Array, Array], Array]] = {
    "inner": _inner,
    "euclidean": _minus_square,
}


def check_neighbors(k: int, num_rows: int, where: AnyArray | None) -> None:
    """Raise ValueError unless every sample has k others, if known."""
    count = num_rows
    if where is not None and arrays.is_concrete(where):
        count = int(where.sum())
    if not 1 <= k < count:
        raise ValueError(
            f"k must be from 1 to one less than the number of samples that count; got "
            f"k={k} and {count} samples of {num_rows}."
        )
