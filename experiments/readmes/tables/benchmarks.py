"""What jatlas costs, from the file of `python -m experiments.benchmarks`."""

from collections.abc import Callable
from typing import Any

from experiments.benchmarks import report, timing
from experiments.readmes.files import Results, Runs
from experiments.runs.rows import markdown_table

RUN, FILES, CLUSTER, LOAD = "cpu", "files", "cluster", "load"

_PEAKS = "peak", "by the formula"


def rows_of(results: Results) -> list[dict[str, Any]]:
    """The rows of all jobs."""
    return [row for job in results["jobs"].values() for row in job["rows"]]


def machine(results: Results) -> str:
    """What it was measured on."""
    settings = results["settings"]
    about, versions = settings["machine"], settings["versions"]
    lines = [
        ["device", f"{about['device']} ({about['processor']})"],
        ["threads", str(about["threads"]["xla"])],
        ["memory", report.size(about["memory_bytes"])],
        *([name, str(versions[name])] for name in ("jax", "torch", "numpy")),
        ["rounds", str(settings["options"]["repeats"])],
        ["minutes", f"{sum(j['took'] for j in results['jobs'].values()) / 60:.1f}"],
    ]
    return markdown_table(["what", "value"], lines)


def ratios(results: Results) -> str:
    """Each reference's time over ours, with unique first cells."""
    lines = []
    for row in rows_of(results):
        for name, one in row.get("references", {}).items():
            speedups = timing.ratios(row["seconds"], name, scale=one["scale"])
            what = f"{report.named(row)}, against {one['what']}"
            lines.append([what, report.number(timing.middle(speedups))])
    return markdown_table(["job", "times as fast"], lines)


def load(results: Results) -> str:
    """A merge in chunks: peaks beside the formula, and the time left."""
    axes, lines = ("N", "chunk", "M", "A"), []
    for row in rows_of(results):
        values, shares = row["values"], [bar["value"] for bar in row["bars"]]
        peaks = [report.size(values[f"{name}, bytes"]) for name in _PEAKS]
        figures = [report.number(share) for share in shares]
        left = figures[1] if len(figures) > 1 else ""
        seconds = report.number(values["seconds"])
        sizes = [f"{row['size'][axis]:,}" for axis in axes]
        lines.append([*sizes, seconds, *peaks, figures[0], left])
    head = [*axes, "seconds", *_PEAKS, "share of it", "time left: share of the truth"]
    return markdown_table(head, lines)


def _without_title(text: str) -> str:
    """A section of the report, less its heading."""
    return text.partition("\n\n")[2] if text.startswith("#") else text


def _section(
    made: Callable[[list[dict[str, Any]]], str], run: str = RUN
) -> Callable[[Runs], str]:
    return lambda runs: _without_title(made(rows_of(runs[run])))


def _bars(run: str) -> Callable[[Runs], str]:
    def bars(runs: Runs) -> str:
        quick = runs[run]["settings"]["options"]["quick"]
        return _without_title(report.bars(rows_of(runs[run]), quick))

    return bars


TABLES = {
    "machine": lambda runs: machine(runs[RUN]),
    "bars": _bars(RUN),
    "times": _section(report.times),
    "growth": _section(report.growth),
    "memory": _section(report.memory),
    "values": _section(report.values),
    "billion": lambda runs: _without_title(report.billion(runs[RUN]["paper"])),
    "ratios": lambda runs: ratios(runs[RUN]),
    "files": _section(report.values, FILES),
    "files_bars": _bars(FILES),
    "files_times": _section(report.times, FILES),
    "load": lambda runs: load(runs[LOAD]),
    "cluster": _section(report.values, CLUSTER),
}
