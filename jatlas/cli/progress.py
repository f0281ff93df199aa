"""A command's progress and time left, in a line on the terminal."""

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from jatlas.files.formats.sources import Source
from jatlas.files.reports import Progress

PAUSE = 30.0  # seconds between two lines where there is no terminal
_WIDTH = 72


@contextmanager
def line(what: str, size: float = 0) -> Iterator[Progress]:
    """A line with what is done, its speed, and the time left.

    On a terminal it is shown four times a second at most, and wiped out at the end.
    Elsewhere it is printed among the errors every half minute, also while nothing is
    counted. Bytes are shown where the size of one of what is counted is known.
    """
    begin = time.monotonic()

    def text(done: int, total: int) -> str:
        passed = time.monotonic() - begin
        if not done:
            return f"{round(passed)} s so far"
        shown = f"{time_left(done, total, passed)} left, {done:,} of {total:,} {what}"
        return f"{shown}, {speed(done * size, passed)}" if size else shown

    with _on_terminal(text) if sys.stderr.isatty() else _in_lines(text) as show:
        yield show


@contextmanager
def _on_terminal(text: Callable[[int, int], str]) -> Iterator[Progress]:
    """One line, written over itself."""
    shown = 0.0

    def show(done: int, total: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown > 0.25:
            shown = now
            row = f"\r{text(done, total)}".ljust(_WIDTH)
            print(row, end="", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        if shown:
            print("\r" + " " * _WIDTH + "\r", end="", file=sys.stderr, flush=True)


@contextmanager
def _in_lines(text: Callable[[int, int], str]) -> Iterator[Progress]:
    """A line now and then."""
    last = [(0, 0)]

    def say() -> None:
        print(text(*last[0]), file=sys.stderr, flush=True)

    with now_and_then(say, PAUSE):
        yield lambda done, total: last.__setitem__(0, (done, total))


@contextmanager
def now_and_then(say: Callable[[], None], pause: float | int) -> Iterator[None]:
    """Call a function after each pause, from a thread of its own."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(pause):
            say()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


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
