"""Memory that a function takes above its inputs and its output."""

import ctypes
import gc
import re
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax

_INTERVAL = 0.001  # seconds between two looks
_BETWEEN = 0.02  # the same, at another process
# What glibc's mallinfo2 returns; the names are its own.
_FIELDS = (
    "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
    "fordblks", "keepcost",
)  # fmt: skip


class _Heap(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in _FIELDS]


def temporaries(function: Callable, *args: Any) -> int | None:
    """Bytes of temporaries, by the compiler; None where it does not say."""
    return temporaries_of(program(function, *args))


def program(function: Callable, *args: Any) -> jax.stages.Compiled:
    """What the compiler makes of a function of arrays such as these."""
    return jax.jit(lambda *args: function(*args)).lower(*args).compile()


def temporaries_of(compiled: jax.stages.Compiled) -> int | None:
    """Bytes of temporaries of a program; None where it is not said."""
    analysis = compiled.memory_analysis()
    return None if analysis is None else int(analysis.temp_size_in_bytes)


def peak(call: Callable[[], Any]) -> int | None:
    """The most bytes allocated during a call, above those before it.

    Looked at each millisecond; the result is in it, a mapped file is not. What is
    counted is in use: pages that the allocator keeps for later would hide what grows.
    None where the C library does not say, and where the arrays are not in its memory.
    """
    if allocated() is None or jax.default_backend() != "cpu":
        return None
    gc.collect()
    before, most, done = allocated() or 0, [0], threading.Event()

    def watch() -> None:
        while not done.wait(_INTERVAL):
            most[0] = max(most[0], allocated() or 0)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        result = jax.block_until_ready(call())
        most[0] = max(most[0], allocated() or 0)
    finally:
        done.set()
        thread.join()
    del result
    return max(0, most[0] - before)


def size(tree: Any) -> int:
    """Bytes of the arrays in a tree."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def allocated() -> int | None:
    """Bytes that the process has allocated and not freed, by glibc."""
    look = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if look is None:
        return None
    look.restype = _Heap
    heap = look()
    return heap.uordblks + heap.hblkhd


def peak_of_process(
    process: subprocess.Popen, look: Callable[[], None] = lambda: None
) -> int:
    """The peak memory of a child process in bytes, 0 if unknown.

    Meanwhile `look` is called now and then.

    What `os.wait4` says of a child includes this process's memory, of which it began as
    a copy; what the system says of the child's own, looked at until it ends, does not.
    """
    most = 0
    while process.poll() is None:
        with suppress(OSError, TypeError):
            text = Path(f"/proc/{process.pid}/status").read_text("utf-8")
            most = 1024 * int(re.search(r"VmHWM:\s+(\d+)", text)[1])  # type: ignore[index]
        look()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_BETWEEN)
    return most
