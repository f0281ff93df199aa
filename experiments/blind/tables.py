"""The results in words and tables, goal by goal; all of it from the file of a run."""

from typing import Any

import numpy as np

from experiments.blind.intervals import Difference, difference
from experiments.blind.present import LEARNT_FROM
from experiments.blind.present import METHODS as PRESENT
from experiments.blind.scores import PROBES
from experiments.blind.spaces import METHODS
from experiments.blind.trust import COVERAGE, DOUBTS
from experiments.results import in_cell, markdown_table, settings_of

Rows = list[dict[str, Any]]
PROBE_TITLES = {
    "probe": "the paper's probe",
    "ridge": "ridge",
    "class_means": "class means",
}


def text(told: dict[str, Any], rows: Rows) -> str:
    """The whole of blind.md."""
    options = told["options"]
    parts = [
        f"# Blind: {options['dataset']}\n",
        " ".join(
            [
                "Every chart embeds every sample; of a test sample nothing is known.",
                f"Accuracy on the test split, mean ± standard deviation over seeds "
                f"{', '.join(map(str, options['seeds']))}.",
                *told["notes"],
            ]
        ),
        "## Goals\n",
        goals(rows),
        "## All spaces\n",
        *(_of_probe(rows, probe) for probe in PROBES),
        "## Some charts only\n",
        _present(rows),
        "## When not to trust it\n",
        _trust(rows),
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def values(
    rows: Rows, setting: tuple[str, str], method: str, role: str, probe: str
) -> dict[int, float]:
    """Accuracies on the test split by seed.

    Args:
        rows: of the run.
        setting: (scenario, setting).
        method: one of `METHODS`, or "best_chart": the one that is best on `choose`.
        role: "at" the width of the run, or "full": as wide as all charts together.
        probe: one of `PROBES`.
    """
    mine = [
        r
        for r in rows
        if r["of"] == "accuracy"
        and (r["scenario"], r["setting"]) == setting
        and (r["role"], r["probe"]) == (role, probe)
    ]
    if method == "best_chart":
        return _best_chart(mine)
    found = (r for r in mine if (r["method"], r["part"]) == (method, "test"))
    return {r["seed"]: r["value"] for r in found}


def goals(rows: Rows) -> str:
    """What was to be reached, by how much it was, setting by setting.

    In points under the paper's probe, paired by seed, with intervals of 95 %.
    """
    keys = settings_of(rows)

    def less(
        ours: tuple[str, str], theirs: tuple[str, str], probe: str = "probe"
    ) -> list[Difference]:
        return [
            difference(values(rows, s, *ours, probe), values(rows, s, *theirs, probe))
            for s in keys
        ]

    new, wide = ("evidence", "at"), ("evidence", "full")
    lines = {
        "1. whitened by own task, less the plain atlas; 2 in every seed, A, C": less(
            ("atlas_white", "at"), ("atlas", "at")
        ),
        "1. Nystroem, less the plain atlas; 2 in every seed, A, C": less(
            ("nystroem", "at"), ("atlas", "at")
        ),
        "both, less the plain atlas": less(("white_nystroem", "at"), ("atlas", "at")),
        "2. with evidence, less the mean of embeddings; 0": less(new, ("mean", "at")),
        "2. with evidence, less the concatenation; 0": less(new, ("concat", "at")),
        "3. with evidence, M D wide, less the concatenation; above 0": less(
            wide, ("concat", "at")
        ),
        "3. with evidence, M D wide, less end-to-end; -1": less(
            wide, ("end_to_end", "at")
        ),
        "4. with evidence, less end-to-end; above 0 in two": less(
            new, ("end_to_end", "at")
        ),
        "4. the same under ridge": less(new, ("end_to_end", "at"), "ridge"),
        "4. the same under class means": less(new, ("end_to_end", "at"), "class_means"),
        "with evidence, less the evidence alone": less(new, ("evidence_alone", "at")),
        "with evidence, less end-to-end with its own": less(
            new, ("end_to_end_evidence", "at")
        ),
        "no labels: whitened Nystroem, less the mean of embeddings": less(
            ("white_nystroem", "at"), ("mean", "at")
        ),
        "no labels: whitened Nystroem, less the concatenation": less(
            ("white_nystroem", "at"), ("concat", "at")
        ),
    }
    table = markdown_table(
        ["goal; what was asked for, in points", *(" ".join(s) for s in keys)],
        ([what, *map(str, found)] for what, found in lines.items()),
    )
    least = markdown_table(
        ["goal 1: the least of any seed", *(" ".join(s) for s in keys)],
        (
            [what.split(",")[0], *(f"{100 * d.least:+.1f}" for d in found)]
            for what, found in list(lines.items())[:2]
        ),
    )
    return (
        "Differences in points under the paper's probe, paired by seed, with 95 % "
        f"intervals of Student's t.\n\n{table}\n\n{least}"
    )


def _best_chart(rows: Rows) -> dict[int, float]:
    """By seed, of the chart that is best on `choose`, what it is on `test`."""
    found = {}
    for seed in dict.fromkeys(r["seed"] for r in rows):
        charts = [
            r for r in rows if r["seed"] == seed and r["method"].startswith("chart")
        ]
        chosen = max(
            (r for r in charts if r["part"] == "choose"), key=lambda r: r["value"]
        )
        (found[seed],) = (
            r["value"]
            for r in charts
            if (r["part"], r["method"]) == ("test", chosen["method"])
        )
    return found


def _of_probe(rows: Rows, probe: str) -> str:
    keys = settings_of(rows)
    names = {"best_chart": "best single chart"} | {
        name: method.title for name, method in METHODS.items()
    }
    lines = [
        [title, *(in_cell(values(rows, s, name, "at", probe).values()) for s in keys)]
        for name, title in names.items()
    ]
    lines += [
        [
            f"{method.title}, M D wide",
            *(in_cell(values(rows, s, name, "full", probe).values()) for s in keys),
        ]
        for name, method in METHODS.items()
        if method.wide
    ]
    head = [PROBE_TITLES[probe], *(" ".join(s) for s in keys)]
    return markdown_table(head, lines)


def present_curve(
    rows: Rows, setting: tuple[str, str], method: str, learnt: str
) -> dict[int, list[float]]:
    """By number of charts, accuracies: of each seed the mean over sets of charts."""
    mine = [
        r
        for r in rows
        if r["of"] == "present"
        and (r["scenario"], r["setting"]) == setting
        and (r["method"], r["learnt_from"]) == (method, learnt)
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


def _present(rows: Rows) -> str:
    parts = [
        "A probe is trained once, and serves every set of charts. Mean over the sets "
        "of a size."
    ]
    for setting in settings_of(rows):
        lines = []
        for learnt, words in LEARNT_FROM.items():
            for method, title in PRESENT.items():
                curve = present_curve(rows, setting, method, learnt)
                lines.append([title, words, *map(in_cell, curve.values())])
        sizes = [f"{size} of {max(curve)}" for size in curve]
        parts.append(
            markdown_table([" ".join(setting), "learnt from rows of", *sizes], lines)
        )
    return "\n\n".join(parts)


def _trust(rows: Rows) -> str:
    keys = settings_of(rows)
    mine = {
        s: [
            r for r in rows if r["of"] == "trust" and (r["scenario"], r["setting"]) == s
        ]
        for s in keys
    }

    def line(what: str, *path: str) -> list[str]:
        found = ([_at(r, path) for r in mine[s]] for s in keys)
        return [what, *(in_cell([v for v in of if v is not None]) for of in found)]

    half = COVERAGE.index(0.5)
    lines = [
        line("temperature, fitted on validation samples", "temperature"),
        line("calibration error", "calibration_error"),
        line("calibration error at that temperature", "calibration_error_scaled"),
    ]
    for score in DOUBTS:
        lines.append(line(f"errors found by {score} (AUC)", "errors_found", score))
        lines.append(
            [
                f"risk of the half with least doubt by {score}",
                *(in_cell([r["risk"][score][half] for r in mine[s]]) for s in keys),
            ]
        )
        lines.append(
            line(f"unknown samples found by {score} (AUC)", "unknown_found", score)
        )
    lines.append(
        [
            "risk of all",
            *(in_cell([r["risk"]["probability"][-1] for r in mine[s]]) for s in keys),
        ]
    )
    return markdown_table(["atlas with evidence", *(" ".join(s) for s in keys)], lines)


def _at(row: dict[str, Any], path: tuple[str, ...]) -> float | None:
    for name in path:
        row = row.get(name, {})
    return row if isinstance(row, float) else None
