"""Three figures: accuracy against width, against charts present, risk against doubt."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.blind.methods import CURVES, METHODS
from experiments.blind.present import METHODS as PRESENT
from experiments.blind.report import values
from experiments.blind.report.values import Rows
from experiments.blind.trust import COVERAGE, DOUBTS
from experiments.plots.saving import WIDTH
from experiments.plots.styles import look
from experiments.runs.rows import settings_of

_POINTS = ("mean", "concat", "gcca", "procrustes")  # of one width
_ELSEWHERE = (
    "concat_white",
    "evidence_alone",
    "consensus_full",
    "consensus_evidence",
    *DOUBTS,
)
_LOOKS = {
    name: look(number) for number, name in enumerate((*CURVES, *_POINTS, *_ELSEWHERE))
}
Draw = Callable[[Axes, tuple[str, str]], None]


def width_figure(rows: Rows) -> Figure:
    """Accuracy against the width of the space.

    A line is a method, a panel a setting. The band is the end-to-end space, mean ±
    standard deviation over seeds; the crosses are spaces of one width.
    """

    def draw(axes: Axes, setting: tuple[str, str]) -> None:
        band = list(values.values(rows, setting, "end_to_end", "at", "probe").values())
        middle, spread = np.mean(band), np.std(band, ddof=1) if len(band) > 1 else 0.0
        axes.axhspan(middle - spread, middle + spread, color="0.85", label="end-to-end")
        for name in CURVES:
            curve = _by_width(rows, setting, name)
            _line(axes, name, METHODS[name].title, curve)
        for name in _POINTS:
            curve = _by_width(rows, setting, name)
            _line(axes, name, METHODS[name].title, curve, linestyle="")
        axes.set_xscale("log", base=2)
        ticks = sorted(_by_width(rows, setting, "atlas"))
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.set_xlabel("width of the space")

    return _panels(rows, draw, "accuracy, blind (the paper's probe)")


def present_figure(rows: Rows) -> Figure:
    """Accuracy against how many charts embed a sample.

    Of a probe that is trained once: on rows of all charts (lines), or on rows of charts
    drawn for each sample (dashes).
    """

    def draw(axes: Axes, setting: tuple[str, str]) -> None:
        for learned, style in {"all": "-", "some": "--"}.items():
            for name, title in PRESENT.items():
                curve = values.present_curve(rows, setting, name, learned)
                label = title if learned == "all" else f"{title} (charts drawn)"
                _line(axes, name, label, curve, linestyle=style)
        axes.set_xticks(list(curve))
        axes.set_xlabel("charts present")

    what = "accuracy on all test samples (dashes: learned from charts drawn for each)"
    return _panels(rows, draw, what)


def risk_figure(rows: Rows) -> Figure:
    """The share of errors among the samples that are least in doubt."""

    def draw(axes: Axes, setting: tuple[str, str]) -> None:
        mine = _of(rows, "trust", setting)
        for score in DOUBTS:
            risks = np.array([r["risk"][score] for r in mine])
            curve = dict(zip(COVERAGE, risks.T.tolist(), strict=True))
            _line(axes, score, f"least doubt by {score}", curve)
        axes.set_xlabel("share of samples kept")

    return _panels(rows, draw, "share of errors among them")


def _by_width(
    rows: Rows, setting: tuple[str, str], name: str
) -> dict[int, list[float]]:
    """By width, the accuracies of all seeds on the test split."""
    accuracies: dict[int, dict[int, float]] = {}
    for row in _of(rows, "accuracy", setting):
        if (row["method"], row["probe"], row["part"]) == (name, "probe", "test"):
            accuracies.setdefault(row["width"], {})[row["seed"]] = row["value"]
    return {width: list(accuracies[width].values()) for width in sorted(accuracies)}


def _of(rows: Rows, of: str, setting: tuple[str, str]) -> list[dict[str, Any]]:
    matching = (r for r in rows if (r["scenario"], r["setting"]) == setting)
    return [r for r in matching if r["of"] == of]


def _line(
    axes: Axes,
    name: str,
    label: str,
    curve: dict[Any, Iterable[float]],
    linestyle: str = "-",
) -> None:
    means = [np.mean(list(of)) for of in curve.values()]
    style = _LOOKS[name].style | {"markersize": 6, "linewidth": 1.2}
    axes.plot(list(curve), means, linestyle=linestyle, label=label, **style)


def _panels(rows: Rows, draw: Draw, what: str) -> Figure:
    """A panel a setting, two in a row, with one legend.

    All have one scale.
    """
    keys = settings_of(rows)
    columns = min(2, len(keys))
    lines = -(-len(keys) // columns)
    figure = Figure((WIDTH, 3.1 * lines + 1.2), layout="constrained")
    grid = list(figure.subplots(lines, columns, sharey=True, squeeze=False).flat)
    for axes, setting in zip(grid, keys, strict=False):
        draw(axes, setting)
        axes.set_title(" ".join(setting), fontsize=9)
        axes.grid(color="0.9", linewidth=0.5)
        axes.tick_params(labelsize=8)
    for axes in grid[len(keys) :]:
        axes.set_axis_off()
    figure.supylabel(what, fontsize=9)
    # A dashed line is the method of the full one of its color, as the axis says.
    named = zip(*figure.axes[0].get_legend_handles_labels(), strict=True)
    entries = [(h, name) for h, name in named if h.get_linestyle() != "--"]
    figure.legend(
        *zip(*entries, strict=True),
        loc="outside lower center",
        ncols=2,
        fontsize=8,
        frameon=False,
    )
    return figure
