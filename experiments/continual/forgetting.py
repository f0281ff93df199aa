"""How much of earlier tasks is lost."""

from collections import defaultdict
from typing import Any

import numpy as np

from experiments.runs.rows import Rows

_OF_TASK = "accuracy_task_"


def forgetting(rows: Rows) -> Rows:
    """A row for each method, seed and step but the first.

    The mean over earlier tasks of the best accuracy on the task's test samples after
    any earlier step, less that now. It may be below zero.

    Args:
        rows: those that are there of accuracies on each task.
    """
    by_unit: dict[tuple, dict[tuple[int, int], float]] = defaultdict(dict)
    about: dict[tuple, dict[str, Any]] = {}
    names = ("scenario", "setting", "seed", "protocol", "space")
    for row in rows:
        if row["metric"].startswith(_OF_TASK):
            key = tuple(row[name] for name in names)
            task = int(row["metric"].removeprefix(_OF_TASK))
            by_unit[key][row["step"], task] = row["value"]
            about[key] = {name: row[name] for name in names}
    made = []
    for key, values in by_unit.items():
        for step in range(2, max(step for step, _ in values) + 1):
            lost = [
                max(values[before, task] for before in range(task, step))
                - values[step, task]
                for task in range(1, step)
            ]
            about_it = {"step": step, "metric": "forgetting"}
            made.append(about[key] | about_it | {"value": float(np.mean(lost))})
    return made
