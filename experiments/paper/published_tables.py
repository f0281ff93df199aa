"""The paper's tables: `python -m experiments.paper --table shared --dataset cifar100`.

The grid, the anchors and the charts of a table of Crisostomi et al., "From Charts to
Atlas" (2023), on any data set; where the figures are published they stand beside ours.
On Fashion-MNIST (70,000 images) and 2 cores a table of one seed takes 5 to 15 minutes
with `--chart cnn`, and a few with `--chart efficientnet-lite0`, whose features take
three minutes once. CIFAR-100 has ten times the charts.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import tyro

from experiments.runs.config import Options
from experiments.runs.settings import Scenario


class Table(NamedTuple):
    """What a table is of.

    Attributes:
        scenario: its letter.
        num_anchors: A.
        num_held_out: training samples kept from every task, to draw them from.
    """

    scenario: Scenario
    num_anchors: int
    num_held_out: int | None = None


TABLES = {
    "shared": Table("A", 128),
    "disjoint": Table("B", 256, 1000),
    "total": Table("C", 256, 1000),
}


@dataclass(frozen=True)
class Paper:
    """Make a table of "From Charts to Atlas", beside the published figures."""

    table: Literal["shared", "disjoint", "total"]
    """shared: part of the classes in all tasks. disjoint: same classes, disjoint
    samples. total: disjoint classes."""
    dataset: str = "cifar100"
    """cifar100, tiny_imagenet, fashion_mnist, or any other of `python -m experiments`.
    """
    chart: Annotated[str, tyro.conf.arg(metavar="KIND,...")] = "cnn"
    """cnn, resnet, efficientnet-lite0, -lite1 or -lite2."""
    tasks: tuple[int, ...] = (2,)
    """In `total`, the numbers of tasks: 2, 3, 5 or 10, say."""
    percentages: tuple[int, ...] = (80, 20)
    """In `disjoint`, what part of a class's samples the tasks get."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each seed draws the tasks, the charts, the anchors and the probes anew."""
    max_epochs: int | None = None
    """The most epochs that a chart is trained; by its kind if unset."""
    patience: int = 2
    """A chart stops when its validation loss has not fallen for so many epochs."""
    feature_size: int = 64
    """Pixels on a side that a frozen encoder is shown; the paper's is 224."""
    data_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where prepared data sets and features are kept; the user's cache if unset."""
    manual_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where the files of a data set are that was downloaded by hand."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where the results go; results/paper/DATASET/TABLE_CHART if left out."""


def options(paper: Paper) -> Options:
    """The run that makes this table."""
    table = TABLES[paper.table]
    cells = {
        "shared": (),  # those of the data set
        "disjoint": ("P" + "_".join(map(str, paper.percentages)),),
        "total": tuple(f"T{m}" for m in paper.tasks),
    }
    name = f"{paper.table}_{paper.chart.replace(',', '+')}"
    return Options(
        dataset=paper.dataset,
        scenario=(table.scenario,),
        settings=cells[paper.table],
        charts=paper.chart,
        seeds=paper.seeds,
        num_anchors=table.num_anchors,
        num_held_out=table.num_held_out,
        max_epochs=paper.max_epochs,
        patience=paper.patience,
        feature_size=paper.feature_size,
        data_dir=paper.data_dir,
        manual_dir=paper.manual_dir,
        out=paper.out or Path("results") / "paper" / paper.dataset / name,
    )
