"""The coordinates of a file's rows in an atlas, made some rows at a time."""

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jatlas import transforms
from jatlas.arrays import AnyArray
from jatlas.commands.progress import Advance
from jatlas.files.faults import BadFile
from jatlas.files.readers import Source, batches
from jatlas.files.recipe import Recipe
from jatlas.relative import similarities
from jatlas.transforms import Transform

# Whitening is fitted on so many rows of a chart at most, evenly spread over it.
_FITTED_ON = 50_000


def fit_chart(
    source: Source,
    anchors: Int[np.ndarray, " A"],
    whiten: bool,
    batch_size: int,
    advance: Advance,
) -> tuple[Float[np.ndarray, "A D"], Transform | None]:
    """A chart's embeddings of the anchors, and its transform, if there is to be one."""
    size = source.ids.size
    some = np.linspace(0, size - 1, min(size, _FITTED_ON) if whiten else 0).astype(int)
    rows = take_rows(source, np.concatenate([anchors, some]), batch_size, advance)
    own, rows = rows[: anchors.size], rows[anchors.size :]
    if not whiten:
        return own, None
    fitted = transforms.fit_whiten(jnp.asarray(rows))
    return own, jax.tree.map(np.asarray, fitted)


def take_rows(
    source: Source,
    rows: Int[np.ndarray, " n"],
    batch_size: int,
    advance: Advance,
) -> Float[np.ndarray, "n D"]:
    """Some rows of a file, all of which are looked at."""
    taken = np.empty((rows.size, source.rows.shape[1]), np.float32)
    for start, x in batches(source, batch_size):
        here = np.flatnonzero((rows >= start) & (rows < start + len(x)))
        taken[here] = x[rows[here] - start]
        advance(len(x))
    return taken


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
