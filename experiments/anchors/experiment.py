"""How many anchors, and which?

On the embedded data and 2 cores a unit takes a minute.
"""

from typing import Any

from experiments.anchors.measure import AnchorOptions, measure, resolve
from experiments.measures.protocols import PROTOCOLS
from experiments.runs.experiment import Experiment
from experiments.runs.rows import (
    Rows,
    in_cell,
    markdown_table,
    of_setting,
    settings_of,
)


def table(results: dict[str, Any]) -> str:
    """The accuracies and CKA of the atlas in Markdown, setting by setting."""
    rows = results["rows"]
    lines = [
        "# Anchors: how many, and which\n",
        "Accuracy of the paper's probe and CKA with the end-to-end chart's relative "
        "space of the same anchors; mean ± standard deviation over seeds. `farthest` "
        "and `kmeans` are chosen in the first chart's space.\n",
    ]
    for setting in settings_of(rows):
        mine = of_setting(rows, setting)
        columns = [(m, p) for m in ("accuracy", "cka") for p in PROTOCOLS]
        cells = []
        for cell in dict.fromkeys((r["anchors"], r["choice"]) for r in mine):
            matching = [r for r in mine if (r["anchors"], r["choice"]) == cell]
            cells.append([*map(str, cell), *(_cell(matching, *c) for c in columns)])
        head = ["anchors", "choice", *(f"{m}, {p}" for m, p in columns)]
        lines += [f"## {', '.join(setting)}\n", markdown_table(head, cells), ""]
    return "\n".join(lines)


def _cell(rows: Rows, metric: str, protocol: str) -> str:
    wanted = (metric, protocol)
    return in_cell([r["value"] for r in rows if (r["metric"], r["protocol"]) == wanted])


EXPERIMENT = Experiment(
    name="anchors",
    about=(
        "Measure the atlas with other numbers of anchors, and other choices of them: "
        "at random, balanced over the classes, far apart, near the centres of "
        "clusters. Writes results.json and table.md; on the embedded data and 2 cores "
        "a minute a setting and seed. If it is interrupted, the same command goes on."
    ),
    options=AnchorOptions(scenario=("A", "C"), settings=("S4_N2", "T2")),
    unused=("num_held_out",),
    measure=measure,
    report=table,
    resolve=resolve,
)
