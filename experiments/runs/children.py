"""The processes that a run starts, and how such a process lives and ends."""

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from experiments.multihost.launcher import Child, spawned
from experiments.multihost.launcher import Options as Member


def start(module: str, told: Mapping[str, Any], member: Member) -> Child:
    """A process that does the `work` of a module, told this on its standard input.

    Args:
        module: its name.
        told: JSON.
        member: its place among the others, as `multihost.verdict` says it.
    """
    environment = {"TF_CPP_MIN_LOG_LEVEL": "2"} | os.environ | {"JAX_PLATFORMS": "cpu"}
    return spawned(module, told, environment, member)


def live(act: Callable[[dict[str, Any]], None]) -> None:
    """In the process: do what was told, and end when the one that started it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent takes care of it
    told = json.loads(sys.stdin.readline())

    def follow() -> None:
        os.read(sys.stdin.fileno(), 1)
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    try:
        act(told)
    except Exception:
        traceback.print_exc()
        # Not by way of Python's exit, at which JAX would wait for the others.
        os._exit(1)
