"""The processes that a run starts, and how such a process lives and ends."""

import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from experiments.multihost import Child
from experiments.multihost import Options as Member


def start(module: str, told: Mapping[str, Any], member: Member) -> Child:
    """A process that does the `work` of a module, told this on its standard input.

    Args:
        module: its name.
        told: JSON.
        member: its place among the others, as `multihost.verdict` says it.
    """
    environment = {"TF_CPP_MIN_LOG_LEVEL": "2"} | os.environ | {"JAX_PLATFORMS": "cpu"}
    process = subprocess.Popen(
        [sys.executable, "-c", f"from {module} import work; work()"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    process.stdin.write(json.dumps(told) + "\n")
    process.stdin.flush()
    heard: deque[str] = deque(maxlen=200)

    def relay() -> None:
        for line in process.stderr:
            heard.append(line)
            sys.stderr.write(line)

    listener = threading.Thread(target=relay, daemon=True)
    listener.start()
    return Child(member, process, listener, heard)


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
