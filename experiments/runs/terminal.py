"""Progress, time left, and endings of the long commands.

Progress is reported everywhere as (what is being done, the share that is done).
"""

import sys
import time
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
from rich.text import Text

from experiments.data import storage
from jatlas.cli.progress import now_and_then

Report = Callable[[str, float], None]
PAUSE = 30.0  # seconds between two lines where there is no terminal


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

    It takes what is done now, and how much of the total is done. Where there is no
    terminal, a line every half minute says the same.
    """
    if not console.is_terminal:
        with _lines(console, total) as show:
            yield show
        return
    with Progress(
        TextColumn("{task.percentage:3.0f}%"),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
        console=console,
        transient=True,
        speed_estimate_period=600,
    ) as progress:
        task = progress.add_task("", total=total)
        yield lambda what, done: progress.update(task, completed=done, description=what)


@contextmanager
def _lines(console: Console, total: float) -> Iterator[Report]:
    """What `bar` shows, in lines."""
    began = time.monotonic()
    last: list[tuple[str, float]] = [("", 0.0)]

    def say() -> None:
        what, done = last[0]
        console.print(_line(what, done / total, time.monotonic() - began))

    with now_and_then(say, PAUSE):
        yield lambda what, done: last.__setitem__(0, (what, done))


def _line(what: str, share: float, seconds: float) -> Text:
    """The share done, and the time left at this pace.

    >>> print(_line("training", 0.25, 30.0))
     25%, about 1:30 left: training
    """
    about = f"{round(seconds)} s so far"
    if share > 0:
        remaining = round(seconds * (1 - share) / share)
        about = f"about {remaining // 60}:{remaining % 60:02d} left"
    return Text(f"{share:4.0%}, {about}{': ' if what else ''}{what}")


def left(seconds: float, done: int, total: int) -> str:
    """The time left at this pace, to put behind a line.

    >>> left(30.0, 1, 4)
    '; about 90 s left'
    """
    return f"; about {seconds / done * (total - done):.0f} s left" if done else ""


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
