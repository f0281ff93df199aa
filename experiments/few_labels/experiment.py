"""What does a merged space save in labels, without an oracle?

Charts were trained on their tasks by others. Who uses them has images without labels,
every chart embeds all of them, and some are labeled.
"""

from typing import Any

from experiments.few_labels import tables
from experiments.few_labels.measure import FewLabelsOptions, check, measure, units
from experiments.runs.experiment import Experiment, Run


def draw(run: Run, results: dict[str, Any]) -> None:
    """The picture."""
    from experiments.few_labels import pictures  # takes seconds, and is needed last
    from experiments.plots import saving

    saving.save(pictures.figure(results["rows"]), run.folder / "labels.png")


EXPERIMENT = Experiment(
    name="few_labels",
    about=(
        "Measure how many labels merged spaces save: accuracy against labels a class, "
        "without an oracle, in merged spaces, single charts, pixels and the end-to-end "
        "space. Writes results.json, table.md and a picture; on the embedded data and "
        "2 cores about two minutes a setting and seed. If it is interrupted, the same "
        "command goes on."
    ),
    options=FewLabelsOptions(settings=("S2_N2", "T2"), num_held_out=512),
    unused=("scenario", "similarity", "probe_epochs", "probe_patience"),
    measure=measure,
    report=tables.text,
    draw=draw,
    check=check,
    units=units,
)
