"""Progress, time left, and endings of the long commands.

Progress is reported everywhere as (what is being done, the share that is done).
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NoReturn

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from experiments.data import storage
from jatlas.cli.progress import Pace, clock, now_and_then

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
def bar(console: Console, total: float | int) -> Iterator[Report]:
    """A progress bar, and the function that moves it.

    It takes what is done now, and how much of the total is done. Where there is no
    terminal, a line every half minute says the same.
    """
    if not console.is_terminal:
        with _lines(console, total) as show:
            yield show
        return
    pace = Pace()
    with Progress(
        TextColumn("{task.percentage:3.0f}%"),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
        TextColumn("left"),
        _Left(pace),
        TextColumn("{task.description}"),
        console=console,
        transient=True,
    ) as progress:
        task = progress.add_task("", total=total)

        def show(what: str, done: float) -> None:
            pace.step(done)
            progress.update(task, completed=done, description=what)

        yield show


class _Left(ProgressColumn):
    """The time left of a bar."""

    max_refresh = 0.5

    def __init__(self, pace: Pace) -> None:
        super().__init__()
        self._pace = pace

    def render(self, task: Task) -> Text:
        left = self._pace.left(task.total or 0)
        shown = "-:--:--" if left is None else str(timedelta(seconds=round(left)))
        return Text(shown, style="progress.remaining")


@contextmanager
def _lines(console: Console, total: float) -> Iterator[Report]:
    """What `bar` shows, in lines."""
    pace = Pace()
    last: list[tuple[str, float]] = [("", 0.0)]

    def say() -> None:
        what, done = last[0]
        console.print(_line(what, done / total, pace.passed, pace.left(total)))

    def show(what: str, done: float) -> None:
        pace.step(done)
        last[0] = what, done

    with now_and_then(say, PAUSE):
        yield show


def _line(what: str, share: float, passed: float, seconds: float | None) -> Text:
    """The share done, and the seconds that are left.

    >>> print(_line("training", 0.25, 30.0, 90.0))
     25%, about 1:30 left: training
    """
    about = f"{round(passed)} s so far"
    if seconds is not None:
        about = f"about {clock(seconds)} left"
    return Text(f"{share:4.0%}, {about}{': ' if what else ''}{what}")


def left_of(total: int) -> Callable[[int], str]:
    """What says the time left, to put behind a line.

    It takes how much is done now, and says nothing before the first is.

    >>> left_of(4)(0)
    ''
    """
    pace = Pace()

    def left(done: int) -> str:
        pace.step(done)
        seconds = pace.left(total)
        return "" if seconds is None else f"; about {seconds:.0f} s left"

    return left


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
