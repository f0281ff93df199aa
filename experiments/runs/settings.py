"""The cells of the three scenarios' grids, by descriptive names."""

import re
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from jatlas import scenarios
from jatlas.scenarios import Tasks

Scenario = Literal["A", "B", "C"]
SCENARIOS: tuple[Scenario, ...] = ("A", "B", "C")


class Setting(NamedTuple):
    """One cell of a scenario's grid.

    Attributes:
        scenario: its letter.
        name: as in the results.
        title: as a reader would say it.
        rule: who may be an anchor, as in `jatlas.anchor_pool`.
        on_test: whether probes learn from rows of the test split, as in the paper's A.
        make: (key, labels, test, number held out) to `Tasks`.
    """

    scenario: Scenario
    name: str
    title: str
    rule: Literal["shared", "unseen"]
    on_test: bool
    make: Callable[[int, np.ndarray, np.ndarray, int], Tasks]


def parse(name: str) -> Setting:
    """The setting of this name.

    Args:
        name: S4_N2, 4 classes shared and 2 novel a task; P80_20, the percentages of
            samples, turned by one place from part to part of the classes, which are as
            many as there are tasks; T5, 5 disjoint tasks.

    Raises:
        ValueError: if it is none of these.
    """
    if match := re.fullmatch(r"S(\d+)_N(\d+)", name):
        return _shared(int(match[1]), int(match[2]))
    if re.fullmatch(r"P\d+(_\d+)+", name):
        return _disjoint(tuple(map(int, name[1:].split("_"))))
    if match := re.fullmatch(r"T(\d+)", name):
        return _total(int(match[1]))
    raise ValueError(
        f"unknown setting {name!r}. There are S4_N2 (4 classes shared, 2 novel a "
        "task), P80_20 (the percentages of samples that the tasks get of a class) and "
        "T5 (5 disjoint tasks), with any numbers."
    )


def grid(dataset: str, num_classes: int, scenario: Scenario) -> tuple[str, ...]:
    """The settings of a scenario: the paper's, or as many that fit.

    With other data they fill C.
    """
    paper = PAPER.get(dataset, {}).get(scenario)
    if paper is not None:
        return paper
    if scenario == "A":
        novel = max(1, num_classes // 5)
        shared = (num_classes - novel * k for k in (3, 4))
        return tuple(f"S{s}_N{novel}" for s in shared if s >= 1)
    return ("P80_20",) if scenario == "B" else ("T2",)


def chosen(
    names: Sequence[str],
    scenario: Sequence[Scenario],
    dataset: str,
    num_classes: int,
) -> list[Setting]:
    """The settings of a run.

    Args:
        names: of `--settings`; if there are none, those of the data set.
        scenario: of `--scenario`.
        dataset: its name.
        num_classes: C.

    Raises:
        ValueError: if one is unknown, or of a scenario that is not chosen, or there
            are none.
    """
    names = names or tuple(
        name
        for letter in SCENARIOS
        if letter in scenario
        for name in grid(dataset, num_classes, letter)
    )
    if len(set(names)) < len(names):
        raise ValueError(f"--settings must all be different, got {names}.")
    settings = [parse(name) for name in names]
    left = [s.name for s in settings if s.scenario not in scenario]
    if not settings:
        raise ValueError(
            f"of {num_classes} classes there is no setting of scenario "
            f"{' '.join(scenario)}: in A some classes are shared and each task "
            "has one more at least, which takes four."
        )
    if left:
        raise ValueError(
            f"--scenario {' '.join(scenario)} leaves nothing of the settings "
            f"{left}; name those of its own."
        )
    return settings


def titles_of(names: Sequence[str]) -> dict[tuple[str, str], str]:
    """The titles of settings, by scenario and name.

    Example:
        >>> titles_of(["T2"])
        {('C', 'T2'): 'classes cut into 2 disjoint tasks'}
    """
    settings = [parse(name) for name in names]
    return {(s.scenario, s.name): s.title for s in settings}


# What is published, and nothing else.
PAPER: dict[str, dict[Scenario, tuple[str, ...]]] = {
    "cifar100": {
        "A": tuple(f"S{s}_N{n}" for n in (10, 5) for s in (80, 60, 40, 20)),
        "B": ("P80_20",),
        "C": ("T2",),
    },
    "tiny_imagenet": {"A": ("S100_N25", "S50_N25"), "B": ("P80_20",), "C": ("T2",)},
}


def _shared(num_shared: int, num_novel: int) -> Setting:
    return Setting(
        "A",
        f"S{num_shared}_N{num_novel}",
        f"{num_shared} classes shared, {num_novel} novel a task",
        "shared",
        True,
        lambda key, labels, test, _: scenarios.part_shared_part_novel(
            key, labels, num_shared=num_shared, num_novel=num_novel, test=test
        ),
    )


def _disjoint(shares: tuple[int, ...]) -> Setting:
    if sum(shares) != 100:
        raise ValueError(f"percentages must add up to 100, got {shares}.")
    # Row m, column p: what task m gets of the classes of part p.
    turned = tuple(shares[-p:] + shares[:-p] for p in range(len(shares)))
    percentages = tuple(zip(*turned, strict=True))
    return Setting(
        "B",
        "P" + "_".join(map(str, shares)),
        f"same classes, samples dealt {' / '.join(map(str, shares))}",
        "unseen",
        False,
        lambda key, labels, test, held_out: scenarios.same_classes_disjoint_samples(
            key, labels, percentages=percentages, num_held_out=held_out, test=test
        ),
    )


def _total(num_tasks: int) -> Setting:
    return Setting(
        "C",
        f"T{num_tasks}",
        f"classes cut into {num_tasks} disjoint tasks",
        "unseen",
        False,
        lambda key, labels, test, held_out: scenarios.totally_disjoint(
            key,
            labels,
            num_tasks=num_tasks,
            num_held_out=held_out,
            equal=False,
            test=test,
        ),
    )
