"""Accuracy against labels a class, a line a space."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from experiments.few_labels.values import TITLES, numbers_of, values
from experiments.plots.saving import WIDTH
from experiments.plots.styles import look
from experiments.runs.rows import Rows, settings_of

SHOWN = (
    "end_to_end",
    "atlas_from_all",
    "atlas",
    "concat",
    "mean",
    "white_nystroem",
    "consensus",
    "best_chart",
    "pixels",
)
_LOOKS = {name: look(number) for number, name in enumerate(SHOWN)}
_APART = 1.035  # of one line's points from the next's, so that bars do not hide bars


def figure(rows: Rows, classifier: str = "ridge") -> Figure:
    """Mean and standard deviation over seeds and draws of the labels."""
    keys = settings_of(rows)
    lines = -(-len(keys) // 2)
    drawn = Figure((WIDTH, 4.6 * lines + 0.6), layout="constrained")
    grid = drawn.subplots(lines, min(2, len(keys)), sharey=True, squeeze=False)
    panels = list(grid.flat)
    for axes, setting in zip(panels, keys, strict=False):
        _panel(axes, rows, setting, classifier)
    for axes in panels[len(keys) :]:
        axes.set_axis_off()
    drawn.supylabel("accuracy without an oracle", fontsize=9)
    drawn.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
        fontsize=8,
        frameon=False,
    )
    return drawn


def _panel(axes: Axes, rows: Rows, setting: tuple[str, str], classifier: str) -> None:
    numbers = numbers_of(rows)
    for place, name in enumerate(SHOWN):
        accuracies = [
            [*values(rows, setting, name, n, classifier).values()] for n in numbers
        ]
        axes.errorbar(
            np.array([*numbers.values()]) * _APART ** (place - len(SHOWN) / 2),
            [np.mean(of) for of in accuracies],
            [np.std(of, ddof=1) if len(of) > 1 else 0.0 for of in accuracies],
            label=TITLES[name],
            linewidth=1.1,
            elinewidth=0.6,
            **_LOOKS[name].style | {"markersize": 5},
        )
    axes.set_xscale("log")
    ticks = ["all" if n is None else str(n) for n in numbers]
    axes.set_xticks([*numbers.values()], ticks)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("labels a class")
    axes.set_title(" ".join(setting), fontsize=9)
    axes.grid(color="0.9", linewidth=0.5)
    axes.tick_params(labelsize=8)
