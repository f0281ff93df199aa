"""The rows of an atlas, and the recipe that extends it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jatlas.files.formats import names
from jatlas.merging.relative import SIMILARITIES
from jatlas.merging.transforms import Transform


class Recipe(NamedTuple):
    """All that new samples or charts need to join an atlas.

    A row x of chart m has the coordinates n(s(t(x), t(anchors[m]))): t is transforms[m]
    if there are any, s the similarity, n is nystroem if there is one.

    Attributes:
        anchor_ids: (A,), integers or text.
        anchors: M arrays (A, D_m), each chart's embeddings of the anchors, as given.
        transforms: M transforms of embeddings, or none.
        nystroem: the transform of merged rows, or None.
        similarity: the name of one of `relativize`.
        charts: M names.
        hashes: M SHA-256 of the files that the charts came from, in hexadecimal; empty
            text if there was no file.
        versions: of the packages that made it, by name; None if unknown.
        shrinkage: that the transforms whiten with, a new chart's too; None if there are
            none.
    """

    anchor_ids: np.ndarray
    anchors: tuple[Float[np.ndarray, "A _"], ...]
    transforms: tuple[Transform, ...] = ()
    nystroem: Transform | None = None
    similarity: str = "cosine"
    charts: tuple[str, ...] = ()
    hashes: tuple[str, ...] = ()
    versions: Mapping[str, str] | None = None
    shrinkage: float | None = None


class AtlasFile(NamedTuple):
    """A saved merged space of N samples, with its provenance.

    Attributes:
        ids: (N,), integers or text.
        merged: (N, A), the atlas; no sample is in no chart.
        count: (N,), how many charts have the sample.
        disagreement: (N,), how far the charts are apart about the sample: the root of
            the mean over the anchors of the variance over the charts of the relative
            representation, before any Nystroem transform. NaN for a sample in one
            chart.
        recipe: a `Recipe`.
    """

    ids: np.ndarray
    merged: Float[np.ndarray, "N A"]
    count: Int[np.ndarray, " N"]  # type: ignore[assignment]  # hides tuple.count
    disagreement: Float[np.ndarray, " N"]
    recipe: Recipe


def check_atlas(atlas: AtlasFile) -> None:
    """Raise ValueError unless the atlas is what `AtlasFile` says."""
    if not isinstance(atlas, AtlasFile):
        raise ValueError(
            f"expected a jatlas.AtlasFile, got {_kind(atlas)}. An AtlasFile has ids "
            "(N,), merged rows (N, A), count (N,), disagreement (N,) and the recipe; "
            "merge_files, load, add_file and project_file give one. The merged rows of "
            "a running state are jatlas.running.atlas.value(state)."
        )
    check_recipe(atlas.recipe)
    names.check_ids("the ids", atlas.ids)
    size = atlas.ids.size
    nystroem = atlas.recipe.nystroem
    width = atlas.recipe.anchor_ids.size
    if nystroem is not None and np.ndim(nystroem.scale) == 2:
        width = np.shape(nystroem.scale)[1]
    _check("merged", atlas.merged, (size, width), "f")
    _check("count", atlas.count, (size,), "iu")
    most = len(atlas.recipe.anchors)
    bad = np.flatnonzero((atlas.count < 1) | (atlas.count > most))
    if bad.size:
        raise ValueError(
            f"count must lie in 1..{most}, the number of charts; got "
            f"{atlas.count[bad[0]]} in row {bad[0]} (id {atlas.ids[bad[0]].item()!r})."
        )
    alone = atlas.count == 1
    spread = atlas.disagreement
    _check("disagreement", spread, (size,), "f", where=~alone)
    bad = np.flatnonzero(np.where(alone, ~np.isnan(spread), spread < 0))
    if bad.size:
        raise ValueError(
            "disagreement must be NaN for a sample in one chart, 0 or more for others; "
            f"got {spread[bad[0]]} in row {bad[0]} (id {atlas.ids[bad[0]].item()!r}), "
            f"of a sample in {atlas.count[bad[0]]}."
        )


def check_recipe(recipe: Recipe) -> None:
    """Raise ValueError unless the recipe is what `Recipe` says."""
    if not isinstance(recipe, Recipe):
        raise ValueError(
            f"expected a jatlas.files.Recipe, as load_recipe gives it, got "
            f"{_kind(recipe)}."
        )
    for name in ("anchors", "transforms", "charts", "hashes"):
        value = getattr(recipe, name)
        if not isinstance(value, tuple | list):
            raise ValueError(f"{name} must be a tuple, got {_kind(value)}.")
    names.check_ids("the ids of the anchors", recipe.anchor_ids)
    num_anchors, num_charts = recipe.anchor_ids.size, len(recipe.anchors)
    if num_anchors == 0 or num_charts == 0:
        raise ValueError(
            f"the recipe has {num_charts} charts and {num_anchors} anchors; expected "
            "one of each at least."
        )
    for m, x in enumerate(recipe.anchors):
        _check(f"the anchors of chart {m}", x, (num_anchors, None), "f")
    for name, texts in (("charts", recipe.charts), ("hashes", recipe.hashes)):
        plain = all(isinstance(text, str) for text in texts)
        if len(texts) not in (0, num_charts) or not plain:
            raise ValueError(f"{name} must be {num_charts} texts or none, got {texts}.")
    if len(set(recipe.charts)) < len(recipe.charts):
        raise ValueError(f"the charts' names must differ, got {list(recipe.charts)}.")
    if len(recipe.transforms) not in (0, num_charts):
        raise ValueError(
            f"{len(recipe.transforms)} transforms of {num_charts} charts; expected one "
            "a chart, or none."
        )
    for m, transform in enumerate(recipe.transforms):
        width = recipe.anchors[m].shape[1]
        _check_transform(f"the transform of chart {m}", transform, width)
    if recipe.nystroem is not None:
        _check_transform("nystroem", recipe.nystroem, num_anchors)
    if not (isinstance(recipe.similarity, str) and recipe.similarity in SIMILARITIES):
        raise ValueError(
            f"the similarity {recipe.similarity!r} has no name to be saved by; known "
            f"are {', '.join(SIMILARITIES)}."
        )
    check_shrinkage(recipe.shrinkage)


def check_shrinkage(shrinkage: Any) -> None:
    """Raise ValueError unless it is None or from 0 to 1."""
    if shrinkage is None:
        return
    number = isinstance(shrinkage, int | float | np.floating | np.integer)
    if not number or not 0 <= shrinkage <= 1:  # NaN is not
        raise ValueError(
            f"shrinkage (--shrinkage) must be a number from 0 to 1, got {shrinkage!r}."
        )


def _kind(value: object) -> str:
    return f"a {type(value).__module__}.{type(value).__qualname__}"


def _check_transform(name: str, transform: Transform, width: int) -> None:
    if not isinstance(transform, Transform):
        raise ValueError(f"{name} must be a jatlas.Transform, got {_kind(transform)}.")
    _check(f"the mean of {name}", transform.mean, (width,), "f")
    shape = (width, None)[: np.ndim(transform.scale)]
    _check(f"the scale of {name}", transform.scale, shape or (width,), "f")


def _check(
    name: str,
    x: Any,
    shape: tuple[int | None, ...],
    kinds: str,
    where: np.ndarray | None = None,
) -> None:
    """Raise ValueError unless x is finite and has these axes.

    An axis of None may be any.
    """
    names.check_unmasked(name, x)
    if not hasattr(x, "dtype"):
        raise ValueError(f"{name} must be an array, got {_kind(x)}.")
    x = np.asarray(x)
    fits = x.ndim == len(shape) and all(
        wanted in (None, size) for wanted, size in zip(shape, x.shape, strict=True)
    )
    if not fits or x.dtype.kind not in kinds:
        kind = "floating point" if kinds == "f" else "integers"
        size = ", ".join("any" if n is None else str(n) for n in shape)
        raise ValueError(f"{name} must be {kind} ({size}), got {x.dtype}{x.shape}.")
    bad = ~np.isfinite(x).reshape(len(x), -1).all(axis=1)
    bad = np.flatnonzero(bad if where is None else bad & where)
    if bad.size:
        raise ValueError(
            f"NaN or infinity in {bad.size} rows of {name}: {bad[:10].tolist()}; "
            "all must be finite."
        )
