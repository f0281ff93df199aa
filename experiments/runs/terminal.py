"""What the long commands share: a bar that says how long is left, and how they end."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from experiments.runs import storage


@contextmanager
def bar(console: Console, total: float) -> Iterator[Callable[[float, str], None]]:
    """A bar, and what moves it: how much of the total is done, and what is done now.

    On a terminal; elsewhere nothing is shown.
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
        yield lambda done, what: progress.update(task, completed=done, description=what)


@contextmanager
def endings(console: Console) -> Iterator[None]:
    """What is said, in a line, when a run that can go on later is stopped or fails."""
    try:
        yield
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on from here")
        sys.exit(130)
    except (OSError, storage.Damaged) as error:
        sys.exit(f"error: {error}; the same command goes on once that is mended")
