"""Work in a thread beside other work: reading ahead, and hashing."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from queue import Full, Queue
from threading import Event, Thread, current_thread
from typing import Any, TypeVar

T = TypeVar("T")

# Items that are made before they are asked for.
MOST_AHEAD = 2

_LOOK = 0.1  # seconds between looks whether anybody still wants them


def ahead(items: Iterable[T], most: int = MOST_AHEAD) -> Iterator[T]:
    """The items, each made by a thread before it is asked for.

    Files are read, and numbers looked at, while the one before is computed with. Of an
    iteration that is given up the thread ends too.

    >>> list(ahead(n * n for n in range(4)))
    [0, 1, 4, 9]
    """
    results: Queue[tuple[Any, BaseException | None, bool]] = Queue(most)
    stop = Event()

    def put(item: Any, error: BaseException | None = None, last: bool = False) -> None:
        while not stop.is_set():
            try:
                results.put((item, error, last), timeout=_LOOK)
            except Full:
                continue
            return

    def work() -> None:
        try:
            for item in items:
                put(item)
                if stop.is_set():
                    break
            put(None, last=True)
        except BaseException as error:
            put(None, error)
        finally:
            getattr(items, "close", lambda: None)()

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            item, error, last = results.get()
            if error is not None:
                raise error
            if last:
                return
            yield item
            del item  # lest it is held while the next is waited for
    finally:
        stop.set()
        if thread is not current_thread():  # which may end what nobody holds any more
            thread.join()


def behind(items: Iterable[T]) -> Iterator[T]:
    """The items, each given once the next was begun.

    JAX computes what was begun while the one before is worked with.

    >>> list(behind(iter("abc")))
    ['a', 'b', 'c']
    """
    held: list[T] = []
    for item in items:
        held.append(item)
        if len(held) > 1:
            yield held.pop(0)
    yield from held


@contextmanager
def before(function: Callable[[Callable[[], bool]], T]) -> Iterator[Future[T]]:
    """The result of a function that runs before what is done inside."""
    result: Future[T] = Future()
    result.set_result(function(lambda: False))
    yield result


@contextmanager
def beside(function: Callable[[Callable[[], bool]], T]) -> Iterator[Future[T]]:
    """The result of a function that runs beside what is done inside.

    It gets what says whether it is given up. Its error comes before one from inside, as
    if it had run first.
    """
    result: Future[T] = Future()
    stop = Event()

    def work() -> None:
        try:
            result.set_result(function(stop.is_set))
        except BaseException as error:
            result.set_exception(error)

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        yield result
    except Exception:
        result.result()
        raise
    finally:
        stop.set()
        thread.join()
