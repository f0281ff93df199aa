"""The atlas's accuracy and CKA by number and choice of anchors."""

from functools import partial
from typing import Any

from experiments.readmes.files import Runs
from experiments.runs.rows import in_cell, markdown_table

RUN = "fashion_mnist_7k"
CELLS = (("A", "S4_N2"), ("C", "T2"))
METRICS = ("accuracy", "cka")


def keep(row: dict[str, Any]) -> bool:
    """The metrics of the tables."""
    return row["metric"] in METRICS


def by_number(runs: Runs, setting: tuple[str, str], metric: str) -> str:
    """A line a number of anchors, a column a choice and protocol."""
    rows = [
        row
        for row in runs[RUN]["rows"]
        if (row["scenario"], row["setting"], row["metric"]) == (*setting, metric)
    ]
    choices, protocols = (
        dict.fromkeys(row[name] for row in rows) for name in ("choice", "protocol")
    )
    columns = [(choice, protocol) for protocol in protocols for choice in choices]
    lines = []
    for number in sorted({row["anchors"] for row in rows}):
        cells = (
            in_cell(
                [
                    row["value"]
                    for row in rows
                    if (row["choice"], row["protocol"]) == column
                    and row["anchors"] == number
                ]
            )
            for column in columns
        )
        lines.append([str(number), *cells])
    return markdown_table(["anchors", *map(", ".join, columns)], lines)


TABLES = {
    f"{metric}_{'_'.join(setting)}": partial(by_number, setting=setting, metric=metric)
    for metric in METRICS
    for setting in CELLS
}
