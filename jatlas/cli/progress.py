"""A command's progress and time left, in a line on the terminal."""

import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from jatlas.files.formats.sources import Source
from jatlas.files.reports import Progress

_WIDTH = 72


@contextmanager
def line(what: str, size: float = 0) -> Iterator[Progress]:
    """A line with what is done, its speed, and the time left.

    Shown on a terminal only, four times a second at most, and wiped out at the end.
    Bytes are shown where the size of one of what is counted is known.
    """
    begin, shown = time.monotonic(), 0.0

    def show(done: int, total: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if sys.stderr.isatty() and now - shown > 0.25:
            shown = now
            left = time_left(done, total, now - begin)
            text = f"\r{left} left, {done:,} of {total:,} {what}"
            if size:
                text += f", {speed(done * size, now - begin)}"
            print(text.ljust(_WIDTH), end="", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        if shown:
            print("\r" + " " * _WIDTH + "\r", end="", file=sys.stderr, flush=True)


def row_size(sources: Sequence[Source]) -> float:
    """The mean bytes of a row in these files."""
    sizes = [math.prod(s.rows.shape) * s.rows.dtype.itemsize for s in sources]
    return sum(sizes) / max(sum(s.rows.shape[0] for s in sources), 1)


def speed(num_bytes: float, seconds: float) -> str:
    """Bytes a second, in megabytes.

    >>> speed(450e6, 5.0)
    '90 MB/s'
    """
    return f"{num_bytes / 1e6 / max(seconds, 1e-9):.3g} MB/s"


def time_left(done: int, total: int, seconds: float) -> str:
    """The share done, with minutes and seconds left at this pace.

    >>> time_left(250, 1000, 30.0)
    ' 25%  1:30'
    """
    left = round(seconds * max(total - done, 0) / max(done, 1))
    return f"{min(done / max(total, 1), 1):4.0%} {left // 60:2d}:{left % 60:02d}"
