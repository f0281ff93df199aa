"""A command's progress and time left, in a line on the terminal."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from jatlas.files.reports import Progress


@contextmanager
def line(what: str) -> Iterator[Progress]:
    """A line with the number done and the time left.

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
    """The share done, with minutes and seconds left at this pace.

    >>> time_left(250, 1000, 30.0)
    ' 25%  1:30'
    """
    left = round(seconds * max(total - done, 0) / max(done, 1))
    return f"{min(done / max(total, 1), 1):4.0%} {left // 60:2d}:{left % 60:02d}"
