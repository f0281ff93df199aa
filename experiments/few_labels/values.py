"""The values of a run, by space and number of labels."""

import numpy as np

from experiments.few_labels.methods import METHODS
from experiments.runs.rows import Rows, of_setting

CHARTS = {
    "best_chart": "best single chart, in hindsight",
    "mean_chart": "single chart, mean over charts",
}
# In the order of the tables.
TITLES = {"pixels": METHODS["pixels"].title, **CHARTS} | {
    name: method.title for name, method in METHODS.items()
}
MERGED = tuple(name for name, method in METHODS.items() if method.merged)
Values = dict[tuple[int, int], float]


def numbers_of(rows: Rows) -> dict[int | None, float]:
    """The numbers of labels of a run, and their means a class.

    None stands for all labels. How many classes there are is seen from a balanced draw.
    """
    sizes = {r["labels"]: r["num_labeled"] for r in rows}
    classes = next(size // n for n, size in sizes.items() if n is not None)
    return {n: size / classes for n, size in sizes.items()}


def values(
    rows: Rows,
    setting: tuple[str, str],
    method: str,
    labels: int | None,
    classifier: str = "ridge",
) -> Values:
    """Accuracies by seed and draw.

    Args:
        rows: of the run.
        setting: (scenario, setting).
        method: one of `TITLES`. The best chart is the one with the highest mean over
            the draws of a seed, on the test images themselves: who has few labels
            cannot know it.
        labels: labels a class; None for all.
        classifier: one of `CLASSIFIERS`.
    """
    mine = [
        r
        for r in of_setting(rows, setting)
        if (r["labels"], r["classifier"]) == (labels, classifier)
    ]
    if method in CHARTS:
        return _of_charts(mine, method)
    return {(r["seed"], r["draw"]): r["value"] for r in mine if r["method"] == method}


def _of_charts(rows: Rows, method: str) -> Values:
    chosen: Values = {}
    for seed in dict.fromkeys(r["seed"] for r in rows):
        by_name: dict[str, dict[int, float]] = {}
        for r in rows:
            if r["seed"] == seed and r["method"].startswith("chart"):
                by_name.setdefault(r["method"], {})[r["draw"]] = r["value"]
        charts = list(by_name.values())
        if method == "best_chart":
            charts = [max(charts, key=lambda chart: np.mean([*chart.values()]))]
        chosen |= {
            (seed, draw): float(np.mean([chart[draw] for chart in charts]))
            for draw in charts[0]
        }
    return chosen


def differences(ours: Values, theirs: Values) -> list[float]:
    """Ours less theirs in points, paired by seed and draw."""
    return [100 * (ours[pair] - theirs[pair]) for pair in ours]
