"""Accuracies of federated clients: groups of classes, coordinates, harder cases."""

from collections.abc import Mapping
from functools import partial

import numpy as np

from experiments.federated.report import HEADS, by_seed, bytes_table, rounds_of
from experiments.readmes.files import Runs
from experiments.runs.rows import in_cell, markdown_table

GROUPS = {"unseen": "never seen", "seen": "seen", "all": "all classes"}
# By what a column says of the run: the run.
COORDINATES = {
    "plain": "plain",
    "white-nystroem": "white_nystroem",
    "consensus": "consensus",
}
# The methods whose rows are in the coordinates of the run.
IN_COORDINATES = ("own_public", "atlas", "together", "end_to_end_public")
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
    """All groups of classes, in all coordinates."""
    return _table(
        runs,
        {
            (name, group): f"{title}, {coordinates}"
            for group, title in GROUPS.items()
            for coordinates, name in COORDINATES.items()
        },
    )


def gains(runs: Runs) -> str:
    """What consensus coordinates gain, in points, paired by seed."""
    others = [name for name in COORDINATES if name != "consensus"]
    columns = [(group, other) for group in GROUPS for other in others]
    lines = []
    for method in IN_COORDINATES:
        cells = []
        for group, other in columns:
            ours, theirs = (
                np.array(_values(runs, COORDINATES[name], method, group))
                for name in ("consensus", other)
            )
            points = 100 * (ours - theirs)
            cells.append(f"{points.mean():+.1f} ± {points.std(ddof=1):.1f}")
        lines.append([HEADS[method], *cells])
    titles = [f"{GROUPS[group]}, less {other}" for group, other in columns]
    return markdown_table(["points gained by consensus", *titles], lines)


TABLES = {
    "accuracy": overview,
    "gains": gains,
    "harder": partial(accuracies, group="unseen", columns=HARDER),
    "bytes": lambda runs: bytes_table(rounds_of(runs["plain"])),
    "bytes_white_nystroem": lambda runs: bytes_table(rounds_of(runs["white_nystroem"])),
    "bytes_consensus": lambda runs: bytes_table(rounds_of(runs["consensus"])),
}


def _table(runs: Runs, columns: Mapping[tuple[str, str], str]) -> str:
    """A column for each (run, group), with its title."""
    lines = []
    for method, title in HEADS.items():
        cells = (in_cell(_values(runs, name, method, group)) for name, group in columns)
        lines.append([title, *cells])
    return markdown_table(["accuracy", *columns.values()], lines)


def _values(runs: Runs, name: str, method: str, group: str) -> list[float]:
    """The accuracies of a run by seed, each the mean over clients."""
    wanted = (method, group)
    return by_seed(
        [r for r in runs[name]["rows"] if (r["method"], r["group"]) == wanted]
    )
