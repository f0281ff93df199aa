"""What does an atlas keep when tasks come one after another?"""

from typing import Any

from experiments.continual import curves
from experiments.continual.measure import ContinualOptions, check, measure, units
from experiments.runs.experiment import Experiment, Run


def table(results: dict[str, Any]) -> str:
    """The text of table.md."""
    return curves.table(results["settings"], results["rows"])


def draw(run: Run, results: dict[str, Any]) -> None:
    """The curves."""
    from experiments.plots import saving  # takes seconds, and is needed last

    saving.save(curves.figure(results["rows"]), run.folder / "continual.png")


EXPERIMENT = Experiment(
    name="continual",
    about=(
        "Let tasks come one after another, a chart of each joining the atlas. Writes "
        "results.json, and from it table.md and continual.png; on the embedded data "
        "and 2 cores a minute or two a seed. If it is interrupted, the same command "
        "goes on with the task where it was. --settings takes one: T5, the classes cut "
        "into 5 tasks; S4_N2, 4 classes in every task and 2 novel ones in each; "
        "P50_50, all classes in every task."
    ),
    options=ContinualOptions(settings=("T5",)),
    unused=("scenario", "num_held_out", "similarity"),
    measure=measure,
    report=table,
    draw=draw,
    check=check,
    units=units,
)
