"""The results in tables, from the file of a run."""

from typing import Any

import numpy as np

from experiments.few_labels.values import (
    MERGED,
    TITLES,
    Values,
    differences,
    numbers_of,
    values,
)
from experiments.runs.rows import Rows, in_cell, markdown_table, settings_of

CLASSIFIER_TITLES = {
    "ridge": "A ridge classifier",
    "class_means": "The nearest class mean",
}
WIDE = ("concat", "concat_unit")  # as wide as all charts side by side
# Each less the other, in points.
PAIRS = (
    ("atlas_from_all", "best_chart"),
    ("atlas_from_all", "mean_chart"),
    ("atlas_from_all", "mean"),
    ("atlas_from_all", "concat"),
    ("atlas_from_all", "concat_unit"),
    ("atlas_from_all", "white_nystroem"),
    ("atlas_from_all", "consensus"),
    ("atlas_from_all", "atlas"),
    ("atlas", "best_chart"),
    ("atlas", "concat"),
    ("mean", "best_chart"),
    ("concat", "best_chart"),
    ("consensus", "best_chart"),
    ("atlas_from_all", "end_to_end"),
)


def text(results: dict[str, Any]) -> str:
    """The whole of table.md, of what results.json holds."""
    rows, options = results["rows"], results["settings"]["options"]
    parts = [
        f"# Few labels: {options['dataset']}",
        " ".join(
            [
                "Accuracy on the test split against labels a class; every chart embeds "
                "every image. Mean ± standard deviation over seeds and draws of the "
                "labels.",
                *results["settings"]["notes"],
            ]
        ),
    ]
    for setting in settings_of(rows):
        parts.append(f"## {' '.join(setting)}")
        for classifier, title in CLASSIFIER_TITLES.items():
            parts += [f"{title}:", accuracies(rows, setting, classifier)]
        parts += ["Points, ridge, paired:", gaps(rows, setting)]
    parts += ["## The best merged space", best(rows)]
    return "\n\n".join(parts) + "\n"


def accuracies(rows: Rows, setting: tuple[str, str], classifier: str = "ridge") -> str:
    """A line a space, a column a number of labels."""
    lines = [
        [
            title,
            *(
                in_cell(values(rows, setting, name, n, classifier).values())
                for n in numbers_of(rows)
            ),
        ]
        for name, title in TITLES.items()
    ]
    return markdown_table(["labels a class", *_heads(rows)], lines)


def gaps(rows: Rows, setting: tuple[str, str], classifier: str = "ridge") -> str:
    """One space less another in points: a line a pair of spaces.

    Differences are paired by seed and draw. Behind them stands in how many of the
    pairs the first is above the other.
    """
    lines = []
    for one, other in PAIRS:
        cells = []
        for n in numbers_of(rows):
            points = differences(
                values(rows, setting, one, n, classifier),
                values(rows, setting, other, n, classifier),
            )
            above = sum(point > 0 for point in points)
            cells.append(f"{_points(points)}, {above} of {len(points)}")
        lines.append([f"{TITLES[one]} less {TITLES[other]}", *cells])
    return markdown_table(["points", *_heads(rows)], lines)


def best(rows: Rows, classifier: str = "ridge") -> str:
    """Which merged space is best, and how far above the next.

    Of all, and of those that are no wider than one chart or the atlas.
    """
    lines = []
    narrow = [name for name in MERGED if name not in WIDE]
    cases = [(s, m) for s in settings_of(rows) for m in (MERGED, narrow)]
    for setting, names in cases:
        cells = []
        for n in numbers_of(rows):
            by_name = {m: values(rows, setting, m, n, classifier) for m in names}
            first, second = sorted(by_name, key=lambda m: -_mean(by_name[m]))[:2]
            ahead = 100 * (_mean(by_name[first]) - _mean(by_name[second]))
            cells.append(f"{TITLES[first]} ({ahead:+.1f})")
        words = " ".join(setting) + (", not M D wide" if names is narrow else "")
        lines.append([words, *cells])
    return markdown_table(["best, points above the next", *_heads(rows)], lines)


def _heads(rows: Rows) -> list[str]:
    return ["all" if n is None else str(n) for n in numbers_of(rows)]


def _mean(accuracy: Values) -> float:
    return float(np.mean([*accuracy.values()]))


def _points(points: list[float]) -> str:
    mean = f"{np.mean(points):+.1f}"
    return mean if len(points) < 2 else f"{mean} ± {np.std(points, ddof=1):.1f}"
