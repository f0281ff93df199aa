"""The picture of the accuracies: every space against the end-to-end one."""

import math
import textwrap
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.paper import tables
from experiments.plots.saving import WIDTH

PROTOCOLS = {
    "oracle": "oracle (task known)",
    "blind": "blind (task not known)",
}
_SAME_IN_BOTH = ("original_abs", "original_rel")
# Protocols differ in hue, and by hatch when printed grey. Each is dark enough for text.
COLORS = {"": "#666666", "oracle": "#0072B2", "blind": "#B34700"}
_HATCHES = {"": "", "oracle": "", "blind": "////"}


class Line(NamedTuple):
    """A line of the accuracy picture; a heading without a space.

    Attributes:
        protocol: empty for what is the same in both.
        space: as in the results, or empty.
    """

    protocol: str
    space: str


def accuracy_figure(
    rows: tables.Rows, settings_titles: Mapping[tuple[str, str], str]
) -> Figure:
    """Probe accuracies as bars from the end-to-end space's accuracy.

    A panel for each setting; a line for each space, those of one protocol together. A
    bar ends at the mean over seeds, a dot is a seed. What bars show is so the distance
    from end-to-end, above or below, and the axis needs no zero. Rows without a value
    (null or NaN) are left out.

    Args:
        rows: of the results, or some of them.
        settings_titles: of each (scenario, setting), in the order to be shown. Settings
            without rows get no panel.

    Returns:
        The figure.

    Raises:
        ValueError: if there is nothing to draw.
    """
    panels = _panels(rows, settings_titles)
    drawn = [r for mine in panels.values() for r in mine]
    lines = _lines(drawn)
    num_rows = math.ceil(len(panels) / 4)
    num_columns = math.ceil(len(panels) / num_rows)
    height = num_rows * (0.65 + 0.2 * len(lines)) + 0.85
    figure = Figure((WIDTH, height), layout="constrained")
    figure.suptitle("Probe accuracy, compared with the end-to-end space", fontsize=10)
    grid = figure.subplots(
        num_rows, num_columns, sharex=True, sharey=True, squeeze=False
    )
    for axes, (key, mine) in zip(grid.flat, panels.items(), strict=False):
        title = f"{key[0]}: {settings_titles[key]}"
        _accuracies(axes, lines, mine, textwrap.fill(title, 110 // (num_columns + 1)))
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for first in grid[:, 0]:
        _name(first, lines)
    start = _scale(grid[0, 0], [100 * r["value"] for r in drawn], num_columns)
    figure.supxlabel(
        f"probe accuracy on test samples, % (the axis starts at {start:.0f})\n"
        "bars and numbers: points above or below end-to-end, mean over seeds; "
        "dots: single seeds",
        fontsize=8,
    )
    return figure


def _panels(
    rows: tables.Rows, titles: Mapping[tuple[str, str], str]
) -> dict[tuple[str, str], tables.Rows]:
    """The accuracies of each setting that has any."""
    panels: dict[tuple[str, str], tables.Rows] = {key: [] for key in titles}
    for r in rows:
        has_value = r["value"] is not None and math.isfinite(r["value"])
        if r["metric"] == "accuracy" and has_value:
            panels.get((r["scenario"], r["setting"]), []).append(r)
    panels = {key: mine for key, mine in panels.items() if mine}
    if not panels:
        raise ValueError(
            f"there is no accuracy to draw: of {len(rows)} rows, none is of metric "
            f"'accuracy', has a value, and is of the settings {list(titles)}. Give the "
            "rows of results.json and the titles of their settings."
        )
    return panels


def _lines(rows: tables.Rows) -> list[Line]:
    """The lines from top to bottom: common ones, then by protocol."""
    measured = {(r["protocol"], r["space"]) for r in rows}
    order = [
        *tables.SPACES,
        *sorted({space for _, space in measured} - set(tables.SPACES)),
    ]
    lines = [Line("", s) for s in _SAME_IN_BOTH if any(s == b for _, b in measured)]
    for protocol in PROTOCOLS:
        section = [
            Line(protocol, space)
            for space in order
            if (protocol, space) in measured and space not in _SAME_IN_BOTH
        ]
        lines += [Line(protocol, ""), *section] if section else []
    return lines


def _values(rows: tables.Rows, line: Line) -> np.ndarray:
    """The accuracies of a line's seeds, in percent."""
    protocols = [line.protocol] if line.protocol else PROTOCOLS
    for protocol in protocols:
        values = tables.select(rows, protocol, line.space, "accuracy")
        if values:
            return 100 * np.array(list(values.values()))
    return np.empty(0)


def _accuracies(axes: Axes, lines: list[Line], rows: tables.Rows, title: str) -> None:
    """One setting's bars, seeds and numbers."""
    origin = _values(rows, Line("", "original_abs"))
    start = origin.mean() if origin.size else math.nan
    if origin.size:
        axes.axvline(start, color="black", linewidth=1)
    for y, line in enumerate(lines):
        if line.protocol:
            color = COLORS[line.protocol]
            axes.axhspan(y - 0.5, y + 0.5, color=color, alpha=0.08, linewidth=0)
        values = _values(rows, line)
        if values.size:
            _bar(axes, y, line, start, values)
    axes.set_title(title, fontsize=8, loc="left")
    axes.tick_params(labelsize=8, left=False, labelbottom=True)
    axes.spines[["left", "right", "top"]].set_visible(False)


def _bar(axes: Axes, y: int, line: Line, start: float, values: np.ndarray) -> None:
    """A bar to the values' mean, the values, and its length.

    With no end-to-end space to start from (NaN) the number is the mean itself.
    """
    mean = values.mean()
    gain, ours = mean - start, line.space == "merged"
    if math.isfinite(start):
        color = COLORS[line.protocol]
        axes.barh(
            y, gain, left=start, height=0.7, linewidth=0.8,
            facecolor=(color, 1.0 if ours else 0.35),
            edgecolor="white" if ours else color, hatch=_HATCHES[line.protocol],
        )  # fmt: skip
    axes.plot(
        values, np.full(values.size, y), "o", markersize=3, markeredgewidth=0.7,
        markeredgecolor="black", markerfacecolor="white",
    )  # fmt: skip
    itself = line.space == "original_abs" or not math.isfinite(start)
    number = f"{gain:+z.1f}".replace("-", "\N{MINUS SIGN}")
    below = gain < 0
    axes.annotate(
        f"{mean:.1f} %" if itself else number,
        (values.min() if below else values.max(), y),
        xytext=(-4 if below else 4, 0), textcoords="offset points",
        ha="right" if below else "left", va="center",
        fontsize=8, fontweight="bold" if ours else "normal",
    )  # fmt: skip


def _scale(axes: Axes, percents: list[float], num_columns: int) -> float:
    """Set limits around values and numbers; return the lower limit."""
    low, high = min(percents), max(percents)
    margin = 0.125 * num_columns * max(high - low, 1.0)
    low, high = max(0.0, math.floor(low - margin)), high + 1.25 * margin
    ticks = MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(low, high)
    axes.set_xlim(low, high)
    axes.set_xticks([t for t in ticks if low <= t <= min(high, 100)])
    return low


def _name(axes: Axes, lines: list[Line]) -> None:
    """The spaces' names and the protocols' headings, beside the first panel."""
    names = [
        tables.SPACES.get(n.space, n.space) or PROTOCOLS[n.protocol] for n in lines
    ]
    axes.set_yticks(range(len(lines)), names)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    for label, line in zip(axes.get_yticklabels(), lines, strict=True):
        label.set_fontweight("bold" if line.space in ("", "merged") else "normal")
        if line.protocol:
            label.set_color(COLORS[line.protocol])
