"""Curves over a sequence of tasks: forgetting, table, figure."""

from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from experiments.plots.saving import WIDTH
from experiments.plots.styles import COLORS
from experiments.runs.rows import Rows, in_cell, markdown_table


class Line(NamedTuple):
    """How a method is named and drawn."""

    title: str
    color: str
    marker: str
    dashes: str = "-"


# A color for what is alike; markers and dashes too, so that grey print will do.
LINES = {
    "end_to_end": Line("end-to-end, all tasks so far", COLORS[2], "s"),
    "end_to_end_rel": Line("end-to-end, relative", COLORS[2], "<", "--"),
    "atlas": Line("atlas", COLORS[0], "o"),
    "atlas_nystroem": Line("atlas, Nystroem coordinates", COLORS[0], "*", "--"),
    "consensus": Line("consensus", COLORS[3], "h"),
    "concat": Line("concatenation", COLORS[1], "^"),
    "finetuned": Line("one chart, fine-tuned", COLORS[5], "v"),
    "finetuned_head": Line("fine-tuned, its own head", COLORS[5], "x", ":"),
    "pixels": Line("no chart: pixels", COLORS[8], "D", ":"),
    "charts": Line("weights of all charts", COLORS[4], "P", "--"),
    "consensus_rows": Line("consensus: public rows", COLORS[3], ".", ":"),
}
PROTOCOLS = {"blind": "blind (without an oracle)", "oracle": "oracle (task known)"}
METRICS = {
    "accuracy": "Accuracy of the classifier",
    "class_mean_accuracy": "Accuracy of the nearest class mean",
    "cka": "CKA with end-to-end",
    "forgetting": "Forgetting",
}
_DRAWN = ("accuracy", "cka", "forgetting")
# By space: what the bytes and the seconds are of.
_BYTES = {
    "atlas": "atlas: the state",
    "consensus": "consensus: the state",
    "consensus_rows": "consensus: public rows of all charts",
    "concat": "concatenation: its rows",
    "finetuned": "fine-tuned: the chart",
    "charts": "weights of all charts (for later samples)",
    "pixels": "public images (all methods)",
}
_SECONDS = {
    "atlas": "the chart joins the atlas",
    "consensus": "the consensus is fitted anew",
    "charts": "the task's chart is trained",
    "end_to_end": "end-to-end is trained, on all so far",
}
_COSTS_ONLY = ("charts", "consensus_rows")  # not drawn in the panels of accuracy
_COSTS = {"bytes": _BYTES, "seconds": _SECONDS}


def table(settings: dict[str, Any], rows: Rows) -> str:
    """The curves in Markdown, a column a task.

    Args:
        settings: of the results file.
        rows: of the results file.
    """
    options = settings["options"]
    seeds = ", ".join(map(str, options["seeds"]))
    lines = [
        f"# {options['dataset']}, {options['settings'][0]}: tasks one after another\n",
        f"Mean ± standard deviation over seeds {seeds}, after each task. "
        f"{_num_public(options)} public samples, of which {options['num_anchors']} "
        "are anchors; every classifier learns from the public samples of the classes "
        "so far, and is tested on the test samples of these. `blind`: a sample is "
        "embedded by all charts so far. `oracle`: by those of its own tasks, which "
        "takes knowledge of its class. CKA is with the end-to-end space of the same "
        "kind, relative or not. Forgetting: of the earlier tasks, the best accuracy "
        "after any earlier step less that now.\n",
    ]
    titles = METRICS | {metric: metric.capitalize() for metric in _COSTS}
    for metric, title in titles.items():
        lines += [f"## {title}\n", by_task(rows, metric), ""]
    lines.append(
        "A chart joins: it embeds all rows of the state, they are made relative to the "
        "anchors, and added; compiling left out. The consensus is fitted anew: without "
        "the embedding, which both need. Both are the fewest of three. Seconds on "
        f"{settings['device']}.\n"
    )
    return "\n".join(lines)


def by_task(rows: Rows, metric: str) -> str:
    """A metric in Markdown.

    A line is a method and protocol, a column a task.

    Args:
        rows: of the results file.
        metric: one of `METRICS`, "bytes" or "seconds".
    """
    steps = sorted({row["step"] for row in rows})
    costs = _COSTS.get(metric)
    lines = []
    for space in costs or LINES:
        for protocol in ("both", *PROTOCOLS):
            values = _values(rows, metric, (protocol,), space)
            if values:
                name = costs[space] if costs else title_of(space, protocol)
                cells = (_cell(metric, values.get(step, [])) for step in steps)
                lines.append([name, *cells])
    return markdown_table(["tasks so far", *map(str, steps)], lines)


def title_of(space: str, protocol: str) -> str:
    """A method's name in the tables."""
    name = LINES[space].title
    return name if protocol == "both" else f"{name}, {protocol}"


def figure(rows: Rows) -> Figure:
    """The curves of both protocols: mean and standard deviation over seeds.

    Args:
        rows: of the results file.

    Returns:
        A figure of four rows of panels: accuracy, CKA, forgetting; bytes and seconds.
    """
    drawn = Figure((WIDTH, 10.5), layout="constrained")
    drawn.suptitle(
        "After each task: mean over seeds, bars of one standard deviation", fontsize=10
    )
    grid = drawn.subplots(4, 2, sharex=True)
    for axes_of, metric in zip(grid[:3], _DRAWN, strict=True):
        axes_of[1].sharey(axes_of[0])
        for axes, (protocol, title) in zip(axes_of, PROTOCOLS.items(), strict=True):
            for space in LINES:
                _draw(axes, rows, metric, (protocol, "both"), space)
            axes.set_title(f"{METRICS[metric]}, {title}", fontsize=9)
    _costs(grid[3, 0], rows, "bytes", _BYTES, 1e6)
    _costs(grid[3, 1], rows, "seconds", _SECONDS, 1)
    grid[3, 0].set_title("Megabytes kept from task to task", fontsize=9)
    grid[3, 1].set_title("Seconds", fontsize=9)
    for axes in grid.flat:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.25)
    for axes in grid[3]:
        axes.set_xlabel("tasks so far", fontsize=8)
    handles = [_handle(LINES[space]) for space in LINES if space not in _COSTS_ONLY]
    drawn.legend(
        handles=handles, loc="outside lower center", ncols=3, fontsize=8, frameon=False
    )
    return drawn


def _costs(
    axes: Axes, rows: Rows, metric: str, titles: dict[str, str], unit: float
) -> None:
    """A panel of bytes or of seconds, with names of its own."""
    for space, title in titles.items():
        _draw(axes, rows, metric, ("both", *PROTOCOLS), space, unit, title)
    axes.set_ylim(bottom=0)
    if axes.lines:
        axes.legend(fontsize=7, edgecolor="none")  # on white, as lines pass behind


def _num_public(options: dict[str, Any]) -> int:
    """Older results have the public samples as those held out."""
    return options.get("num_public") or options["num_held_out"]


def _cell(metric: str, values: list[float]) -> str:
    if metric == "bytes" and values:
        return f"{np.mean(values):,.0f}"
    return in_cell(values)


def _values(
    rows: Rows, metric: str, protocols: tuple[str, ...], space: str
) -> dict[int, list[float]]:
    """By step, those of all seeds."""
    by_step: dict[int, list[float]] = {}
    for row in rows:
        mine = row["metric"] == metric and row["space"] == space
        if mine and row["protocol"] in protocols:
            value = np.nan if row["value"] is None else row["value"]
            by_step.setdefault(row["step"], []).append(value)
    return by_step


def _draw(
    axes: Axes,
    rows: Rows,
    metric: str,
    protocols: tuple[str, ...],
    space: str,
    unit: float = 1,
    label: str = "",
) -> None:
    """Draw a line, with bars for several seeds."""
    values = _values(rows, metric, protocols, space)
    if not values:
        return
    steps, line = sorted(values), LINES[space]
    of_steps = [np.array(values[step]) / unit for step in steps]
    several = min(map(len, of_steps)) > 1
    axes.errorbar(
        steps,
        [np.mean(step) for step in of_steps],
        [np.std(step, ddof=1) for step in of_steps] if several else None,
        linestyle=line.dashes, color=line.color, marker=line.marker, markersize=4,
        linewidth=1.2, elinewidth=0.7, label=label,
    )  # fmt: skip


def _handle(line: Line) -> Line2D:
    return Line2D(
        [], [], linestyle=line.dashes, color=line.color, marker=line.marker,
        markersize=4, label=line.title,
    )  # fmt: skip
