"""The figures that the paper published, to stand beside ours.

Source: the result files in the public code of Crisostomi et al., "From Charts to Atlas:
Merging Latent Spaces into One" (NeurReps 2023, arXiv 2311.06547), rounded to four
digits. All are of its own protocol, here `oracle`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.paper.sections import Section, Table
from experiments.runs.rows import Rows, of_setting, select, settings_of

_FILE = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))

# By data set, chart ("cnn", "efficientnet"), scenario, setting, space and metric, all
# but the charts as in our results.
FIGURES: dict[str, Any] = _FILE["figures"]
# Accuracies on 30 classes of CIFAR-100, with the published names: of a chart trained on
# these alone, and of the end-to-end one that may choose from these only.
CLASS_SUBSETS: list[dict[str, Any]] = _FILE["class_subsets"]

PROTOCOL = "oracle"


def published(
    dataset: str, chart: str, scenario: str, setting: str, space: str, metric: str
) -> float | None:
    """The figure that the paper published, None if it published none.

    Args:
        dataset: "cifar100" or "tiny_imagenet".
        chart: "cnn", or any EfficientNet: the published one is B0 at 224 pixels.
        scenario: "A", "B" or "C".
        setting: such as "S80_N10", "P80_20" or "T2".
        space: such as "merged".
        metric: such as "accuracy".

    Example:
        >>> published("cifar100", "cnn", "A", "S80_N10", "merged", "accuracy")
        0.434
    """
    figure: Any = FIGURES
    for name in (dataset, _kind(chart), scenario, setting, space, metric):
        figure = figure.get(name, {})
    return figure if isinstance(figure, float) else None


def chart_of(options: Mapping[str, Any]) -> str:
    """The kind of a run's charts; "" for several."""
    different = set(kinds(options))
    return different.pop() if len(different) == 1 else ""


def kinds(options: Mapping[str, Any]) -> list[str]:
    """The kinds of charts, also from older results' comma lists."""
    charts = options.get("charts", ["cnn"])
    return charts.split(",") if isinstance(charts, str) else list(charts)


def section(options: Mapping[str, Any], rows: Rows) -> Section | None:
    """Our figures, the published and the difference; None if none was published.

    Args:
        options: of the run: its data set and chart.
        rows: of the results.
    """
    where = options["dataset"], chart_of(options)
    keys = [key for key in settings_of(rows) if _as_published(options, key[0])]
    lines = [line for key in keys for line in _of(where, key, rows)]
    if not lines:
        return None
    notes = (
        "The paper's figures (Crisostomi et al., 2023) are of `oracle`; ours are "
        f"means over seeds.{_other_network(where[1])}"
    )
    head = ["setting", "space", "metric", "here", "published", "difference"]
    title = f"Beside the published: {where[0]}, {where[1]}"
    return Section(title, [Table(head, lines)], notes)


def _of(
    where: tuple[str, str], setting: tuple[str, str], rows: Rows
) -> list[list[str]]:
    lines = []
    rows = of_setting(rows, setting)
    for space, metric in dict.fromkeys((r["space"], r["metric"]) for r in rows):
        theirs = published(*where, *setting, space, metric)
        values = list(select(rows, PROTOCOL, space, metric).values())
        if theirs is not None and values:
            ours = float(np.mean(values))
            figures = [f"{ours:.3f}", f"{theirs:.3f}", f"{ours - theirs:+.3f}"]
            lines.append([" ".join(setting), f"`{space}`", metric, *figures])
    return lines


def _as_published(options: Mapping[str, Any], scenario: str) -> bool:
    """Whether anchors and their pool are as large as the paper's."""
    anchors, held_out = options.get("num_anchors"), options.get("num_held_out")
    return anchors == 128 if scenario == "A" else (anchors, held_out) == (256, 1000)


def _other_network(chart: str) -> str:
    if _kind(chart) != "efficientnet":
        return ""
    return (
        " They are of another network: EfficientNet-B0 shown 224 pixels, here "
        f"{chart} shown as many as `feature_size` in the settings says."
    )


def _kind(chart: str) -> str:
    return "efficientnet" if chart.startswith("efficientnet") else chart
