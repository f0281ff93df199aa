"""How far a command is, and how long it still takes, in a line on the terminal."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, int], None]  # is told how many were done, and of how many
Advance = Callable[[int], None]  # is told how many more were done
Say = Callable[[str], None]


def counted(progress: Progress, total: int) -> Advance:
    """What is told how many more were done, and tells how many of `total` were in all.

    >>> advance = counted(lambda done, total: print(done, "of", total), 5)
    >>> advance(2), advance(3)
    2 of 5
    5 of 5
    (None, None)
    """
    done = 0

    def advance(more: int) -> None:
        nonlocal done
        done += more
        progress(done, total)

    return advance


def unseen(done: int, total: int) -> None:
    """The progress that nobody looks at."""


def quiet(text: str) -> None:
    """What nobody reads."""


@contextmanager
def line(what: str) -> Iterator[Progress]:
    """A line that says how many of all were done, and the time left.

    Shown on a terminal only, four times a second at most, and wiped out at the end.
    """
    begin, shown = time.monotonic(), 0.0

    def show(done: int, total: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if sys.stderr.isatty() and now - shown > 0.25:
            shown = now
            left = time_left(done, total, now - begin)
            text = f"\r{left} left, {done} of {total} {what}"
            print(text.ljust(60), end="", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        if shown:
            print("\r" + " " * 60 + "\r", end="", file=sys.stderr, flush=True)


def time_left(done: int, total: int, seconds: float) -> str:
    """The share that is done, and minutes and seconds at the pace so far.

    >>> time_left(250, 1000, 30.0)
    ' 25%  1:30'
    """
    left = round(seconds * max(total - done, 0) / max(done, 1))
    return f"{min(done / max(total, 1), 1):4.0%} {left // 60:2d}:{left % 60:02d}"
