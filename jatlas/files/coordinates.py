"""The coordinates of a file's rows in an atlas, in batches."""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jatlas._src.arrays import AnyArray
from jatlas._src.ids import short
from jatlas.files import maps
from jatlas.files.formats.faults import BadFile
from jatlas.files.formats.rows import not_finite
from jatlas.files.formats.sources import Source, batches
from jatlas.files.overlap import behind
from jatlas.files.quality import Reach, Variation, hardly_vary
from jatlas.files.recipe import Recipe
from jatlas.files.reports import Advance, Say, quiet
from jatlas.merging import transforms
from jatlas.merging.relative import similarities
from jatlas.merging.transforms import Transform

# A mean and a whitening are fitted on so many rows of a chart at most, evenly spread.
FITTED_ON = 50_000


class Taken(NamedTuple):
    """Some rows of a file, with the statistics of all its rows.

    Attributes:
        rows: (n, D), those that were wanted.
        constant: whether all rows, two at least, are the same.
        hidden: how many features vary, by less than float32 holds beside their size.
    """

    rows: Float[np.ndarray, "n D"]
    constant: bool
    hidden: int


class Fitted(NamedTuple):
    """A chart's anchors and transform, with the statistics of its rows.

    Attributes:
        anchors: (A, D), its embeddings of the anchors.
        transform: of its embeddings, if there is one.
        seen: what the look at its rows has shown; no rows are in it.
        dropped: directions of the embeddings that the transform maps to zero.
    """

    anchors: Float[np.ndarray, "A D"]
    transform: Transform | None
    seen: Taken
    dropped: int = 0


def rows_to_fit(
    source: Source, anchors: Int[np.ndarray, " A"], moved: bool
) -> Int[np.ndarray, " n"]:
    """The rows that `fit_chart` takes: the anchors, and some to move by."""
    size = source.ids.size
    some = np.linspace(0, size - 1, min(size, FITTED_ON) if moved else 0).astype(int)
    return np.concatenate([anchors, some])


def fit_chart(
    source: Source,
    anchors: Int[np.ndarray, " A"],
    shrinkage: float | None,
    batch_size: int,
    advance: Advance,
    center: bool = False,
    look: Taken | None = None,
) -> Fitted:
    """A chart's embeddings of the anchors, and its transform, if any.

    Args:
        source: an open file.
        anchors: (A,), their rows in it.
        shrinkage: of the whitening; None if there is none.
        batch_size: rows that are read at once.
        advance: gets how many more rows were read.
        center: whether the mean is taken off; whitening does so anyway.
        look: `rows_to_fit` as they were taken before, in the dtype of the file; the
            file is then not read again.
    """
    moved = center or shrinkage is not None
    # Numbers of a file in float64 are centered in it: see `_centered`.
    wide = moved and source.rows.dtype == np.float64
    dtype = np.float64 if wide else np.float32
    wanted = rows_to_fit(source, anchors, moved)
    if look is None or len(look.rows) < wanted.size:
        taken = take_rows(source, wanted, batch_size, advance, dtype)
    else:
        taken = look._replace(rows=look.rows[: wanted.size].astype(dtype, copy=False))
        advance(source.ids.size)
    of_anchors, rows = taken.rows[: anchors.size], taken.rows[anchors.size :]
    seen = taken._replace(rows=rows[:0])
    if not moved:
        return Fitted(of_anchors, None, seen)
    if shrinkage is None:
        return Fitted(
            of_anchors, maps.fit_center(rows).transform, seen._replace(hidden=0)
        )
    fitted = maps.fit_whiten(rows, shrinkage, source.rows.dtype)
    return Fitted(of_anchors, fitted.transform, seen._replace(hidden=0), fitted.dropped)


def take_rows(
    source: Source,
    rows: Int[np.ndarray, " n"],
    batch_size: int,
    advance: Advance,
    dtype: type[np.floating] = np.float32,
) -> Taken:
    """Some rows of a file, all of which are looked at."""
    taken = np.empty((rows.size, source.rows.shape[1]), dtype)
    constant, first = source.ids.size > 1, None
    wide = source.rows.dtype == np.float64
    reach = Reach.empty(source.rows.shape[1])
    order = np.argsort(rows, kind="stable")
    for start, x in batches(source, batch_size, np.float64 if wide else np.float32):
        here = order[
            slice(*np.searchsorted(rows, (start, start + len(x)), sorter=order))
        ]
        taken[here] = x[rows[here] - start]
        first = x[:1].copy() if first is None else first
        constant = constant and bool((x == first).all())
        reach = reach.with_rows(x) if wide else reach
        advance(len(x))
    return Taken(taken, constant, reach.hidden())


def similar_to_anchors(
    recipe: Recipe, chart: int, rows: Float[np.ndarray, "n D"]
) -> Float[np.ndarray, "n A"]:
    """The relative representation of some rows of a chart, all at once."""
    anchors, mean, narrow = _transformed_anchors(recipe, chart)
    x = jnp.asarray(_less(rows, mean), jnp.float32)
    return np.asarray(_similar(x, anchors, narrow, recipe.similarity))


def _transformed_anchors(
    recipe: Recipe, chart: int
) -> tuple[Array, Float[np.ndarray, " D"] | None, Transform | None]:
    """A chart's anchors, transformed; the mean and the transform of its rows."""
    transform = recipe.transforms[chart] if recipe.transforms else None
    mean, narrow = _centered(transform)
    anchors = jnp.asarray(_less(recipe.anchors[chart], mean), jnp.float32)
    if narrow is not None:
        anchors = transforms.apply_transform(narrow, anchors)
    return anchors, mean, narrow


def relative_rows(
    recipe: Recipe, chart: int, source: Source, batch_size: int, say: Say = quiet
) -> Iterator[tuple[int, Float[np.ndarray, "n A"]]]:
    """The relative representation of a chart's rows, some at a time."""
    anchors, mean, narrow = _transformed_anchors(recipe, chart)
    dtype = np.float32 if mean is None else np.float64
    variation = Variation(recipe.anchor_ids.size)

    def begun() -> Iterator[tuple[int, np.ndarray, Array]]:
        for start, x in batches(source, batch_size, dtype):
            x = _less(x, mean)
            whole = filled(x, batch_size)
            yield start, x, _similar(whole, anchors, narrow, recipe.similarity)

    for start, x, rows in behind(begun()):
        values = np.asarray(rows)[: len(x)]
        bad = np.flatnonzero(not_finite(values))
        if bad.size:
            path, row = source.place_of(start + int(bad[0]))
            raise BadFile(
                f"{path}: the {recipe.similarity} similarities of row {row} are too "
                f"large for float32 (id {short(source.ids[start + bad[0]])!r}); scale "
                "the embeddings down."
            )
        variation.add(x, values)
        yield start, values
    if hardly_vary(variation):
        say(f"warning: {source.path}: {variation.text(recipe.similarity)}")


def _centered(
    transform: Transform | None,
) -> tuple[Float[np.ndarray, " D"] | None, Transform | None]:
    """A float64 mean taken off on the host, and the remaining transform.

    Values near 1e7 that differ by less than 1 are the same in float32; less their mean
    they are not.
    """
    if transform is None or np.asarray(transform.mean).dtype != np.float64:
        return None, transform
    zeros = jnp.zeros(np.shape(transform.mean), np.float32)
    return np.asarray(transform.mean), transform._replace(mean=zeros)


def _less(
    x: Float[np.ndarray, "n D"], mean: Float[np.ndarray, " D"] | None
) -> Float[np.ndarray, "n D"]:
    return x if mean is None else (x - mean).astype(np.float32)


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
    """The merged rows through the recipe's Nystroem transform, if it has one.

    They take the place of those given where they are as wide: an atlas may be half of
    what memory there is.
    """
    if recipe.nystroem is None:
        return merged
    transform = jax.tree.map(jnp.asarray, recipe.nystroem)
    width = np.shape(transform.scale)[-1]
    same = merged.shape[1] == width and merged.dtype == np.float32
    out = (
        merged
        if same and merged.flags.writeable
        else np.empty((len(merged), width), np.float32)
    )

    def begun() -> Iterator[tuple[int, int, Array]]:
        for start in range(0, len(merged), batch_size):
            x = merged[start : start + batch_size]
            rows = transforms.apply_transform(transform, filled(x, batch_size))
            yield start, len(x), rows

    for start, size, rows in behind(begun()):
        out[start : start + size] = np.asarray(rows)[:size]
    return out


def filled(x: np.ndarray, size: int) -> np.ndarray:
    """The rows padded with zeros: one program and one rounding."""
    if len(x) == size:
        return x
    return np.concatenate([x, np.zeros((size - len(x), x.shape[1]), x.dtype)])
