"""The results in words and tables, from a run's file."""

from typing import Any

from experiments.blind.methods import METHODS
from experiments.blind.present import LEARNED_FROM
from experiments.blind.present import METHODS as PRESENT
from experiments.blind.report.goals import goals
from experiments.blind.report.values import (
    Rows,
    present_curve,
    single_chart_probe,
    values,
)
from experiments.blind.scores import PROBES
from experiments.blind.trust import COVERAGE, DOUBTS
from experiments.runs.rows import in_cell, markdown_table, settings_of

PROBE_TITLES = {
    "probe": "the paper's probe",
    "ridge": "ridge",
    "class_means": "class means",
}


def text(results: dict[str, Any]) -> str:
    """The whole of table.md, of what results.json holds."""
    about, rows = results["settings"], results["rows"]
    options = about["options"]
    parts = [
        f"# Blind: {options['dataset']}\n",
        " ".join(
            [
                "Without an oracle: every chart embeds every sample.",
                f"Accuracy on the test split, mean ± standard deviation over seeds "
                f"{', '.join(map(str, options['seeds']))}.",
                *about["notes"],
            ]
        ),
        "## Goals\n",
        goals(rows),
        "## All spaces\n",
        *(_of_probe(rows, probe) for probe in PROBES),
        "## Some charts only\n",
        _present(rows),
        "## When not to trust it\n",
        trust(rows),
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


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


def _present(rows: Rows) -> str:
    parts = [
        "A probe is trained once, and serves every set of charts. Mean over the sets "
        "of a size."
    ]
    for setting in settings_of(rows):
        lines = []
        for learned, words in LEARNED_FROM.items():
            for method, title in PRESENT.items():
                curve = present_curve(rows, setting, method, learned)
                lines.append([title, words, *map(in_cell, curve.values())])
        lines.append(
            ["each chart's own probe", "the chart", single_chart_probe(rows, setting)]
        )
        lines[-1] += [""] * (len(curve) - 1)
        sizes = [f"{size} of {max(curve)}" for size in curve]
        parts.append(
            markdown_table([" ".join(setting), "learned from rows of", *sizes], lines)
        )
    return "\n\n".join(parts)


def trust(rows: Rows) -> str:
    """Calibration, and how well doubts find errors and unknown samples."""
    keys = settings_of(rows)
    mine = {
        s: [
            r for r in rows if r["of"] == "trust" and (r["scenario"], r["setting"]) == s
        ]
        for s in keys
    }

    def line(what: str, *path: str) -> list[str]:
        numbers = ([_at(r, path) for r in mine[s]] for s in keys)
        return [what, *(in_cell([v for v in of if v is not None]) for of in numbers)]

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
