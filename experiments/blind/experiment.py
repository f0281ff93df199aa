"""What is merging worth without an oracle?

The question of the paper without its oracle: every chart embeds every sample, whatever
its task. Spaces of one width, whatever the number of charts, are
measured against the end-to-end chart's, the mean, the concatenation and others. What
was tried and what came of it is in README.md.
"""

from typing import Any

from experiments.blind.measure import BlindOptions, check, measure, units
from experiments.blind.report import tables
from experiments.runs.experiment import Experiment, Run


def draw(run: Run, results: dict[str, Any]) -> None:
    """The three pictures."""
    from experiments.blind.report import figures  # takes seconds, and is needed last
    from experiments.plots import saving

    drawn = {
        "width": figures.width_figure,
        "present": figures.present_figure,
        "risk": figures.risk_figure,
    }
    for name, figure in drawn.items():
        saving.save(figure(results["rows"]), run.folder / f"{name}.png")


EXPERIMENT = Experiment(
    name="blind",
    about=(
        "Measure merged spaces without an oracle against all others. "
        "Writes results.json, table.md and three pictures; on the embedded data and 2 "
        "cores about three minutes a setting and seed. If it is interrupted, the same "
        "command goes on where it was."
    ),
    options=BlindOptions(
        settings=("S4_N2", "S2_N2", "P80_20", "T2"),
        seeds=(0, 1, 2, 3, 4),
        num_held_out=512,
    ),
    unused=("scenario", "similarity", "probe_epochs", "probe_patience"),
    measure=measure,
    report=tables.text,
    draw=draw,
    check=check,
    units=units,
)
