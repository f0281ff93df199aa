"""The nearest rows to each row of a space."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jatlas._src import arrays, chunks
from jatlas._src.arrays import AnyArray, Where
from jatlas._src.pairs.differences import squared_distances

# Columns of a group, whose largest value is looked at before its values are.
_GROUP = 16
# With fewer columns, or groups for each neighbor, looking at all is faster (measured).
_FEWEST, _GROUPS = 2000, 12


def nearest_neighbors(
    spaces: Sequence[Float[Array, "N _"]],
    rows: Bool[Array, " N"],
    k: int,
    similarity: str,
) -> list[Int[Array, "N k"]]:
    """Each row's k nearest others in each space, nearest first."""
    if similarity == "cosine":
        spaces = [arrays.unit(space) for space in spaces]

    def nearest(samples: tuple[Array, ...]) -> Int[Array, "n S k"]:
        *queries, index = samples
        candidates = rows & (jnp.arange(len(rows)) != index[:, None])
        both = zip(queries, spaces, strict=True)
        near = (NEARNESS[similarity](query, space) for query, space in both)
        return jnp.stack(
            [_largest(jnp.where(candidates, values, -jnp.inf), k) for values in near],
            axis=1,
        )

    index = jnp.arange(len(rows))
    return list(jnp.moveaxis(chunks.map_padded(nearest, (*spaces, index)), 1, 0))


def _largest(values: Float[Array, "n N"], k: int) -> Int[Array, "n k"]:
    """Where the k largest values of each row are, ties in order.

    They lie in the k groups of columns whose largest values are the largest, and of
    equal ones the first: any other value has k before it. So most are only looked at in
    finding the largest of their group.
    """
    if values.shape[1] < max(_FEWEST, _GROUPS * k * _GROUP):
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
    return -squared_distances(x, of).T


# Of unit rows the cosine is the inner product.
NEARNESS: dict[str, Callable[[Array, Array], Array]] = {
    "inner": _inner,
    "cosine": _inner,
    "euclidean": _minus_square,
}


def check_neighborhoods(
    x: AnyArray, y: AnyArray, k: int, where: Where, similarity: str
) -> None:
    """Raise ValueError unless the spaces have such neighbours."""
    arrays.check_pair(x, y, where)
    check_neighbors(k, len(x), where)
    if similarity not in NEARNESS:
        raise ValueError(
            f"unknown similarity {similarity!r}; known are {', '.join(NEARNESS)}."
        )


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
