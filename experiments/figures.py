"""The pictures of the spaces: in 2-D, and their self-similarity; saving any picture.

Everything is drawn on `Figure` objects of its own, without pyplot: nothing is shared
between threads, and nothing is left open.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments import store

WIDTH = 8.0  # inches: at 150 dots, 1200 pixels, which README shows at about 900
DPI = 150
DRAWN = {
    "both/original_rel": "end-to-end, relative",
    "oracle/merged": "atlas, oracle (task told)",
    "blind/merged": "atlas, blind (task not told)",
}
_MOST_POINTS, _MOST_ROWS, _MOST_NAMES = 3000, 300, 20
# Tol's muted colours and black. Their number and that of the markers have no common
# divisor, so that 110 classes differ in one or the other.
_CLASS_COLOURS = (
    "#999933", "#CC6677", "#117733", "#88CCEE", "#882255",
    "#332288", "#000000", "#44AA99", "#AA4499", "#DDCC77",
)  # fmt: skip
_CLASS_MARKERS = "os^DvPX<>p*"


class Samples(NamedTuple):
    """What the pictures of the spaces are drawn from.

    Attributes:
        spaces: by the names of `DRAWN`, (T, A) each, without rows that are not finite.
        labels: (T,).
        note: how many rows were left out, in words; empty if none.
    """

    spaces: dict[str, np.ndarray]
    labels: np.ndarray
    note: str


def spaces_figure(
    arrays: Mapping[str, np.ndarray], class_names: Sequence[str], title: str
) -> Figure:
    """The end-to-end and the merged spaces in 2-D: PCA, each on axes of its own.

    A sample of which some space has no finite coordinates is left out of all three, and
    the figure says so. Of more than 3000 samples, as many evenly spaced ones are drawn.

    Args:
        arrays: as `run.unit` writes them: the spaces named in `DRAWN`, (T, A) each, and
            labels, (T,).
        class_names: of all C classes.
        title: of the figure.

    Returns:
        A figure of three panels and one legend. Large marks are class means.

    Raises:
        ValueError: if an array is missing, their lengths differ, a label has no name,
            or no sample can be drawn.
    """
    samples = _samples(arrays, class_names)
    font = 8 if len(class_names) <= _MOST_NAMES else 6
    entry = (5 + 0.66 * max(map(len, class_names))) * font / 72  # inches wide
    columns = max(1, min(5 if font == 8 else 10, int(WIDTH / entry)))
    height = 3.2 + 0.023 * font * math.ceil(len(class_names) / columns)
    figure = Figure((WIDTH, height), layout="constrained")
    figure.suptitle(title + samples.note, fontsize=10)
    grid = figure.subplots(1, len(DRAWN))
    for axes, (name, heading) in zip(grid, DRAWN.items(), strict=True):
        points, shares = principal_axes(samples.spaces[name])
        _scatter(axes, points, samples.labels)
        axes.set_title(heading, fontsize=9)
        axes.set_xlabel(f"PC 1 ({shares[0]:.0%} of variance)", fontsize=8)
        axes.set_ylabel(f"PC 2 ({shares[1]:.0%} of variance)", fontsize=8)
        axes.set(xticks=[], yticks=[])
    handles = [
        Line2D([], [], linestyle="", label=name, **_mark(c), markersize=6)
        for c, name in enumerate(class_names)
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, fontsize=font,
        frameon=False,
    )  # fmt: skip
    return figure


def self_similarity_figure(
    arrays: Mapping[str, np.ndarray], class_names: Sequence[str], title: str
) -> Figure:
    """Cosines between the samples of a space, sorted by class; one colour scale.

    At most 300 evenly spaced samples are shown. Samples are left out as in
    `spaces_figure`.

    Args:
        arrays: as for `spaces_figure`.
        class_names: of all C classes.
        title: of the figure.

    Returns:
        A figure of three panels and a colour bar.

    Raises:
        ValueError: as `spaces_figure`.
    """
    samples = _samples(arrays, class_names)
    order = np.argsort(samples.labels, kind="stable")
    order = order[_evenly(order.size, _MOST_ROWS)]
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


def save(figure: Figure, path: Path) -> None:
    """Write the figure as a PNG, in full or not at all: the same bytes every time."""
    store.write(
        path,
        lambda stream: figure.savefig(
            stream, format="png", dpi=DPI, metadata={"Software": None}
        ),
    )
    # Laid out once more, from where it is now, a figure would move by some pixels.
    figure.set_layout_engine("none")


def principal_axes(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows on their two principal axes, and the variance that each explains.

    Args:
        rows: (T, A), finite.

    Returns:
        (T, 2), centred, an axis pointing where its largest loading is positive; and
        (2,), shares of the variance in 0..1, zero where nothing varies.
    """
    x = rows.astype(np.float64)
    x = np.pad(x - x.mean(axis=0), ((0, 0), (0, max(0, 2 - x.shape[1]))))
    variances, axes = np.linalg.eigh(x.T @ x)
    variances, axes = variances[:-3:-1].clip(0), axes[:, :-3:-1]
    largest = np.abs(axes).argmax(axis=0)
    axes = axes * np.sign(axes[largest, [0, 1]])
    return x @ axes, variances / (np.square(x).sum() or 1.0)


def _samples(arrays: Mapping[str, np.ndarray], class_names: Sequence[str]) -> Samples:
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
    return Samples(spaces, labels[kept], note if left_out else "")


def _scatter(axes: Axes, points: np.ndarray, labels: np.ndarray) -> None:
    """Small points, in four rounds so that no class covers all others; class means."""
    shown = _evenly(len(points), _MOST_POINTS)
    for part in range(4):
        mine = shown[part::4]
        for c in np.unique(labels[mine]):
            x, y = points[mine[labels[mine] == c]].T
            mark = _mark(c) | {"markeredgewidth": 0}
            axes.plot(x, y, linestyle="", **mark, markersize=2.5, alpha=0.4)
    for c in np.unique(labels):
        x, y = points[labels == c].mean(axis=0)
        axes.plot(x, y, linestyle="", **_mark(c), markersize=8)


def _mark(c: int) -> dict[str, Any]:
    """A class's colour and shape."""
    return {
        "color": _CLASS_COLOURS[c % len(_CLASS_COLOURS)],
        "marker": _CLASS_MARKERS[c % len(_CLASS_MARKERS)],
        "markeredgecolor": "white",
        "markeredgewidth": 0.7,
    }


def _evenly(size: int, most: int) -> np.ndarray:
    """Positions, `most` of them at most, evenly spaced in range(size)."""
    return np.linspace(0, size - 1, min(size, most)).round().astype(int)


def _cosines(rows: np.ndarray) -> np.ndarray:
    """(T, T); zero where a row is zero."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = rows / np.where(norms == 0, 1, norms)
    return unit @ unit.T


def _name_blocks(axes: Axes, labels: np.ndarray, class_names: Sequence[str]) -> None:
    """Class names at the middle of blocks and lines between them; fewer, if many."""
    present, starts = np.unique(labels, return_index=True)
    edges = np.append(starts, labels.size)
    for edge in edges[1:-1] if present.size <= _MOST_NAMES else ():
        axes.axhline(edge - 0.5, color="white", linewidth=0.4)
        axes.axvline(edge - 0.5, color="white", linewidth=0.4)
    every = math.ceil(present.size / _MOST_NAMES)
    middles = (edges[:-1] + edges[1:] - 1)[::every] / 2
    names = [class_names[c] for c in present[::every]]
    axes.set_xticks(middles, names, rotation=90)
    axes.set_yticks(middles, names)
    axes.tick_params(labelsize=7, length=2)
