"""The pictures of the spaces: in 2-D, and their self-similarity.

Everything is drawn on `Figure` objects of its own, without pyplot: nothing is shared
between threads, and nothing is left open.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.paper.plots.planes import (
    PROJECTIONS,
    Plane,
    Projection,
    evenly,
    evenly_by_class,
    planes,
)
from experiments.plots.saving import WIDTH
from experiments.plots.styles import look

DRAWN = {
    "both/original_rel": "end-to-end, relative",
    "oracle/merged": "atlas, oracle (task known)",
    "blind/merged": "atlas, blind (task not known)",
}
MOST_NAMES = 20  # of classes, beside a picture
MOST_TSNE = 400  # of samples: half a second a space
_MOST_POINTS, _MOST_ROWS = 3000, 300


class Samples(NamedTuple):
    """What the pictures of the spaces are drawn from.

    Attributes:
        spaces: by the names of `DRAWN`, (K, A) each, without rows that are not finite.
        labels: (K,).
        rows: (K,), where among all samples these stand.
        note: how many rows were left out, in words; empty if none.
    """

    spaces: dict[str, np.ndarray]
    labels: np.ndarray
    rows: np.ndarray
    note: str


def spaces_figure(
    arrays: Mapping[str, np.ndarray],
    class_names: Sequence[str],
    title: str,
    projection: Projection = "own",
) -> Figure:
    """The end-to-end and the merged spaces in 2-D.

    A sample of which some space has no finite coordinates is left out of all three, and
    the figure says so. Of more than 3000 samples, as many evenly spaced ones are drawn.
    Axes that are shared also have the same limits in all panels.

    Args:
        arrays: as `measure` writes them: the spaces named in `DRAWN`, (T, A) each, and
            labels, (T,). What `with_tsne` has added is not computed again.
        class_names: of all C classes. With superclasses for labels, theirs.
        title: of the figure.
        projection: one of `planes.PROJECTIONS`.

    Returns:
        A figure of three panels and one legend. Large marks are class means.

    Raises:
        ValueError: if an array is missing, their lengths differ, a label has no name,
            or no sample can be drawn.
    """
    samples = samples_of(arrays, class_names)
    flat, labels, note = _flat(arrays, samples, class_names, projection)
    # On axes of its own each panel says so at its axes.
    words = "" if projection == "own" else f"\n{PROJECTIONS[projection]}"
    shared = projection == "shared"
    figure, grid = panels(title + words + note, class_names, shared)
    for axes, (name, heading) in zip(grid, DRAWN.items(), strict=True):
        _scatter(axes, flat[name].points, labels)
        axes.set_title(heading, fontsize=9)
        axes.set_xlabel(flat[name].axes[0], fontsize=8)
        axes.set_ylabel(flat[name].axes[1], fontsize=8)
        axes.set(xticks=[], yticks=[])
    return figure


def panels(
    title: str, class_names: Sequence[str], shared: bool
) -> tuple[Figure, Sequence[Axes]]:
    """A figure with a panel per `DRAWN` space and a legend.

    Args:
        title: of the figure.
        class_names: of all C classes.
        shared: whether the panels have the same limits.
    """
    font = 8 if len(class_names) <= MOST_NAMES else 6
    entry = (5 + 0.66 * max(map(len, class_names))) * font / 72  # inches wide
    columns = max(1, min(5 if font == 8 else 10, int(WIDTH / entry)))
    height = 3.4 + 0.023 * font * math.ceil(len(class_names) / columns)
    figure = Figure((WIDTH, height), layout="constrained")
    figure.suptitle(title, fontsize=10)
    grid = figure.subplots(1, len(DRAWN), sharex=shared, sharey=shared)
    handles = [
        Line2D([], [], linestyle="", label=name, **look(c).style, markersize=6)
        for c, name in enumerate(class_names)
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, fontsize=font,
        frameon=False,
    )  # fmt: skip
    return figure, grid


def with_tsne(
    arrays: Mapping[str, np.ndarray], class_names: Sequence[str]
) -> dict[str, np.ndarray]:
    """The arrays, and each space's t-SNE as "tsne/NAME", (T, 2).

    Of 400 samples, 8 a class where that is more, but 1000 at most; of each class its
    share. NaN for all others.

    Raises:
        ValueError: as `spaces_figure`.
    """
    samples = samples_of(arrays, class_names)
    most = min(max(MOST_TSNE, 8 * len(class_names)), 1000)
    chosen = evenly_by_class(samples.labels, most)
    spaces = {name: rows[chosen] for name, rows in samples.spaces.items()}
    added = {}
    for name, plane in planes(spaces, "tsne").items():
        points = np.full((len(arrays["labels"]), 2), np.nan)
        points[samples.rows[chosen]] = plane.points
        added[f"tsne/{name}"] = points
    return {**arrays, **added}


def self_similarity_figure(
    arrays: Mapping[str, np.ndarray], class_names: Sequence[str], title: str
) -> Figure:
    """Cosines between a space's samples, sorted by class.

    All have one color scale. At most 300 evenly spaced samples are shown. Samples are
    left out as in `spaces_figure`.

    Args:
        arrays: as for `spaces_figure`.
        class_names: of all C classes.
        title: of the figure.

    Returns:
        A figure of three panels and a color bar.

    Raises:
        ValueError: as `spaces_figure`.
    """
    samples = samples_of(arrays, class_names)
    order = np.argsort(samples.labels, kind="stable")
    order = order[evenly(order.size, _MOST_ROWS)]
    maps = {name: _cosines(x[order]) for name, x in samples.spaces.items()}
    lowest = min(cosines.min() for cosines in maps.values())
    height = 2.75 + 0.055 * max(map(len, class_names)) + 0.25 * bool(samples.note)
    figure = Figure((WIDTH, height), layout="compressed")
    figure.suptitle(title + samples.note, fontsize=10)
    grid = figure.subplots(1, len(DRAWN), sharey=True)
    for axes, (name, heading) in zip(grid, DRAWN.items(), strict=True):
        image = axes.imshow(
            maps[name], vmin=lowest, vmax=1.0, cmap="cividis", interpolation="nearest"
        )
        axes.set_title(heading, fontsize=9)
        _name_blocks(axes, samples.labels[order], class_names)
    for axes in grid[1:]:
        axes.tick_params(labelleft=False)
    bar = figure.colorbar(image, ax=list(grid), shrink=0.8, pad=0.01)
    bar.set_label("cosine of two samples", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return figure


def samples_of(arrays: Mapping[str, np.ndarray], class_names: Sequence[str]) -> Samples:
    """The samples that have coordinates in all spaces drawn; arrays checked."""
    missing = [name for name in (*DRAWN, "labels") if name not in arrays]
    if missing:
        raise ValueError(
            f"the arrays lack {missing}; they have {sorted(arrays)}. Give what a run "
            "wrote into its folder `parts`."
        )
    labels = arrays["labels"]
    lengths = {name: len(arrays[name]) for name in (*DRAWN, "labels")}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the arrays must be of the same samples; got {lengths} rows.")
    if labels.size and not 0 <= labels.min() <= labels.max() < len(class_names):
        raise ValueError(
            f"labels must be in 0..{len(class_names) - 1}, as there are "
            f"{len(class_names)} class names; got {labels.min()} to {labels.max()}."
        )
    finite = [np.isfinite(arrays[name]).all(axis=1) for name in DRAWN]
    kept = np.logical_and.reduce(finite)
    if not kept.any():
        raise ValueError(
            f"there is no sample to draw: of {kept.size}, none has finite coordinates "
            "in every space."
        )
    left_out = kept.size - kept.sum()
    note = f"\n({left_out} of {kept.size} samples left out: no coordinates)"
    spaces = {name: arrays[name][kept] for name in DRAWN}
    rows = np.flatnonzero(kept)
    return Samples(spaces, labels[kept], rows, note if left_out else "")


def _flat(
    arrays: Mapping[str, np.ndarray],
    samples: Samples,
    class_names: Sequence[str],
    projection: Projection,
) -> tuple[dict[str, Plane], np.ndarray, str]:
    """The spaces in 2-D, the points' labels, and a note."""
    if projection != "tsne":
        return planes(samples.spaces, projection), samples.labels, samples.note
    if any(f"tsne/{name}" not in arrays for name in DRAWN):
        arrays = with_tsne(arrays, class_names)
    points = {name: arrays[f"tsne/{name}"][samples.rows] for name in DRAWN}
    chosen = np.isfinite(next(iter(points.values()))).all(axis=1)
    flat = {
        name: Plane(p[chosen], ("t-SNE 1", "t-SNE 2")) for name, p in points.items()
    }
    few = f" of {chosen.sum()} of {chosen.size} samples" if not chosen.all() else ""
    return flat, samples.labels[chosen], few + samples.note


def _scatter(axes: Axes, points: np.ndarray, labels: np.ndarray) -> None:
    """Small points in four rounds, so no class covers others.

    Then class means.
    """
    shown = evenly(len(points), _MOST_POINTS)
    for part in range(4):
        mine = shown[part::4]
        for c in np.unique(labels[mine]):
            x, y = points[mine[labels[mine] == c]].T
            mark = look(c).style | {"markeredgewidth": 0}
            axes.plot(x, y, linestyle="", **mark, markersize=2.5, alpha=0.4)
    for c in np.unique(labels):
        x, y = points[labels == c].mean(axis=0)
        axes.plot(x, y, linestyle="", **look(c).style, markersize=8)


def _cosines(rows: np.ndarray) -> np.ndarray:
    """(T, T); zero where a row is zero."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = rows / np.where(norms == 0, 1, norms)
    return unit @ unit.T


def _name_blocks(axes: Axes, labels: np.ndarray, class_names: Sequence[str]) -> None:
    """Class names at blocks with lines between; fewer, if many."""
    present, starts = np.unique(labels, return_index=True)
    edges = np.append(starts, labels.size)
    for edge in edges[1:-1] if present.size <= MOST_NAMES else ():
        axes.axhline(edge - 0.5, color="white", linewidth=0.4)
        axes.axvline(edge - 0.5, color="white", linewidth=0.4)
    every = math.ceil(present.size / MOST_NAMES)
    middles = (edges[:-1] + edges[1:] - 1)[::every] / 2
    names = [class_names[c] for c in present[::every]]
    axes.set_xticks(middles, names, rotation=90)
    axes.set_yticks(middles, names)
    axes.tick_params(labelsize=7, length=2)
