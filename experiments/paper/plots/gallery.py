"""All pictures of one cell of a run: kinds and files."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from experiments.data.dataset import Dataset
from experiments.paper.plots import distances, figures
from experiments.plots import saving

Draw = Callable[[Mapping[str, np.ndarray], Sequence[str], str], Figure]


class Kind(NamedTuple):
    """A kind of picture.

    Attributes:
        title: in words.
        draw: from arrays, class names and a title.
        groups: whether superclasses are shown, and not classes.
    """

    title: str
    draw: Draw
    groups: bool = False


def _of_spaces(projection: str) -> Draw:
    return partial(figures.spaces_figure, projection=projection)


KINDS: dict[str, Kind] = {
    "spaces": Kind("PCA, own axes", _of_spaces("own")),
    "shared_axes": Kind("PCA, shared axes", _of_spaces("shared")),
    "tsne": Kind("t-SNE", _of_spaces("tsne")),
    "superclasses": Kind("PCA, by superclass", _of_spaces("own"), groups=True),
    "superclasses_shared_axes": Kind(
        "PCA, shared axes, by superclass", _of_spaces("shared"), groups=True
    ),
    "superclasses_tsne": Kind("t-SNE, by superclass", _of_spaces("tsne"), groups=True),
    "self_similarity": Kind("self-similarity", figures.self_similarity_figure),
    "distances": Kind("distances", distances.distances_figure),
    "class_means": Kind("class means", distances.class_means_figure),
}


def draw(
    folder: Path,
    name: str,
    arrays: Mapping[str, np.ndarray],
    dataset: Dataset,
    title: str,
) -> dict[str, Path]:
    """Draw and save every kind of picture of one cell.

    Args:
        folder: where they go.
        name: of the cell, which the names of their files end with.
        arrays: as for `figures.spaces_figure`.
        dataset: whose classes, and superclasses if it has any, are named.
        title: of the cell.

    Returns:
        The files, by what is in them.

    Raises:
        ValueError: as `figures.spaces_figure`.
    """
    files = {}
    for kind, (words, figure, of_groups) in KINDS.items():
        shown, names = arrays, dataset.class_names
        if of_groups:
            if dataset.superclasses is None:
                continue
            names = dataset.superclass_names
            shown = {**arrays, "labels": dataset.superclasses[arrays["labels"]]}
        files[words] = folder / f"{kind}_{name}.png"
        saving.save(figure(shown, names, title), files[words])
    return files
