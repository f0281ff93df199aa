"""The nearest samples of a sample in an atlas."""

from typing import NamedTuple

import numpy as np

from jatlas._src import arrays, border
from jatlas._src.ids import few, find, short
from jatlas.files.recipe import AtlasFile, check_atlas

_AT_ONCE = 65_536


class Neighbor(NamedTuple):
    """A sample near another.

    Attributes:
        id: of the sample.
        distance: 1 - cosine of the two rows, from 0 to 2.
        charts: the names of those that have it; empty if the atlas does not say.
    """

    id: int | str
    distance: float
    charts: tuple[str, ...]


@border.short
def nearest_samples(
    atlas: AtlasFile, sample: int | str, k: int = 10
) -> tuple[Neighbor, ...]:
    """The k nearest samples of an atlas to one, by cosine.

    Args:
        atlas: from `load`, or of a merge.
        sample: its id; text for integers is taken too.
        k: how many; fewer if the atlas has fewer.

    Returns:
        The nearest first, the sample itself left out. Of equally near ones the first
        in the atlas come first.

    Raises:
        ValueError: if there is no such sample, or k is below 1.

    Example:
        >>> from jatlas.files import Recipe
        >>> recipe = Recipe(np.array([7]), (np.ones((1, 3)),), charts=("birds",))
        >>> rows = np.array([[1.0], [0.3], [-1.0]]), np.ones(3, int), np.full(3, np.nan)
        >>> atlas = AtlasFile(np.array([7, 8, 9]), *rows, recipe, np.ones((3, 1), bool))
        >>> nearest_samples(atlas, 7, k=1)
        (Neighbor(id=8, distance=0.0, charts=('birds',)),)
    """
    check_atlas(atlas)
    arrays.check_count("k", k, 1)
    place = _place(atlas, sample)
    query = _unit(atlas.merged[place : place + 1])[0]
    similar = np.empty(atlas.ids.size)
    for start in range(0, similar.size, _AT_ONCE):
        rows = _unit(atlas.merged[start : start + _AT_ONCE])
        similar[start : start + len(rows)] = rows @ query
    similar[place] = -np.inf
    order = np.argsort(-similar, kind="stable")[: min(k, similar.size - 1)]
    return tuple(
        Neighbor(
            atlas.ids[n].item(),
            float(np.clip(1 - similar[n], 0, 2)),
            _charts(atlas, int(n)),
        )
        for n in order.tolist()
    )


def _place(atlas: AtlasFile, sample: int | str) -> int:
    ids = atlas.ids
    wanted = np.asarray(sample)
    if wanted.ndim:
        raise ValueError(
            f"sample must be the id of one sample, got {type(sample).__name__} of the "
            f"shape {wanted.shape}. For several, call it once for each."
        )
    try:
        if (ids.dtype.kind == "U") != (wanted.dtype.kind == "U"):
            wanted = wanted.astype(str if ids.dtype.kind == "U" else np.int64)
        place = int(find(ids, wanted[None])[0]) if ids.size else -1
    except (TypeError, ValueError, OverflowError):
        place = -1
    if place < 0:
        raise ValueError(
            f"there is no sample {short(sample)!r} in the atlas; its {ids.size} ids "
            f"begin with {few(ids, 3)}."
        )
    return place


def _unit(rows: np.ndarray) -> np.ndarray:
    wide = np.asarray(rows, np.float32)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    return wide / np.where(length == 0, 1, length)


def _charts(atlas: AtlasFile, row: int) -> tuple[str, ...]:
    if atlas.presence is None:
        return ()
    names = atlas.recipe.charts or tuple(map(str, range(len(atlas.recipe.anchors))))
    return tuple(names[m] for m in np.flatnonzero(atlas.presence[row]))
