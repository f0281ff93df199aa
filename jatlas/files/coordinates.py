"""The coordinates of a file's rows in an atlas, made some rows at a time."""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jatlas._src.arrays import AnyArray
from jatlas.files.formats.faults import BadFile
from jatlas.files.progress import Advance
from jatlas.files.readers import Source, batches
from jatlas.files.recipe import Recipe
from jatlas.merging import transforms
from jatlas.merging.relative import similarities
from jatlas.merging.transforms import Transform

# Whitening is fitted on so many rows of a chart at most, evenly spread over it.
_FITTED_ON = 50_000


class Taken(NamedTuple):
    """Some rows of a file, and what a look at all of its rows has shown.

    Attributes:
        rows: (n, D), those that were wanted.
        zeros: how many of all rows are zero.
        constant: whether all rows, two at least, are the same.
    """

    rows: Float[np.ndarray, "n D"]
    zeros: int
    constant: bool


class Fitted(NamedTuple):
    """What a chart knows of the anchors, and what a look at its rows has shown.

    Attributes:
        anchors: (A, D), its embeddings of the anchors.
        transform: of its embeddings, if there is one.
        zeros: as in `Taken`.
        constant: as in `Taken`.
    """

    anchors: Float[np.ndarray, "A D"]
    transform: Transform | None
    zeros: int
    constant: bool


def fit_chart(
    source: Source,
    anchors: Int[np.ndarray, " A"],
    whiten: bool,
    batch_size: int,
    advance: Advance,
) -> Fitted:
    """A chart's embeddings of the anchors, and its transform, if there is to be one."""
    size = source.ids.size
    some = np.linspace(0, size - 1, min(size, _FITTED_ON) if whiten else 0).astype(int)
    taken = take_rows(source, np.concatenate([anchors, some]), batch_size, advance)
    own, rows = taken.rows[: anchors.size], taken.rows[anchors.size :]
    if not whiten:
        return Fitted(own, None, *taken[1:])
    transform = transforms.fit_whiten(jnp.asarray(rows))
    return Fitted(own, jax.tree.map(np.asarray, transform), *taken[1:])


def take_rows(
    source: Source,
    rows: Int[np.ndarray, " n"],
    batch_size: int,
    advance: Advance,
) -> Taken:
    """Some rows of a file, all of which are looked at."""
    taken = np.empty((rows.size, source.rows.shape[1]), np.float32)
    zeros, constant, first = 0, source.ids.size > 1, None
    for start, x in batches(source, batch_size):
        here = np.flatnonzero((rows >= start) & (rows < start + len(x)))
        taken[here] = x[rows[here] - start]
        first = x[:1].copy() if first is None else first
        zeros += int(np.sum(~x.any(axis=1)))
        constant = constant and bool((x == first).all())
        advance(len(x))
    return Taken(taken, zeros, constant)


def flat(source: Source, seen: Taken | Fitted) -> list[str]:
    """What is to be said of a chart whose rows tell its samples apart badly."""
    found = []
    if seen.zeros:
        found.append(
            f"{source.path}: {seen.zeros} of its {source.ids.size} rows are zero: of "
            "cosine 0 to every anchor, they pull the means of these samples towards 0. "
            "Leave them out if the encoder failed: the samples are then absent."
        )
    if seen.constant:
        found.append(
            f"{source.path}: all of its rows are the same, so that it tells no samples "
            "apart."
        )
    return found


def similar_to_anchors(
    recipe: Recipe, chart: int, rows: Float[np.ndarray, "n D"]
) -> Float[Array, "n A"]:
    """The relative representation of some rows of a chart, all at once."""
    transform = recipe.transforms[chart] if recipe.transforms else None
    anchors = jnp.asarray(recipe.anchors[chart], jnp.float32)
    if transform is not None:
        anchors = transforms.apply_transform(transform, anchors)
    x = jnp.asarray(rows, jnp.float32)
    return _similar(x, anchors, transform, recipe.similarity)


def relative_rows(
    recipe: Recipe, chart: int, source: Source, batch_size: int
) -> Iterator[tuple[int, Float[np.ndarray, "n A"]]]:
    """The relative representation of a chart's rows, some at a time."""
    transform = recipe.transforms[chart] if recipe.transforms else None
    anchors = jnp.asarray(recipe.anchors[chart], jnp.float32)
    if transform is not None:
        anchors = transforms.apply_transform(transform, anchors)
    for start, x in batches(source, batch_size):
        rows = _similar(_filled(x, batch_size), anchors, transform, recipe.similarity)
        found = np.asarray(rows)[: len(x)]
        bad = np.flatnonzero(~np.isfinite(found).all(axis=1))
        if bad.size:
            raise BadFile(
                f"{source.path}: the {recipe.similarity} similarities of row "
                f"{start + bad[0]} are too large for float32; scale it down."
            )
        yield start, found


@partial(jax.jit, static_argnames="similarity")
def _similar(
    x: Float[AnyArray, "n D"],
    anchors: Float[Array, "A K"],
    transform: Transform | None,
    similarity: str,
) -> Float[Array, "n A"]:
    rows = jnp.asarray(x)
    if transform is not None:
        rows = transforms.apply_transform(transform, rows)
    return similarities(rows, anchors, similarity, "highest")


def through_nystroem(
    recipe: Recipe, merged: Float[np.ndarray, "N A"], batch_size: int
) -> Float[np.ndarray, "N K"]:
    """The merged rows through the recipe's Nystroem transform, if it has one."""
    if recipe.nystroem is None:
        return merged
    own = jax.tree.map(jnp.asarray, recipe.nystroem)
    out = np.empty((len(merged), np.shape(own.scale)[-1]), np.float32)
    for start in range(0, len(merged), batch_size):
        x = merged[start : start + batch_size]
        rows = transforms.apply_transform(own, _filled(x, batch_size))
        out[start : start + len(x)] = np.asarray(rows)[: len(x)]
    return out


def _filled(x: np.ndarray, size: int) -> np.ndarray:
    """The rows, and zeros up to so many: one program, and one rounding, for all."""
    if len(x) == size:
        return x
    return np.concatenate([x, np.zeros((size - len(x), x.shape[1]), x.dtype)])
