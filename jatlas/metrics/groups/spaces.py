"""Measures of all pairs of many spaces."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jatlas._src import arrays, border, layout
from jatlas._src.arrays import AnyArray
from jatlas.metrics.alignment import cka
from jatlas.metrics.cca import mean_squared_cca, svcca
from jatlas.metrics.dependence import hsic, minibatch_cka
from jatlas.metrics.dissimilarity import rsa
from jatlas.metrics.neighborhoods.local_alignment import cknna
from jatlas.metrics.neighborhoods.neighbors import (
    jaccard_neighbors,
    mutual_neighbors,
    rank_biased_neighbors,
)
from jatlas.metrics.procrustes import procrustes_distance, procrustes_similarity
from jatlas.metrics.self_similarity import self_similarity_correlation

Measure = Callable[..., Array]

MEASURES: dict[str, Measure] = {
    "cka": cka,
    "cka-debiased": partial(cka, debiased=True),
    "cka-rbf": partial(cka, kernel="rbf"),
    "procrustes": procrustes_similarity,
    "cca": mean_squared_cca,
    "svcca": svcca,
    "neighbors": partial(mutual_neighbors, k=10, similarity="cosine"),
    "rank-biased": partial(rank_biased_neighbors, k=10),
    "cknna": partial(cknna, k=10),
    "rsa": rsa,
    "self-similarity": self_similarity_correlation,
}

# Of these half of the pairs are enough. CKNNA is not one: its mask is not symmetric.
_SYMMETRIC = {
    *(cka, hsic, minibatch_cka, procrustes_distance, procrustes_similarity),
    *(mean_squared_cca, svcca, mutual_neighbors, jaccard_neighbors),
    *(rank_biased_neighbors, rsa, self_similarity_correlation),
}
# These are quicker without a mask. A function of another may need the one it expects.
_TAKE_NO_MASK = _SYMMETRIC | {cknna}


class SpaceMatrices(NamedTuple):
    """Measures of all pairs of spaces.

    Attributes:
        values: of each measure, by its name, (M, K): of space m with space k.
        counts: (M, K), how many samples both have.
    """

    values: dict[str, Float[Array, "M K"]]
    counts: Float[Array, "M K"]


@border.border
def compare_spaces(
    spaces: Float[AnyArray, "M N D"] | Sequence[Float[AnyArray, "N _"]],
    presence: Bool[AnyArray, "M N"] | None = None,
    *,
    measures: Sequence[str] | Mapping[str, Measure] = ("cka",),
    other: Float[AnyArray, "K N E"] | Sequence[Float[AnyArray, "N _"]] | None = None,
    other_presence: Bool[AnyArray, "K N"] | None = None,
) -> SpaceMatrices:
    """Measure every pair of many spaces of the same N samples.

    Each pair is measured over the samples that both have. Pairs of spaces of the same
    two widths go through one compiled program, one pair at a time: memory grows as for
    one pair, beside that of the spaces.

    Args:
        spaces: (M, N, D), floating point, or M matrices (N, D_m); row n of each is
            sample n.
        presence: (M, N), which samples each space has; all if None. Rows of others are
            not looked at.
        measures: names of some of `MEASURES`, where neighbors are ten; or a dictionary
            of functions `f(x, y, where=)` of any names, such as
            `{"tight": partial(cka, kernel="rbf", sigma=0.1)}`. Of the functions of
            `jatlas.metrics` that are symmetric each pair is measured once, of any other
            twice.
        other: (K, N, D) or K matrices, as the columns: layers of another model, say.
            The spaces themselves if None.
        other_presence: (K, N), which samples these have.

    Returns:
        `SpaceMatrices`, in float32 or wider. NaN for pairs with too few samples in
        common for the measure. Gradients are those of the measures.

    Raises:
        ValueError: if there are no spaces, one is not a floating point matrix, N
            differs, presence is not boolean and (M, N), a measure is unknown, or a
            measure refuses its options.

    Example:
        >>> import jax
        >>> layers = jax.random.normal(jax.random.key(0), (3, 50, 4))
        >>> other = [2 * layers[1] + 1, layers[2, :, :3]]
        >>> alike = compare_spaces(layers, measures=["cka"], other=other)
        >>> alike.values["cka"].shape, alike.values["cka"][1, 0].round(3)
        ((3, 2), Array(1., dtype=float32))

    Source: Kornblith et al. (2019), figures 2 to 5, for matrices of layers.
    """
    first = _side("spaces", spaces, "presence", presence)
    second = first
    if other is not None:
        second = _side("other", other, "other_presence", other_presence)
        arrays.check_equal(
            "the number of samples N of spaces and other",
            [first.shape[1], second.shape[1]],
            "Row n must be the same sample in all spaces.",
        )
    dtype = jnp.result_type(
        *(group.spaces for side in (first, second) for group in side.groups),
        jnp.float32,
    )
    counts = _counts(_marked(first), _marked(second), dtype)
    values = {
        name: _matrix(measure, first, second, other is None, dtype)
        for name, measure in _named(measures).items()
    }
    return SpaceMatrices(values, counts)


class _Group(NamedTuple):
    """Spaces of one width, which of all they are, and their samples."""

    members: Int[np.ndarray, " G"]
    spaces: Float[Array, "G N D"]
    rows: Bool[Array, "G N"] | None


class _Side(NamedTuple):
    """Spaces by their widths, and which samples each has.

    Attributes:
        groups: the spaces of each width.
        shape: M and N.
        rows: (M, N); None where each has all.
    """

    groups: list[_Group]
    shape: tuple[int, int]
    rows: Bool[Array, "M N"] | None


def _side(name: str, spaces: Any, mask: str, presence: AnyArray | None) -> _Side:
    """The spaces by their widths, checked."""
    shown = _shown(spaces)
    if not shown:
        raise ValueError(f"{name} must be one space or more, got none.")
    for m, space in enumerate(shown):
        arrays.check_rows(f"{name}[{m}]", space)
    sizes = [space.shape[0] for space in shown]
    advice = "Row n must be the same sample in all; mark absent ones in `presence`."
    arrays.check_equal(f"the number of samples N of {name}", sizes, advice)
    shape = len(sizes), sizes[0]
    arrays.check_mask(mask, presence, shape, "(M, N)")
    rows = None if presence is None else jnp.asarray(presence)
    widths: dict[tuple[int, str], list[int]] = {}
    for m, space in enumerate(shown):
        widths.setdefault((space.shape[1], str(space.dtype)), []).append(m)
    if len(widths) == 1:
        whole = _Group(np.arange(len(sizes)), _stacked(spaces), rows)
        return _Side([whole], shape, rows)
    groups = []
    for some in map(np.array, widths.values()):
        marked = None if rows is None else rows[some]
        groups.append(_Group(some, _stacked([spaces[m] for m in some]), marked))
    return _Side(groups, shape, rows)


def _shown(spaces: Any) -> list[Any]:
    """The spaces' shapes and dtypes, which take no memory."""
    if not hasattr(spaces, "ndim"):
        return list(spaces)
    one = jax.ShapeDtypeStruct(spaces.shape[1:], spaces.dtype)
    return [one] * (spaces.shape[0] if spaces.ndim else 0)


def _stacked(spaces: Any) -> Array:
    if hasattr(spaces, "ndim"):
        return jnp.asarray(spaces)
    return jnp.stack([jnp.asarray(space) for space in spaces])


def _marked(side: _Side) -> Bool[AnyArray, "M N"]:
    """Which samples each space of a side has."""
    return np.ones(side.shape, bool) if side.rows is None else side.rows


@partial(jax.jit, static_argnames="dtype")
@layout.automatic()
def _counts(
    rows: Bool[Array, "M N"], columns: Bool[Array, "K N"], dtype: jnp.dtype
) -> Float[Array, "M K"]:
    return arrays.matmul(rows.astype(dtype), columns.T.astype(dtype))


def _named(measures: Sequence[str] | Mapping[str, Measure]) -> dict[str, Measure]:
    """Functions by their names."""
    if isinstance(measures, Mapping):
        return dict(measures)
    names = [measures] if isinstance(measures, str) else list(measures)
    if unknown := [name for name in names if name not in MEASURES]:
        raise ValueError(f"no measures {unknown}; known are {', '.join(MEASURES)}.")
    return {name: MEASURES[name] for name in names}


class _Program(NamedTuple):
    """A measure with its options, equal to another of the same ones."""

    function: Measure
    options: tuple[tuple[str, Any], ...] = ()


def _program(measure: Measure) -> _Program:
    if isinstance(measure, partial) and not measure.args:
        options = tuple(sorted(measure.keywords.items()))
        if all(isinstance(value, str | bool | int | float) for _, value in options):
            return _Program(measure.func, options)
    return _Program(measure)


def _matrix(
    measure: Measure, first: _Side, second: _Side, same: bool, dtype: jnp.dtype
) -> Float[Array, "M K"]:
    """The values of all pairs, by the widths of the spaces."""
    program = _program(measure)
    mirrored = same and program.function in _SYMMETRIC
    # Places are made on the host: as arrays of JAX they would take longer than small
    # spaces take to be measured.
    places = np.zeros((first.shape[0], second.shape[0]), np.int32)
    values: list[Array] = []
    start = 0
    for a, one in enumerate(first.groups):
        for b, other in enumerate(second.groups[a if mirrored else 0 :]):
            m = np.repeat(one.members, len(other.members))
            k = np.tile(other.members, len(one.members))
            half = None
            if mirrored and b == 0:
                half = np.flatnonzero(m <= k).astype(np.int32)
                m, k = m[half], k[half]
            sides = one.spaces, one.rows, other.spaces, other.rows
            values.append(_of_pairs(program, *sides, half))
            end = start + m.size
            places[m, k] = np.arange(start, end)
            if mirrored:
                places[k, m] = places[m, k]
            start = end
    return _placed(values, places, dtype)


@partial(jax.jit, static_argnames="dtype")
@layout.automatic()
def _placed(
    values: list[Float[Array, " _"]], places: Int[Array, "M K"], dtype: jnp.dtype
) -> Float[Array, "M K"]:
    """All values, each where its pairs are."""
    return jnp.concatenate([some.astype(dtype) for some in values])[places]


@partial(jax.jit, static_argnames="program")
@layout.automatic()
def _of_pairs(
    program: _Program,
    x: Float[Array, "G N D1"],
    rows_x: Bool[Array, "G N"] | None,
    y: Float[Array, "H N D2"],
    rows_y: Bool[Array, "H N"] | None,
    pairs: Int[Array, " P"] | None,
) -> Float[Array, " P"]:
    """A measure of pairs, one after another; all if None.

    Pair i H + j is of x[i] and y[j]. Each is made again for the gradient.
    """
    if pairs is None:
        pairs = jnp.arange(len(x) * len(y))

    @jax.checkpoint
    def value(pair: Int[Array, ""]) -> Float[Array, ""]:
        i, j = pair // len(y), pair % len(y)
        masks = [r[n] for r, n in ((rows_x, i), (rows_y, j)) if r is not None]
        if not masks and program.function not in _TAKE_NO_MASK:
            masks = [jnp.ones(x.shape[1], bool)]
        where = reduce(jnp.logical_and, masks) if masks else None
        return program.function(x[i], y[j], where=where, **dict(program.options))

    return jax.lax.map(value, pairs)
