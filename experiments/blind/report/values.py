"""A run's values on the test split, by method and seed."""

from typing import Any

import numpy as np

from experiments.runs.rows import in_cell

Rows = list[dict[str, Any]]


def values(
    rows: Rows, setting: tuple[str, str], method: str, role: str, probe: str
) -> dict[int, float]:
    """Accuracies on the test split by seed.

    Args:
        rows: of the run.
        setting: (scenario, setting).
        method: one of `METHODS`, or "best_chart": the one that is best on `choose`.
        role: "at" the width of the run; "full": as wide as all charts together; "one":
            where one chart embeds a test sample, mean over charts, with the paper's
            probe of rows of all charts.
        probe: one of `PROBES`.
    """
    if role == "one":
        return _one_chart(rows, setting, method)
    mine = [
        r
        for r in rows
        if r["of"] == "accuracy"
        and (r["scenario"], r["setting"]) == setting
        and (r["role"], r["probe"]) == (role, probe)
    ]
    if method == "best_chart":
        return _best_chart(mine)
    matching = (r for r in mine if (r["method"], r["part"]) == (method, "test"))
    return {r["seed"]: r["value"] for r in matching}


def _one_chart(rows: Rows, setting: tuple[str, str], method: str) -> dict[int, float]:
    """By seed, the mean over charts."""
    accuracies: dict[int, list[float]] = {}
    for r in rows:
        if r["of"] == "present" and (r["scenario"], r["setting"]) == setting:
            same = (r["method"], r["learnt_from"]) == (method, "all")
            if same and len(r["charts"]) == 1:
                accuracies.setdefault(r["seed"], []).append(r["value"])
    return {seed: float(np.mean(of)) for seed, of in accuracies.items()}


def _best_chart(rows: Rows) -> dict[int, float]:
    """By seed, the test accuracy of the chart best on `choose`."""
    accuracies = {}
    for seed in dict.fromkeys(r["seed"] for r in rows):
        charts = [
            r for r in rows if r["seed"] == seed and r["method"].startswith("chart")
        ]
        chosen = max(
            (r for r in charts if r["part"] == "choose"), key=lambda r: r["value"]
        )
        (accuracies[seed],) = (
            r["value"]
            for r in charts
            if (r["part"], r["method"]) == ("test", chosen["method"])
        )
    return accuracies


def present_curve(
    rows: Rows, setting: tuple[str, str], method: str, learned: str
) -> dict[int, list[float]]:
    """Accuracies by number of charts.

    Of each seed it is the mean over sets of charts.
    """
    mine = [
        r
        for r in rows
        if r["of"] == "present"
        and (r["scenario"], r["setting"]) == setting
        and (r["method"], r["learnt_from"]) == (method, learned)
    ]
    sizes = sorted({len(r["charts"]) for r in mine})
    return {
        size: [
            float(
                np.mean(
                    [
                        r["value"]
                        for r in mine
                        if r["seed"] == seed and len(r["charts"]) == size
                    ]
                )
            )
            for seed in dict.fromkeys(r["seed"] for r in mine)
        ]
        for size in sizes
    }


def single_chart_probe(rows: Rows, setting: tuple[str, str]) -> str:
    """The accuracy of probes for single charts, mean over charts."""
    accuracies: dict[int, list[float]] = {}
    for r in rows:
        if r["of"] == "accuracy" and (r["scenario"], r["setting"]) == setting:
            alone = r["method"].startswith("chart") and r["probe"] == "probe"
            if alone and r["part"] == "test":
                accuracies.setdefault(r["seed"], []).append(r["value"])
    return in_cell([float(np.mean(of)) for of in accuracies.values()])
