"""The machine behind the figures: its name, rates and threads."""

import functools
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import threadpoolctl

from experiments.benchmarks import references
from experiments.benchmarks.timing import Subject

_WIDTH = {"cpu": 1024}  # of the square matrices; elsewhere 8192
_NUMBERS = 2**25  # in the array that is copied: 128 MB, more than caches hold

_STAT = Path("/proc/stat")


def num_threads() -> int:
    """The processors available to this process; XLA uses as many threads."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def rates() -> dict[str, Subject]:
    """The machine's best rates, as subjects timed beside a job.

    "matmul" multiplies square float32 matrices. "copy" reads an array larger than the
    caches and writes it in place, in memory that the process has already.
    """
    a = jnp.ones((_width(), _width()), jnp.float32)
    multiply = jax.jit(lambda a: jnp.matmul(a, a, precision="highest"))
    scaled = jax.jit(lambda x: x * 0.5, donate_argnums=0)
    held = [jnp.ones(_NUMBERS, jnp.float32)]

    def copy() -> jax.Array:
        held[0] = scaled(held[0])
        return held[0]

    # The second gives a number, lest who keeps the result keeps what is given away.
    return {
        "matmul": Subject(lambda: multiply(a)),
        "copy": Subject(lambda: copy().block_until_ready().size),
    }


def work() -> dict[str, float]:
    """The work of one call of each of `rates`.

    Flops of the first, bytes of the second. Of a copy, every number counts twice: once
    read, once written.
    """
    return {"matmul": 2.0 * _width() ** 3, "copy": 2.0 * 4 * _NUMBERS}


def describe() -> dict[str, Any]:
    """Device, processor, memory and threads."""
    torch = references.load_torch(num_threads())
    device = jax.devices()[0]
    pools = {
        f"{pool['user_api']}, {Path(pool['filepath']).name}": pool["num_threads"]
        for pool in threadpoolctl.threadpool_info()
    }
    return {
        "device": f"{device.platform}: {device.device_kind}",
        "processor": _processor(),
        "memory_bytes": _memory(),
        "threads": {
            "xla": num_threads(),
            "torch": torch.get_num_threads() if torch else None,
            "pools": pools,
        },
    }


def versions() -> dict[str, str | None]:
    """Of the packages; a run goes on only under the same."""
    packages = ("jatlas", "jax", "jaxlib", "flax", "optax", "numpy")
    torch = references.load_torch(num_threads())
    return {
        **{name: metadata.version(name) for name in packages},
        "torch": torch.__version__ if torch else None,
        "python": platform.python_version(),
    }


@contextmanager
def others() -> Iterator[dict[str, float | None]]:
    """How many processors other processes kept busy meanwhile, on average.

    What is yielded says it afterwards, under "busy"; None where the system does not.
    """
    load: dict[str, float | None] = {"busy": None}
    began, before = time.perf_counter(), _seconds_of_others()
    yield load
    after, took = _seconds_of_others(), time.perf_counter() - began
    if before is not None and after is not None:
        load["busy"] = max(0.0, (after - before) / took)


def _seconds_of_others() -> float | None:
    """Processor seconds since the start, without this process."""
    if not _STAT.exists():
        return None
    user, nice, system = (int(n) for n in _STAT.read_text("utf-8").split()[1:4])
    whole = (user + nice + system) / os.sysconf("SC_CLK_TCK")
    times = os.times()
    return whole - sum(times[:4])


def _width() -> int:
    return _WIDTH.get(jax.default_backend(), 8192)


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor() or platform.machine()


def _memory() -> int | None:
    names = ("SC_PAGE_SIZE", "SC_PHYS_PAGES")
    if not all(name in os.sysconf_names for name in names):
        return None
    return os.sysconf(names[0]) * os.sysconf(names[1])
