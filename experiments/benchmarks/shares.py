"""What a device reaches, as shares of its own rates."""

from typing import Any

from experiments.benchmarks import report, timing
from experiments.runs.rows import markdown_table

_ABOUT = """\
What must be multiplied, added and moved in each job, by a model of it, over the time
that it took: as a share of the rate at which this device multiplies square float32
matrices, and of that at which it reads and writes a large array. Where both shares are
small, other work, or starting it, takes the time. Medians of {repeats} rounds."""


def text(results: dict[str, Any], titles: dict[str, str]) -> str:
    """The report of `--device` in Markdown.

    Args:
        results: as in results.json.
        titles: of the jobs, in the order to be shown.
    """
    settings = results["settings"]
    jobs = [results["jobs"][name] for name in titles if name in results["jobs"]]
    about = settings["machine"]
    minutes = sum(job["took"] for job in jobs) / 60
    rows = [row for job in jobs for row in job["rows"]]
    return "\n\n".join(
        [
            "# What this device reaches",
            f"{about['device']} ({about['processor']}), jax "
            f"{settings['versions']['jax']}, {minutes:.1f} minutes.",
            _ABOUT.format(repeats=settings["options"]["repeats"]),
            table(rows),
            report.growth(rows),
        ]
    )


def table(rows: list[dict[str, Any]]) -> str:
    """Of each job the time, and both shares; first the rates."""
    lines = []
    for row in rows:
        if "work" in row:
            took = report.duration(timing.middle(timing.known(row["seconds"]["ours"])))
            both = (("matmul", "flops"), ("copy", "bytes"))
            of_rates = [report.share(row, *one) or "no model" for one in both]
            lines.append([report.named(row), took, *of_rates])
        elif row["name"] == "machine":
            rates = row["values"]
            product = f"{report.number(rates['matmul, GFLOP/s'])} GFLOP/s"
            copy = f"{report.number(rates['copy in place, GB/s'])} GB/s"
            lines.append(["the rates themselves", "", product, copy])
    return markdown_table(["job", "takes", "of products", "of memory"], lines)
