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
_MARKS = 256  # reports that are kept to estimate from


class Pace:
    """The time left, estimated by the later half of the work.

    The first step compiles, opens files and fills caches: it can take as long as a
    hundred others. So the seconds for one more are those since the report nearest to
    half of what is done now. After a first report alone nothing better is known than
    the seconds from the beginning.
    """

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._marks: list[tuple[float, float | int]] = []  # seconds and done
        # Of the last report: seconds, done, how much more it was, and seconds for one.
        self._last: tuple[float, float | int, float | int, float] = (0.0, 0, 0, 0.0)

    @property
    def passed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._begin

    @property
    def each(self) -> float:
        """Seconds for one more; 0 before the first report."""
        return self._last[3]

    def step(self, done: float | int) -> None:
        """Report how much is done now, in all."""
        passed, before = self.passed, self._last[1]
        if done < before:  # another count begins
            self._begin, self._marks = self._begin + passed, []
            self._last, passed, before = (0.0, 0, 0, 0.0), 0.0, 0
        if done == before:
            return
        known = [mark for mark in self._marks if mark[1] <= done / 2]
        seconds, start = (known or self._marks or [(0.0, 0)])[-1 if known else 0]
        each = (passed - seconds) / (done - start)
        self._last = passed, done, done - before, each
        # Of what is before half of it, the last is enough.
        self._marks = [*self._marks[max(len(known) - 1, 0) :], (passed, done)]
        if len(self._marks) > _MARKS:
            self._marks = [*self._marks[:-1:2], self._marks[-1]]

    def left(self, total: float | int) -> float | None:
        """Seconds left until so much is done; None before the first report.

        Since the last report the next step can have gone on, but no further than to
        its end.
        """
        seconds, done, more, each = self._last
        if not done:
            return None
        remaining = max(total - done, 0)
        gone = min(self.passed - seconds, each * min(more, remaining))
        return float(max(each * remaining - gone, 0))


@contextmanager
def line(what: str, size: float | int = 0) -> Iterator[Progress]:
    """A line with what is done, its speed, and the time left.

    On a terminal it is shown four times a second at most, and wiped out at the end.
    Elsewhere it is printed among the errors every half minute, also while nothing is
    counted. Bytes are shown where the size of one of what is counted is known.
    """
    pace = Pace()
    last = (0, 0)

    def text() -> str:
        done, total = last
        if not done:
            return f"{round(pace.passed)} s so far"
        shown = f"{share_left(done, total, pace.left(total) or 0.0)} left, "
        shown += f"{done:,} of {total:,} {what}"
        return f"{shown}, {speed(size, pace.each)}" if size else shown

    with _on_terminal(text) if sys.stderr.isatty() else _in_lines(text) as show:

        def advance(done: int, total: int) -> None:
            nonlocal last
            pace.step(done)
            last = done, total
            show()

        yield advance


@contextmanager
def _on_terminal(text: Callable[[], str]) -> Iterator[Callable[[], None]]:
    """One line, written over itself."""
    shown = 0.0

    def show() -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown > 0.25:
            shown = now
            row = f"\r{text()}".ljust(_WIDTH)
            print(row, end="", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        if shown:
            print("\r" + " " * _WIDTH + "\r", end="", file=sys.stderr, flush=True)


@contextmanager
def _in_lines(text: Callable[[], str]) -> Iterator[Callable[[], None]]:
    """A line now and then."""

    def say() -> None:
        print(text(), file=sys.stderr, flush=True)

    with now_and_then(say, PAUSE):
        yield lambda: None


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


def speed(num_bytes: float | int, seconds: float | int) -> str:
    """Bytes a second, in megabytes.

    >>> speed(450e6, 5.0)
    '90 MB/s'
    """
    return f"{num_bytes / 1e6 / max(seconds, 1e-9):.3g} MB/s"


def share_left(done: float | int, total: float | int, seconds: float | int) -> str:
    """The share done, with minutes and seconds left.

    >>> share_left(250, 1000, 90.0)
    ' 25%  1:30'
    """
    return f"{min(done / max(total, 1), 1):4.0%} {clock(seconds):>5}"


def clock(seconds: float | int) -> str:
    """Minutes and seconds.

    >>> clock(90.0)
    '1:30'
    """
    minutes, remaining = divmod(round(seconds), 60)
    return f"{minutes}:{remaining:02d}"
