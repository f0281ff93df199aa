"""Accuracy of two classifiers in every space, by the number of labels."""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import tyro
from threadpoolctl import threadpool_limits

from experiments.data.dataset import Dataset
from experiments.few_labels import draws, methods
from experiments.few_labels.classifiers import CLASSIFIERS, accuracies
from experiments.few_labels.methods import METHODS
from experiments.runs import deals
from experiments.runs.benches import Bench
from experiments.runs.deals import Unit
from experiments.runs.options import Options
from experiments.runs.rows import Rows
from experiments.runs.settings import Setting
from experiments.runs.terminal import Report, part_of


@dataclass(frozen=True)
class FewLabelsOptions(Options):
    """The flags of the experiment with few labels."""

    labels: Annotated[tuple[int, ...], tyro.conf.arg(metavar="INT [INT ...]")] = (
        1,
        3,
        10,
        30,
        100,
    )
    """Labels a class; all labels are always measured too."""
    draws: int = 5
    """How often the labeled images are drawn, for each seed."""


def check(options: FewLabelsOptions) -> None:
    """Raise ValueError for options of which no run can be made."""
    labels = options.labels
    if not labels or min(labels) < 1 or len(set(labels)) < len(labels):
        raise ValueError(
            f"--labels takes one or more numbers, all different and 1 or more; got "
            f"{labels}."
        )
    if options.draws < 1:
        raise ValueError(f"--draws must be 1 or more, got {options.draws}.")
    if len(options.charts) > 1:
        raise ValueError(
            f"--charts takes one kind here, got {' '.join(options.charts)}."
        )


def units(options: FewLabelsOptions, dataset: Dataset) -> list[Unit]:
    """All settings of all seeds.

    Raises:
        ValueError: if a class has fewer training images than labels are asked for, or
            the data are too few for a setting.
    """
    counts = np.bincount(
        dataset.labels[~dataset.test], minlength=len(dataset.class_names)
    )
    if max(options.labels) > counts.min():
        raise ValueError(
            f"--labels asks for {max(options.labels)} labels a class, and "
            f"{dataset.class_names[counts.argmin()]} has {counts.min()} training "
            "images. Give smaller numbers, or more training images."
        )
    return deals.units(options, dataset)


def measure(bench: Bench, setting: Setting, seed: int, report: Report) -> Rows:
    """A row for each space, classifier, number of labels and draw."""
    cell = methods.embed(bench, setting, seed, part_of(report, 0.0, 0.6))
    jobs = [(name, method.title) for name, method in METHODS.items()]
    jobs += [(f"chart{m}", f"chart {m + 1}") for m in range(len(cell.charts))]
    named = {"scenario": setting.scenario, "setting": setting.name, "seed": seed}
    chosen = labeled_samples(bench, seed)
    rows: Rows = []
    for done, (name, title) in enumerate(jobs):
        report(title, 0.6 + 0.4 * done / len(jobs))
        if name in METHODS:
            space = METHODS[name].make(cell)
        else:
            space = cell.charts[int(name.removeprefix("chart"))]
        about = named | {"method": name, "width": space.shape[1]}
        rows += [about | row for row in scored(bench.dataset, space, chosen)]
    return rows


def labeled_samples(bench: Bench, seed: int) -> dict[int | None, np.ndarray]:
    """The labeled samples of each draw, (R, n), by labels a class.

    They are drawn from the training split. All labels stand under None, in one draw.
    """
    options, dataset = bench.options, bench.dataset
    orders = draws.orders(seed, options.draws, ~dataset.test)
    chosen: dict[int | None, np.ndarray] = {
        count: draws.balanced(orders, dataset.labels, count) for count in options.labels
    }
    return chosen | {None: orders[:1]}


def scored(
    dataset: Dataset, space: np.ndarray, chosen: dict[int | None, np.ndarray]
) -> list[dict[str, Any]]:
    """Accuracies on the test split.

    Args:
        dataset: whose samples they are.
        space: (N, K).
        chosen: from `labeled_samples`.
    """
    labels, test = dataset.labels, dataset.test
    rows = []
    for count, samples in chosen.items():
        for name in CLASSIFIERS:
            # LAPACK's threads wait for each other in loops, and where other work runs
            # too they take ten times as long as one.
            with threadpool_limits(1):
                values = np.asarray(
                    accuracies(
                        name,
                        space[samples],
                        labels[samples],
                        len(dataset.class_names),
                        space[test],
                        labels[test],
                    )
                )
            about = {
                "classifier": name,
                "labels": count,
                "num_labeled": samples.shape[1],
            }
            rows += [
                about | {"draw": draw, "value": round(float(value), 6)}
                for draw, value in enumerate(values)
            ]
    return rows
