"""Progress, time left, and endings of the long commands.

Progress is reported everywhere as (what is being done, the share that is done).
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from experiments.data import storage

Report = Callable[[str, float], None]


class Stopped(RuntimeError):
    """A run that cannot go on, with a one-line reason."""


def silent(what: str, share: float) -> None:
    """A report to nobody."""


def part_of(report: Report, start: float, stop: float) -> Report:
    """What reports the progress of a part as that of the whole.

    Example:
        >>> part_of(print, 0.5, 1.0)("training", 0.5)
        training 0.75
    """
    return lambda what, share: report(what, start + share * (stop - start))


@contextmanager
def bar(console: Console, total: float) -> Iterator[Report]:
    """A progress bar, and the function that moves it.

    It takes what is done now, and how much of the total is done. On a terminal;
    elsewhere nothing is shown.
    """
    with Progress(
        TextColumn("{task.percentage:3.0f}%"),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
        speed_estimate_period=600,
    ) as progress:
        task = progress.add_task("", total=total)
        yield lambda what, done: progress.update(task, completed=done, description=what)


def fail(error: object) -> NoReturn:
    """End the command with one line about options or files."""
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    raise SystemExit(2)


@contextmanager
def endings(console: Console) -> Iterator[None]:
    """Report in a line when a resumable run stops or fails."""
    try:
        yield
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on from here")
        sys.exit(130)
    except (OSError, storage.Damaged) as error:
        fail(f"{error}; the same command goes on once that is fixed")
    except Stopped as error:
        fail(error)
