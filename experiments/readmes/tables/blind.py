"""Merging without an oracle: accuracies, differences, charts present, doubts."""

from collections.abc import Callable
from functools import partial
from typing import Any

from experiments.blind.methods import METHODS
from experiments.blind.present import LEARNED_FROM
from experiments.blind.present import METHODS as PRESENT
from experiments.blind.report import goals, tables
from experiments.blind.report.values import (
    Rows,
    present_curve,
    single_chart_probe,
    values,
)
from experiments.readmes.files import Runs
from experiments.runs.rows import in_cell, markdown_table, settings_of

# By what stands in a table's name: the run.
RUNS = {"7k": "fashion_mnist_7k", "20k": "fashion_mnist_20k"}
PROBES = {"accuracy": "probe", "ridge": "ridge", "class_means": "class_means"}
SETTING = ("A", "S2_N2")  # of the tables of some charts only


def keep(row: dict[str, Any]) -> bool:
    """Drop the rows that no table shows."""
    if row["of"] == "present":
        one = len(row["charts"]) == 1
        return one or (row["scenario"], row["setting"]) == SETTING
    if row["of"] == "accuracy":
        chosen = row["method"].startswith("chart") and row["role"] == "at"
        return row["role"] != "curve" and (row["part"] == "test" or chosen)
    return True


def accuracies(rows: Rows, probe: str) -> str:
    """A line a space, a column a setting, on the test split."""
    keys = settings_of(rows)
    named = {("best_chart", "at"): "best single chart"}
    named |= {(name, "at"): method.title for name, method in METHODS.items()}
    named |= {
        (name, "full"): f"{method.title}, M D wide"
        for name, method in METHODS.items()
        if method.wide
    }
    lines = [
        [title, *(in_cell(values(rows, key, *of, probe).values()) for key in keys)]
        for of, title in named.items()
    ]
    return markdown_table(["accuracy", *map(" ".join, keys)], lines)


def present(rows: Rows) -> str:
    """Accuracies by method where one chart embeds a test sample."""
    lines, heads = [], []
    for method, title in PRESENT.items():
        curves = {
            learned: present_curve(rows, SETTING, method, learned)
            for learned in LEARNED_FROM
        }
        heads = [
            f"{size} of {max(curve)}{', drawn' if learned == 'some' else ''}"
            for learned, curve in curves.items()
            for size in curve
        ]
        cells = (in_cell(v) for curve in curves.values() for v in curve.values())
        lines.append([title, *cells])
    alone = ["each chart's own probe", single_chart_probe(rows, SETTING)]
    lines.append([*alone, *[""] * (len(heads) - 1)])
    return markdown_table([" ".join(SETTING), *heads], lines)


def one_chart(rows: Rows) -> str:
    """Accuracies by method where one chart embeds a test sample."""
    columns = [(key, learned) for learned in LEARNED_FROM for key in settings_of(rows)]
    lines = []
    for method, title in PRESENT.items():
        curves = (present_curve(rows, key, method, of) for key, of in columns)
        lines.append([title, *(in_cell(curve[1]) for curve in curves)])
    alone = [single_chart_probe(rows, key) for key in settings_of(rows)]
    lines.append(["each chart's own probe", *alone, *[""] * len(alone)])
    heads = [f"{' '.join(key)}{', drawn' * (of == 'some')}" for key, of in columns]
    return markdown_table(["one chart of M", *heads], lines)


def _of(run: str, made: Callable[[Rows], str]) -> Callable[[Runs], str]:
    return lambda runs: made(runs[run]["rows"])


TABLES = {
    f"{name}_{size}": _of(run, made)
    for size, run in RUNS.items()
    for name, made in {
        **{name: partial(accuracies, probe=p) for name, p in PROBES.items()},
        "goals": goals.goals,
        "present": present,
        "one_chart": one_chart,
        "trust": tables.trust,
    }.items()
}
