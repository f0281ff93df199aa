"""The paper's spaces: accuracies, differences and what held, setting by setting."""

from typing import Any

import numpy as np

from experiments.paper import claims
from experiments.paper.tables import SPACES
from experiments.readmes.files import NotPublished, Runs
from experiments.runs.rows import (
    Rows,
    in_cell,
    markdown_table,
    of_setting,
    select,
    settings_of,
)

DEFAULT = "fashion_mnist_7k"
# The whole of Fashion-MNIST: one run for each of the paper's tables and kind of chart.
WHOLE = {
    kind: tuple(f"whole_{table}_{kind}" for table in ("shared", "disjoint", "total"))
    for kind in ("cnn", "lite0")
}
# A space less another; the words of the rows.
PAIRS = {
    "atlas less end-to-end": ("merged", "original_abs"),
    "atlas, Nystroem, less end-to-end": ("merged_nystroem", "original_abs"),
    "atlas less mean of embeddings": ("merged", "mean_abs"),
    "atlas less concatenation": ("merged", "concat_abs"),
    "atlas, Nystroem, less mean of embeddings": ("merged_nystroem", "mean_abs"),
    "atlas, Nystroem, less concatenation": ("merged_nystroem", "concat_abs"),
    "end-to-end, task known, less end-to-end": ("original_abs_task", "original_abs"),
    "atlas less end-to-end, task known": ("merged", "original_abs_task"),
    "atlas, Nystroem, less end-to-end, task known": (
        "merged_nystroem",
        "original_abs_task",
    ),
}
_CONTROL = {
    "original_abs_task": "end-to-end, task known",
    "original_abs_task_embedding": "end-to-end, task learned",
}
Cell = tuple[tuple[str, str], str]


def keep(row: dict[str, Any]) -> bool:
    """Accuracies, and what the facts and the reading of them need."""
    return row["metric"] in {
        "accuracy",
        "accuracy_leakfree",
        "accuracy_train_split",
        "cka",
        "cka_shared",
        "cka_novel",
        "separability",
        "scored_rows",
    }


def by_space(rows: Rows, metric: str) -> str:
    """A metric of all spaces, a column a setting and protocol."""
    cells = _cells(rows)
    lines = []
    for space, title in (SPACES | _CONTROL).items():
        shown = [in_cell(_values(rows, cell, space, metric).values()) for cell in cells]
        if any(text != "n/a" for text in shown):
            lines.append([f"{title}, `{space}`", *shown])
    return markdown_table([metric.replace("cka", "CKA"), *_heads(cells)], lines)


def differences(rows: Rows) -> str:
    """In points of accuracy, paired by seed."""
    cells = _cells(rows)
    lines = []
    for title, (ours, theirs) in PAIRS.items():
        shown = []
        for cell in cells:
            more, less = (_values(rows, cell, s, "accuracy") for s in (ours, theirs))
            gaps = [100 * (more[seed] - less[seed]) for seed in more if seed in less]
            shown.append(_points(gaps))
        if any(text != "n/a" for text in shown):
            lines.append([title, *shown])
    return markdown_table(["points of accuracy", *_heads(cells)], lines)


def whole(runs: Runs, kind: str) -> Rows:
    """The rows of the paper's tables for a kind of chart.

    They are of the runs that there are.

    Raises:
        NotPublished: if there is none.
    """
    parts = [runs[name]["rows"] for name in WHOLE[kind] if name in runs]
    if not parts:
        raise NotPublished(f"experiments/paper/published/{WHOLE[kind][0]}.json")
    return [row for rows in parts for row in rows]


def facts(rows: Rows) -> str:
    """How many of the paper's facts hold, by protocol."""
    checked = claims.check(rows)
    lines = []
    for protocol in dict.fromkeys(fact.protocol for fact in checked):
        holds = [fact.holds for fact in checked if fact.protocol == protocol]
        failing = [
            f"{fact.statement} ({fact.scenario} {fact.setting})"
            for fact in checked
            if fact.protocol == protocol and not fact.holds
        ]
        count = [str(sum(map(bool, holds))), str(len(holds))]
        lines.append([protocol, *count, "; ".join(failing) or "none"])
    return markdown_table(["protocol", "hold", "of", "do not hold"], lines)


TABLES = {
    "accuracy": lambda runs: by_space(runs[DEFAULT]["rows"], "accuracy"),
    "cka": lambda runs: by_space(runs[DEFAULT]["rows"], "cka"),
    "differences": lambda runs: differences(runs[DEFAULT]["rows"]),
    "facts": lambda runs: facts(runs[DEFAULT]["rows"]),
    "whole_cnn": lambda runs: by_space(whole(runs, "cnn"), "accuracy"),
    "whole_cnn_differences": lambda runs: differences(whole(runs, "cnn")),
    "whole_cnn_facts": lambda runs: facts(whole(runs, "cnn")),
    "whole_lite0": lambda runs: by_space(whole(runs, "lite0"), "accuracy"),
    "whole_lite0_differences": lambda runs: differences(whole(runs, "lite0")),
    "whole_lite0_facts": lambda runs: facts(whole(runs, "lite0")),
}


def _cells(rows: Rows) -> list[Cell]:
    protocols = dict.fromkeys(row["protocol"] for row in rows)
    return [(key, protocol) for key in settings_of(rows) for protocol in protocols]


def _heads(cells: list[Cell]) -> list[str]:
    return [f"{' '.join(key)}, {protocol}" for key, protocol in cells]


def _values(rows: Rows, cell: Cell, space: str, metric: str) -> dict[int, float]:
    key, protocol = cell
    return select(of_setting(rows, key), protocol, space, metric)


def _points(gaps: list[float]) -> str:
    if not gaps:
        return "n/a"
    spread = f" ± {np.std(gaps, ddof=1):.1f}" if len(gaps) > 1 else ""
    return f"{np.mean(gaps):+.1f}{spread}"
