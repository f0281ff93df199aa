"""Tasks on the workers of a Dask cluster."""

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from jatlas._src import arrays
from jatlas.files.formats.faults import package
from jatlas.files.reports import Advance

_CONNECTING = 10  # seconds
_WITHOUT_WORKERS = 60  # seconds until a cluster without workers is given up
_LOOK, _ASK = 0.02, 5.0  # seconds between looks for results, and for workers


# A function of a task and of what counts its rows. Where processes share the tasks it
# can be pickled, and so can what it returns.
Task = Callable[[Any, Advance], Any]

# Does independent tasks: gets the function, the tasks, the rows of each, and what
# counts these; returns the results in their order.
Run = Callable[[Task, Sequence[Any], Sequence[int], Advance], list[Any]]


@contextmanager
def cluster_run(
    workers: int | None, scheduler: str | None, folder: Path
) -> Iterator[Run]:
    """Run tasks on so many processes here, or on a scheduler's workers.

    Args:
        workers: how many; None if there is a scheduler.
        scheduler: its address; None if there are workers.
        folder: that all of them must see.

    Raises:
        ValueError: if both are given, or a worker does not see the folder.
        OSError: if the scheduler cannot be reached, is lost, or has no workers.
        ImportError: if distributed is not installed.
    """
    if workers is not None and scheduler is not None:
        raise ValueError(
            "--workers starts processes here, --scheduler takes those of a cluster: "
            "give one."
        )
    if workers is not None:
        arrays.check_count("workers (--workers)", workers, 1)
    distributed = package("distributed", "--workers, --scheduler", extra="cluster")
    with ExitStack() as stack:
        stack.enter_context(_silent())
        if workers is not None:
            cluster = stack.enter_context(
                distributed.LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    dashboard_address="127.0.0.1:0",  # a free port, not for others
                    silence_logs=logging.CRITICAL,
                )
            )
            scheduler = cluster.scheduler_address
        client = stack.enter_context(_client(distributed, str(scheduler)))
        _check_seen(client, folder, str(scheduler))
        yield partial(_run, distributed, client, str(scheduler))


@contextmanager
def _silent() -> Iterator[None]:
    """Nothing from Dask's loggers, whose news are said in one line."""
    loggers = [
        logging.getLogger(name) for name in ("distributed", "distributed.client")
    ]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextmanager
def _client(distributed: Any, scheduler: str) -> Iterator[Any]:
    """A connection to a scheduler."""
    try:
        client = distributed.Client(
            scheduler, timeout=_CONNECTING, set_as_default=False
        )
    except OSError as error:
        raise ConnectionError(
            f"no scheduler answers at {scheduler} (--scheduler): {error}. Start one "
            "with `dask scheduler`, and workers with `dask worker ADDRESS`."
        ) from None
    try:
        yield client
    finally:
        client.close(timeout=1)


def _check_seen(client: Any, folder: Path, scheduler: str) -> None:
    """Raise ValueError unless there are workers and all see the folder."""
    if not client.nthreads():
        raise ConnectionError(
            f"the scheduler at {scheduler} has no workers; start some with `dask "
            f"worker {scheduler}`."
        )
    blind = [
        address
        for address, seen in client.run(os.path.isdir, str(folder)).items()
        if not seen
    ]
    if blind:
        raise ValueError(
            f"{len(blind)} workers do not see {folder.parent}, {blind[0]} is one: "
            "--out and the files must be at one path on all machines, on a disk that "
            "they share."
        )


def _run(
    distributed: Any,
    client: Any,
    scheduler: str,
    function: Task,
    given: Sequence[Any],
    sizes: Sequence[int],
    advance: Advance,
) -> list[Any]:
    """Do tasks on the workers, those of a lost one again."""
    results: list[Any] = [None] * len(given)
    futures = client.map(partial(_quietly, function), given, pure=False)
    places = {future: k for k, future in enumerate(futures)}
    del futures
    done = distributed.as_completed(list(places), loop=client.loop, with_results=True)
    try:
        for _ in range(len(given)):
            _wait(client, done, scheduler)
            future, result = next(done)
            if future.status == "cancelled":
                raise _lost(scheduler)
            k = places.pop(future)
            future.release()  # the result is here, and outlives its worker
            results[k] = result
            advance(sizes[k])
    except distributed.scheduler.KilledWorker as error:
        raise OSError(
            f"{error.allowed_failures + 1} workers died of one task, most likely of "
            "too little memory: give them more, or a smaller --batch-size."
        ) from None
    return results


def _quietly(function: Task, task: Any) -> Any:
    """A task whose rows nobody counts while it runs."""
    return function(task, _uncounted)


def _uncounted(rows: int) -> None:
    """Where rows are counted once a task is done."""


def _wait(client: Any, done: Any, scheduler: str) -> None:
    """Wait for a result; ConnectionError if there is nobody to give it."""
    asked = last_seen = time.monotonic()
    while not done.has_ready():
        time.sleep(_LOOK)
        now = time.monotonic()
        if now - asked < _ASK:
            continue
        asked = now
        try:
            last_seen = now if client.nthreads() else last_seen
        except (OSError, RuntimeError):
            raise _lost(scheduler) from None
        if now - last_seen > _WITHOUT_WORKERS:
            raise ConnectionError(
                f"the scheduler at {scheduler} has no workers any more; nothing was "
                "written. Start some, and merge again."
            )


def _lost(scheduler: str) -> ConnectionError:
    return ConnectionError(
        f"the scheduler at {scheduler} is gone; nothing was written. Start it again, "
        "with workers, and merge again."
    )
