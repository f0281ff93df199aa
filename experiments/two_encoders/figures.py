"""Three pictures: copies, charts apart, one index of two models."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.plots.saving import WIDTH
from experiments.plots.styles import look
from experiments.runs.rows import Rows
from experiments.two_encoders import maps
from experiments.two_encoders.report import WAYS
from experiments.two_encoders.tables import chain, index
from experiments.two_encoders.values import select, values

_COPIES = (
    "consensus_chosen",
    "consensus",
    "cca",
    "rotated",
    "procrustes",
    "ridge",
    "atlas_default",
    "atlas_centered_nystroem",
    "atlas",
)
_INDEX = (
    "chosen_all",
    "consensus_2",
    "consensus_1",
    "cca",
    "procrustes",
    "nystroem_centered",
    "nystroem",
    "atlas_white",
    "atlas_centered",
    "atlas",
)


def copies_figure(rows: Rows) -> Figure:
    """Reciprocal rank against shared samples, a panel a pair."""
    mine = select(rows, metric="mrr")
    pairs = list(dict.fromkeys(row["pair"] for row in mine))
    figure, grid = _panels(len(pairs), 4.2)
    for axes, pair in zip(grid, pairs, strict=True):
        cells = select(mine, pair=pair)
        numbers = sorted({row["num_anchors"] for row in cells})
        for place, key in enumerate(_COPIES):
            curve = [values(cells, method=key, num_anchors=n) for n in numbers]
            _points(axes, numbers, curve, maps.METHODS[key].title, place)
        axes.set_xscale("log", base=2)
        axes.set_xticks(numbers, [str(n) for n in numbers], minor=False)
        axes.set_xlabel("shared samples", fontsize=9)
        axes.set_title(pair, fontsize=10)
    figure.supylabel("mean reciprocal rank", fontsize=9)
    return _legend(figure, 2)


def chain_figure(rows: Rows) -> Figure:
    """Reciprocal rank of charts apart, a bar a method."""
    mine = select(rows, metric="mrr")
    pairs = list(dict.fromkeys(row["pair"] for row in mine))
    figure, grid = _panels(len(pairs), 3.6)
    for axes, pair in zip(grid, pairs, strict=True):
        cells = select(mine, pair=pair)
        numbers = sorted({row["num_anchors"] for row in cells})
        width = 0.8 / len(chain.METHODS)
        for place, (key, title) in enumerate(chain.METHODS.items()):
            drawn = [values(cells, method=key, num_anchors=n) for n in numbers]
            left = np.arange(len(numbers)) + (place - len(chain.METHODS) / 2) * width
            axes.bar(
                left,
                [np.mean(each) for each in drawn],
                width,
                yerr=[_spread(each) for each in drawn],
                align="edge",
                color=look(place).color,
                label=_plain(title),
                error_kw={"linewidth": 0.8},
            )
        axes.set_xticks(range(len(numbers)), [f"{n} shared" for n in numbers])
        shape = "chain of three" if pair == "sentences" else "ring of four"
        axes.set_title(f"{pair}, {shape}", fontsize=10)
    figure.supylabel("mean reciprocal rank", fontsize=9)
    return _legend(figure, 1)


def index_figure(rows: Rows, fair_share: float) -> Figure:
    """Reciprocal rank, and beside it the share of new documents."""
    cells = list(dict.fromkeys((row["pair"], row["way"]) for row in rows))
    titles = [_plain(index.METHODS[key][0]) for key in _INDEX]
    places = np.arange(len(_INDEX))
    figure = Figure((WIDTH, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for number, (pair, way) in enumerate(cells):
        mine = select(rows, pair=pair, way=way)
        offset = (number - (len(cells) - 1) / 2) * 0.11
        for axes, metric in ((left, "mrr"), (right, "new")):
            drawn = [values(mine, method=key, metric=metric) for key in _INDEX]
            axes.errorbar(
                [np.mean(each) for each in drawn],
                -places + offset,
                xerr=[_spread(each) for each in drawn],
                linestyle="",
                linewidth=0.8,
                label=f"{pair}, {WAYS[way]}",
                **look(number).style,
                markersize=6,
            )
    left.set_yticks(-places, titles, fontsize=8)
    left.set_xlabel("mean reciprocal rank", fontsize=9)
    right.set_xlabel("share of new ones in the nearest ten", fontsize=9)
    right.axvline(fair_share, color="0.4", linewidth=1)
    for axes in (left, right):
        axes.set_xlim(-0.03, 1.03)
        axes.grid(axis="x", color="0.9", linewidth=0.5)
        axes.tick_params(labelsize=8)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=3, fontsize=8, frameon=False
    )
    return figure


def _panels(count: int, height: float) -> tuple[Figure, Sequence[Axes]]:
    """Panels beside each other, on one scale."""
    figure = Figure((WIDTH, height), layout="constrained")
    grid = list(figure.subplots(1, count, sharey=True, squeeze=False).flat)
    for axes in grid:
        axes.grid(axis="y", color="0.9", linewidth=0.5)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=8)
    return figure, grid


def _points(
    axes: Axes, x: Sequence[int], curve: Sequence[list[float]], title: str, place: int
) -> None:
    style = look(place).style | {"markersize": 6, "linewidth": 1.2, "elinewidth": 0.8}
    means = [np.mean(each) for each in curve]
    spreads = [_spread(each) for each in curve]
    axes.errorbar(list(x), means, yerr=spreads, label=_plain(title), **style)


def _spread(known: Sequence[float]) -> float:
    return float(np.std(known, ddof=1)) if len(known) > 1 else 0.0


def _plain(title: str) -> str:
    return title.replace("*", "")


def _legend(figure: Figure, columns: int) -> Figure:
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=columns,
        fontsize=8,
        frameon=False,
    )
    return figure
