"""Pictures of pairwise distances and of moved class means."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.paper.plots.figures import DRAWN, panels, samples_of
from experiments.paper.plots.planes import evenly_by_class, planes
from experiments.plots.saving import WIDTH
from experiments.plots.styles import look

_MOST_ROWS = 600  # 180,000 pairs
_NUM_BINS = 60
# Hues of Okabe and Ito; when printed grey, a surface with an edge and a line.
_SAME, EDGE, OTHER = "#E69F00", "#804600", "#0072B2"


def distances_figure(
    arrays: Mapping[str, np.ndarray], class_names: Sequence[str], title: str
) -> Figure:
    """Histograms of samples' pairwise distances on the same axes.

    Pairs of one class, and pairs of two; the area under each is 1. Of more than 600
    samples, as many are taken, of each class its share.

    Args:
        arrays: as for `figures.spaces_figure`.
        class_names: of all C classes.
        title: of the figure.

    Raises:
        ValueError: as `figures.spaces_figure`.
    """
    samples = samples_of(arrays, class_names)
    chosen = evenly_by_class(samples.labels, _MOST_ROWS)
    labels = samples.labels[chosen]
    pairs = np.triu_indices(chosen.size, 1)
    same = labels[pairs[0]] == labels[pairs[1]]
    distances = {
        name: _distances(x[chosen])[pairs] for name, x in samples.spaces.items()
    }
    highest = max((d.max() for d in distances.values() if d.size), default=0.0) or 1.0
    figure = Figure((WIDTH, 3.0), layout="constrained")
    figure.suptitle(
        f"{title}\nDistances of pairs of samples{samples.note}", fontsize=10
    )
    grid = figure.subplots(1, len(DRAWN), sharex=True, sharey=True)
    bins = np.linspace(0.0, highest, _NUM_BINS + 1)
    for axes, (name, heading) in zip(grid, DRAWN.items(), strict=True):
        _histograms(axes, distances[name], same, bins)
        axes.set_title(heading, fontsize=9)
        axes.set_xlabel("Euclidean distance", fontsize=8)
        axes.tick_params(labelsize=7)
    grid[0].set_ylabel("density", fontsize=8)
    figure.legend(
        *grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=2,
        fontsize=8, frameon=False,
    )  # fmt: skip
    return figure


def class_means_figure(
    arrays: Mapping[str, np.ndarray], class_names: Sequence[str], title: str
) -> Figure:
    """Class means on shared principal axes, with their displacements.

    These begin in the end-to-end space. A line leads to a class's mean from where it is
    in the end-to-end space.

    Args:
        arrays: as for `figures.spaces_figure`.
        class_names: of all C classes.
        title: of the figure.

    Raises:
        ValueError: as `figures.spaces_figure`.
    """
    samples = samples_of(arrays, class_names)
    present = np.unique(samples.labels)
    means = {
        name: np.stack([x[samples.labels == c].mean(axis=0) for c in present])
        for name, x in samples.spaces.items()
    }
    flat = planes(means, "shared")
    start = flat["both/original_rel"].points
    heading = f"{title}\nClass means, on axes shared by all; lines: from end-to-end"
    figure, grid = panels(heading + samples.note, class_names, shared=True)
    for axes, (name, words) in zip(grid, DRAWN.items(), strict=True):
        for c, origin, point in zip(present, start, flat[name].points, strict=True):
            axes.plot(*zip(origin, point, strict=True), color="#888888", linewidth=0.7)
            axes.plot(*point, linestyle="", **look(int(c)).style, markersize=8)
        axes.set_title(words, fontsize=9)
        axes.set_xlabel(flat[name].axes[0], fontsize=8)
        axes.set_ylabel(flat[name].axes[1], fontsize=8)
        axes.tick_params(labelsize=7)
    return figure


def _distances(rows: np.ndarray) -> np.ndarray:
    """(T, T)."""
    x = rows.astype(np.float64)
    squares = np.sum(x * x, axis=1)
    return np.sqrt((squares[:, None] + squares - 2 * x @ x.T).clip(0))


def _histograms(
    axes: Axes, distances: np.ndarray, same: np.ndarray, bins: np.ndarray
) -> None:
    """Histograms of both kinds of pairs, where there are any."""
    if same.any():
        densities, *_ = axes.hist(
            distances[same], bins, density=True, label="two samples of one class",
            color=_SAME, alpha=0.8,
        )  # fmt: skip
        edge = np.repeat(bins, 2)[1:-1], np.repeat(densities, 2)
        axes.plot(*edge, color=EDGE, linewidth=0.8)
    if not same.all():
        axes.hist(
            distances[~same], bins, density=True, label="samples of two classes",
            color=OTHER, histtype="step", linewidth=1.4,
        )  # fmt: skip
