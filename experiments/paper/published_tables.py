"""Presets of the main job: the paper's tables, and a quick look.

The grid and the anchors of a table of Crisostomi et al., "From Charts to Atlas" (2023),
on any data set; where the figures are published they stand beside ours. On
Fashion-MNIST (70,000 images) and 2 cores a table of one seed takes 5 to 15 minutes
with `--charts cnn`, and a few with `--charts efficientnet-lite0`, whose features take
three minutes once. CIFAR-100 has ten times the charts.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from experiments.runs.deals import Choice
from experiments.runs.options import Options, flag
from experiments.runs.settings import Scenario


@dataclass(frozen=True)
class PaperOptions(Options):
    """The flags of the main job."""

    anchor_choice: Choice = "uniform"
    """How anchors are chosen among those that may be: at random, as many of each class,
    far apart, or near the centres of clusters, in the first chart's space."""
    table: Literal["shared", "disjoint", "total"] | None = None
    """A table of the paper, beside the published figures: its scenario and anchors.
    shared: part of the classes in all tasks. disjoint: same classes, disjoint samples.
    total: disjoint classes."""
    quick: bool = False
    """A look at the whole job in two minutes: digits, one setting, one seed, few
    epochs. Its figures are lower than those of a full run."""


class Table(NamedTuple):
    """What a table is of.

    Attributes:
        scenario: its letter.
        num_anchors: A.
        num_held_out: training samples kept from every task, to draw them from.
        settings: its cells; those of the data set if there are none.
    """

    scenario: Scenario
    num_anchors: int
    num_held_out: int | None = None
    settings: tuple[str, ...] = ()


TABLES = {
    "shared": Table("A", 128),
    "disjoint": Table("B", 256, 1000, ("P80_20",)),
    "total": Table("C", 256, 1000, ("T2",)),
}


# What --quick sets.
QUICK = {
    "dataset": "digits",
    "settings": ("S4_N2",),
    "seeds": (0,),
    "max_epochs": 10,
    "probe_epochs": 30,
    "table": None,
}


def resolve(options: PaperOptions) -> PaperOptions:
    """The options of the run, with what the table or --quick sets.

    Raises:
        ValueError: if a flag is given that the table or --quick sets.
    """
    if options.quick:
        return _preset(options, "--quick", QUICK)
    if options.table is None:
        return options
    table = TABLES[options.table]
    preset = {
        "scenario": (table.scenario,),
        "num_anchors": table.num_anchors,
        "num_held_out": table.num_held_out,
    }
    resolved = _preset(options, f"--table {options.table}", preset)
    return replace(resolved, settings=options.settings or table.settings)


def _preset(options: PaperOptions, given: str, preset: dict[str, Any]) -> PaperOptions:
    """The options with those of a preset."""
    for name, value in preset.items():
        if getattr(options, name) not in (getattr(PaperOptions, name), value):
            raise ValueError(
                f"{given} sets {flag(name)} itself; leave {flag(name)} out."
            )
    return replace(options, **preset)


def subfolder(options: PaperOptions) -> str:
    """The last part of results/paper/DATASET; presets have one of their own."""
    if options.quick:
        return f"{options.name}_quick"
    if options.table is None:
        return options.name
    charts = "+".join(options.charts).replace(":", ".")
    return f"{options.name}_{options.table}_{charts}"
