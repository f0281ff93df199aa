"""The rows of an atlas, and the recipe that extends it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from jatlas._src.ids import short
from jatlas.files.formats import names
from jatlas.files.formats.rows import not_finite
from jatlas.files.maps import ConsensusMaps
from jatlas.merging.relative import SIMILARITIES
from jatlas.merging.transforms import Transform


class Recipe(NamedTuple):
    """All that new samples or charts need to join an atlas.

    A row x of chart m has the coordinates n(s(t(x), t(anchors[m]))): t is transforms[m]
    if there are any, s the similarity, n is nystroem if there is one. In consensus
    coordinates there are no anchors, and `consensus` says what it has.

    Attributes:
        anchor_ids: (A,), integers or text; (0,) in consensus coordinates.
        anchors: M arrays (A, D_m), each chart's embeddings of the anchors, as given;
            (0, D_m) in consensus coordinates.
        transforms: M transforms of embeddings, or none.
        nystroem: the transform of merged rows, or None.
        similarity: the name of one of `relativize`.
        charts: M names.
        hashes: M SHA-256 of the files that the charts came from, in hexadecimal; empty
            text if there was no file.
        versions: of the packages that made it, by name; None if unknown.
        shrinkage: that the transforms whiten with, a new chart's too; None if they
            center only, or there are none.
        consensus: the maps to consensus coordinates, or None.
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
    consensus: ConsensusMaps | None = None

    @property
    def kind(self) -> str:
        """The kind of coordinates: relative, nystroem, consensus or procrustes."""
        if self.consensus is not None:
            return "procrustes" if self.consensus.ridge is None else "consensus"
        return "relative" if self.nystroem is None else "nystroem"

    def known_samples(self, chart: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids and embeddings that a chart's encoder is known by."""
        if self.consensus is None:
            return self.anchor_ids, self.anchors[chart]
        return self.consensus.known_ids[chart], self.consensus.known[chart]


class AtlasFile(NamedTuple):
    """A saved merged space of N samples, with its provenance.

    Attributes:
        ids: (N,), integers or text.
        merged: (N, A), the atlas; no sample is in no chart.
        count: (N,), how many charts have the sample.
        disagreement: (N,), how far the charts are apart about the sample: the root of
            the mean over the coordinates of the variance over the charts, before any
            Nystroem transform. NaN for a sample in one chart.
        recipe: a `Recipe`.
        presence: (N, M), which charts have the sample; None if unknown.
        id_name: of the ids in a table; as the first file named them, where known.
    """

    ids: np.ndarray
    merged: Float[np.ndarray, "N A"]
    count: Int[np.ndarray, " N"]  # type: ignore[assignment]  # hides tuple.count
    disagreement: Float[np.ndarray, " N"]
    recipe: Recipe
    presence: Bool[np.ndarray, "N M"] | None = None
    id_name: str = "id"


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
    _check("merged", atlas.merged, (size, width_of(atlas.recipe)), "f")
    _check("count", atlas.count, (size,), "iu")
    most = len(atlas.recipe.anchors)
    bad = np.flatnonzero((atlas.count < 1) | (atlas.count > most))
    if bad.size:
        raise ValueError(
            f"count must lie in 1..{most}, the number of charts; got "
            f"{atlas.count[bad[0]]} in row {bad[0]} (id {short(atlas.ids[bad[0]])!r})."
        )
    alone, spread = atlas.count == 1, atlas.disagreement
    _check("disagreement", spread, (size,), "f", where=~alone)
    bad = np.flatnonzero(np.where(alone, ~np.isnan(spread), spread < 0))
    if bad.size:
        raise ValueError(
            "disagreement must be NaN for a sample in one chart, 0 or more for others; "
            f"got {spread[bad[0]]} in row {bad[0]} (id {short(atlas.ids[bad[0]])!r}), "
            f"of a sample in {atlas.count[bad[0]]}."
        )
    if atlas.presence is not None:
        _check("presence", atlas.presence, (size, most), "b")
        if not np.array_equal(atlas.presence.sum(axis=1), atlas.count):
            raise ValueError("presence must have as many charts a sample as count.")


def num_averaged(recipe: Recipe) -> int:
    """The number of coordinates before any Nystroem transform."""
    return width_of(recipe._replace(nystroem=None))


def width_of(recipe: Recipe) -> int:
    """The number of coordinates that rows in this recipe's space have."""
    if recipe.consensus is not None:
        return int(recipe.consensus.agreement.size)
    if recipe.nystroem is not None and np.ndim(recipe.nystroem.scale) == 2:
        return int(np.shape(recipe.nystroem.scale)[1])
    return int(recipe.anchor_ids.size)


def check_recipe(recipe: Recipe) -> None:
    """Raise ValueError unless the recipe is what `Recipe` says."""
    if not isinstance(recipe, Recipe):
        raise ValueError(
            f"expected a jatlas.files.Recipe, of load_recipe, got {_kind(recipe)}."
        )
    for name in ("anchors", "transforms", "charts", "hashes"):
        value = getattr(recipe, name)
        if not isinstance(value, tuple | list):
            raise ValueError(f"{name} must be a tuple, got {_kind(value)}.")
    names.check_ids("the ids of the anchors", recipe.anchor_ids)
    num_anchors, num_charts = recipe.anchor_ids.size, len(recipe.anchors)
    if recipe.consensus is not None:
        _check_consensus(recipe)
    elif num_anchors == 0 or num_charts == 0:
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
    number = isinstance(shrinkage, int | float | np.floating | np.integer)
    if shrinkage is not None and not (number and 0 <= shrinkage <= 1):  # nor NaN
        raise ValueError(
            f"shrinkage (--shrinkage) must be a number from 0 to 1, got {shrinkage!r}."
        )


def _kind(value: object) -> str:
    return f"a {type(value).__module__}.{type(value).__qualname__}"


def _check_consensus(recipe: Recipe) -> None:
    maps, num_charts = recipe.consensus, len(recipe.anchors)
    if not isinstance(maps, ConsensusMaps):
        raise ValueError(f"consensus must be a ConsensusMaps, got {_kind(maps)}.")
    if recipe.anchor_ids.size or recipe.nystroem is not None or recipe.transforms:
        raise ValueError(
            "consensus coordinates go with no anchors, transforms or nystroem."
        )
    for name in ("means", "weights", "known_ids", "known"):
        if len(getattr(maps, name)) != num_charts or num_charts == 0:
            raise ValueError(
                f"{name} must be of {num_charts} charts, one at least, got "
                f"{len(getattr(maps, name))}."
            )
    _check("the scales", maps.scales, (num_charts,), "f")
    _check("the agreement", maps.agreement, (None,), "f")
    for m, x in enumerate(recipe.anchors):
        names.check_ids(f"the known ids of chart {m}", maps.known_ids[m])
        width, size = x.shape[1], maps.known_ids[m].size
        _check(f"the mean of chart {m}", maps.means[m], (width,), "f")
        weights = (width, maps.agreement.size)
        _check(f"the weights of chart {m}", maps.weights[m], weights, "f")
        _check(f"the known rows of chart {m}", maps.known[m], (size, width), "f")
    if maps.ridge is not None:
        check_number("ridge", maps.ridge, True)
    check_number("power", maps.power, False)


def check_number(name: str, value: object, above: bool) -> None:
    """Raise ValueError unless it is a finite number in range."""
    number = isinstance(value, int | float | np.floating | np.integer)
    size = float(value) if number else -1.0  # type: ignore[arg-type]
    if not 0 <= size < np.inf or (above and size == 0):
        raise ValueError(
            f"{name} (--{name}) must be a finite number {'above' if above else 'from'} "
            f"0, got {value!r}."
        )


def _check_transform(name: str, transform: Transform, width: int) -> None:
    if not isinstance(transform, Transform):
        raise ValueError(f"{name} must be a jatlas.Transform, got {_kind(transform)}.")
    _check(f"the mean of {name}", transform.mean, (width,), "f")
    shape = (width, None)[: np.ndim(transform.scale)]
    _check(f"the scale of {name}", transform.scale, shape or (width,), "f")
    if transform.offset is not None:
        out = (np.shape(transform.scale)[-1],)
        _check(f"the offset of {name}", transform.offset, out, "f")


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
        kind = {"f": "floating point", "b": "boolean"}.get(kinds, "integers")
        size = ", ".join("any" if n is None else str(n) for n in shape)
        raise ValueError(f"{name} must be {kind} ({size}), got {x.dtype}{x.shape}.")
    bad = not_finite(x)
    bad = np.flatnonzero(bad if where is None else bad & where)
    if bad.size:
        raise ValueError(
            f"NaN or infinity in {bad.size} rows of {name}: {bad[:10].tolist()}; "
            "all must be finite."
        )
