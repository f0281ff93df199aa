"""Curves over tasks that come one after another, a table a metric."""

from functools import partial

import numpy as np

from experiments.continual import curves
from experiments.readmes.files import Runs
from experiments.runs.rows import markdown_table

RUN = "fashion_mnist_7k"
# The methods, by protocol and space, beside which the gain of the consensus stands.
LESS = (
    ("blind", "atlas"),
    ("blind", "atlas_nystroem"),
    ("blind", "concat"),
    ("both", "finetuned"),
    ("both", "pixels"),
)


def by_task(runs: Runs, metric: str) -> str:
    """A line a method and protocol, a column a task."""
    return curves.by_task(runs[RUN]["rows"], metric)


def gains(runs: Runs) -> str:
    """Points that consensus gains over other methods, paired by seed."""
    values: dict[tuple[str, str], dict[tuple[int, int], float]] = {}
    for row in runs[RUN]["rows"]:
        if row["metric"] == "accuracy":
            method = values.setdefault((row["protocol"], row["space"]), {})
            method[row["step"], row["seed"]] = row["value"]
    ours = values["blind", "consensus"]
    steps = sorted({step for step, _ in ours})
    lines = []
    for other in LESS:
        differences = (
            [
                100 * (value - values[other][step, seed])
                for (step, seed), value in ours.items()
                if step == now
            ]
            for now in steps
        )
        cells = [f"{np.mean(d):+.1f} ± {np.std(d, ddof=1):.1f}" for d in differences]
        lines.append([f"less {curves.title_of(other[1], other[0])}", *cells])
    head = ["consensus, blind: points gained after task", *map(str, steps)]
    return markdown_table(head, lines)


TABLES = {"gains": gains} | {
    metric: partial(by_task, metric=metric)
    for metric in (*curves.METRICS, "bytes", "seconds")
}
