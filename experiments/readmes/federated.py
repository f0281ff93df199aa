"""Accuracies of federated clients: groups of classes, coordinates, harder cases."""

from collections.abc import Mapping
from functools import partial

from experiments.federated.report import HEADS, by_seed, bytes_table, rounds_of
from experiments.readmes.files import Runs
from experiments.runs.rows import in_cell, markdown_table

GROUPS = {"unseen": "never seen", "seen": "seen", "all": "all classes"}
# By what a column says of the run: the run.
COORDINATES = {"plain": "plain", "white-nystroem": "white_nystroem"}
HARDER = {
    "own classes sent, plain": "own",
    "own classes sent, white-nystroem": "own_white_nystroem",
    "no common class, plain": "T2",
    "no common class, white-nystroem": "T2_white_nystroem",
}


def accuracies(runs: Runs, group: str, columns: Mapping[str, str]) -> str:
    """A group of classes: a line a method, a column a run."""
    return _table(runs, {(name, group): title for title, name in columns.items()})


def overview(runs: Runs) -> str:
    """All groups of classes, in both coordinates."""
    return _table(
        runs,
        {
            (name, group): f"{title}, {coordinates}"
            for group, title in GROUPS.items()
            for coordinates, name in COORDINATES.items()
        },
    )


TABLES = {
    "accuracy": overview,
    "harder": partial(accuracies, group="unseen", columns=HARDER),
    "bytes": lambda runs: bytes_table(rounds_of(runs["plain"])),
    "bytes_white_nystroem": lambda runs: bytes_table(rounds_of(runs["white_nystroem"])),
}


def _table(runs: Runs, columns: Mapping[tuple[str, str], str]) -> str:
    """A column for each (run, group), with its title."""
    lines = []
    for method, title in HEADS.items():
        cells = (
            in_cell(
                by_seed(
                    [
                        row
                        for row in runs[name]["rows"]
                        if (row["method"], row["group"]) == (method, group)
                    ]
                )
            )
            for name, group in columns
        )
        lines.append([title, *cells])
    return markdown_table(["accuracy", *columns.values()], lines)
