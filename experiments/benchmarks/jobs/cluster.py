"""A merge of files by a Dask cluster, and by one process."""

import filecmp
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmarks import memory
from experiments.benchmarks.measure import Bench, Row

_ROWS, _FEW = 10_000_000, 20_000  # of all charts
_FILES = 50  # of all charts
_WIDTH = 32
_WORKERS, _MEMORY = 2, "1.5GB"  # of each
# Where each chart's samples begin and end, as a share of all rows.
_SPANS = {"a": (0, 0.4), "b": (0.1, 0.4), "c": (0.3, 0.6)}


class Merged(NamedTuple):
    """What a merge took: seconds, and the most memory of the command."""

    seconds: float
    peak: int


def rows(bench: Bench) -> list[Row]:
    """The one row: two workers, one of them killed, and one process."""
    total = _FEW if bench.quick else _ROWS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bench.tell("files", 0.0)
        write_charts(folder, total)
        with _cluster(folder) as (address, client):
            many = ["--scheduler", address]
            bench.tell("two workers", 0.1)
            first = _merge(folder, "two", many)
            usage = client.run(resource.getrusage, resource.RUSAGE_SELF)
            peaks = [1024 * used.ru_maxrss for used in usage.values()]
            bench.tell("one of them killed", 0.4)
            victim = next(iter(client.run(os.getpid).values()))
            killed = _merge(folder, "killed", many, lambda: _kill(folder, victim))
        bench.tell("one process", 0.7)
        alone = _merge(folder, "one", [])
        values = {
            "seconds, two workers": first.seconds,
            "peak of a worker, bytes": max(peaks),
            "peak of the command, bytes": first.peak,
            "seconds, a worker killed": killed.seconds,
            "files of the atlas that differ then": _differing(folder, "killed"),
            "seconds, one process": alone.seconds,
            "peak of one process, bytes": alone.peak,
            "files of its atlas that differ": _differing(folder, "one"),
        }
    size = {"rows": total, "M": len(_SPANS), "D": _WIDTH, "A": _WIDTH}
    return [
        {
            "name": "merge of files by Dask",
            "size": size,
            "seconds": {},
            "values": values,
            "bars": [],
        }
    ]


def write_charts(folder: Path, total: int) -> None:
    """Write charts of so many rows in all, in folders of parts."""
    import pyarrow as arrow
    from pyarrow import parquet

    rng = np.random.default_rng(0)
    turns = rng.uniform(0.1, 3, 16)
    for name, (start, stop) in _SPANS.items():
        (folder / name).mkdir()
        ids = rng.permutation(np.arange(int(start * total), int(stop * total)))
        weights = rng.normal(size=(turns.size, _WIDTH))
        size = -(-total // _FILES)
        for k in range(0, ids.size, size):
            some = ids[k : k + size]
            x = np.tanh(np.sin(some[:, None] * turns) @ weights / 3)
            x += 0.1 * rng.normal(size=x.shape)
            flat = arrow.array(x.astype(np.float32).ravel())
            lists = arrow.FixedSizeListArray.from_arrays(flat, _WIDTH)
            table = arrow.table({"id": some, "embedding": lists})
            parquet.write_table(table, folder / name / f"part-{k // size}.parquet")


@contextmanager
def _cluster(folder: Path) -> Iterator[tuple[str, Any]]:
    """A scheduler with workers of little memory: address and client."""
    from distributed import Client

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    workers = {
        "--nworkers": str(_WORKERS),
        "--nthreads": "1",
        "--memory-limit": _MEMORY,
        "--local-directory": str(folder),
    }
    commands = [
        ["scheduler", "--host", "127.0.0.1", "--port", str(port)],
        ["worker", address, *(word for pair in workers.items() for word in pair)],
    ]
    quiet: dict[str, Any] = {"stderr": subprocess.DEVNULL}
    processes = []
    try:
        for command in commands:
            dask = [sys.executable, "-m", "dask", *command, "--no-dashboard"]
            processes.append(subprocess.Popen(dask, **quiet))
        with Client(address, timeout=120, set_as_default=False) as client:
            client.wait_for_workers(_WORKERS, timeout=120)
            yield address, client
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait()


def _merge(
    folder: Path,
    out: str,
    options: list[str],
    meanwhile: Callable[[], None] | None = None,
) -> Merged:
    """Run the command on the charts."""
    charts = [str(folder / name) for name in _SPANS]
    kind = ["--coordinates", "relative", "--anchors", f"shared:{_WIDTH}"]
    command = [sys.executable, "-m", "jatlas", "merge", *charts, *kind, *options]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--out", f"{folder / out}/"], stdout=subprocess.DEVNULL
    )
    if meanwhile is not None:
        meanwhile()
    peak = memory.peak_of_process(process)
    if process.returncode:
        raise ChildProcessError(f"`jatlas merge` ended with {process.returncode}.")
    return Merged(time.perf_counter() - began, peak)


def _kill(folder: Path, worker: int) -> None:
    """Kill a worker once rows are being written."""
    deadline = time.monotonic() + 600
    while not list(folder.glob(".killed.*/work/rows-*")):
        if time.monotonic() > deadline:
            raise TimeoutError("no worker writes rows.")
        time.sleep(0.05)
    os.kill(worker, signal.SIGKILL)


def _differing(folder: Path, other: str) -> int:
    """How many files of two atlases differ in a byte."""
    names = {file.name for name in ("two", other) for file in (folder / name).iterdir()}
    same = [
        (folder / other / name).exists()
        and (folder / "two" / name).exists()
        and filecmp.cmp(folder / "two" / name, folder / other / name, shallow=False)
        for name in names
    ]
    return len(same) - sum(same)
