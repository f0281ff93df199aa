"""Child processes: how they start, are watched, and end.

Either each child works by itself, or they are members of one `jax.distributed`. JAX
ends a member by SIGABRT when another is lost, so no Python gets to say why: the parent
reads it from what the child wrote (`verdict`).
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax

# What the errors of JAX have in them when another process is gone.
_SIGNS = ("Gloo", "NCCL", "UNAVAILABLE", "DEADLINE_EXCEEDED")


class Member(NamedTuple):
    """The place of a process among those of one `jax.distributed`.

    Attributes:
        coordinator: HOST:PORT of process 0; None if there are no others.
        num_processes: how many there are.
        process_id: which of them this is, from 0.
        timeout: a process that is silent for so many seconds is lost.
        wait: for so many seconds processes wait for the others at the start.
    """

    coordinator: str | None = None
    num_processes: int = 1
    process_id: int = 0
    timeout: int = 30
    wait: int = 120


class Child(NamedTuple):
    """A process that was started here.

    Attributes:
        member: its place among the others.
        process: itself.
        listener: the thread that passes on what it writes to standard error.
        heard: the last lines of that.
    """

    member: Member
    process: subprocess.Popen
    listener: threading.Thread
    heard: deque[str]


# In the process that starts others


def members(num_processes: int, *, timeout: int, wait: int) -> list[Member]:
    """The members of a local `jax.distributed`, at a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    return [
        Member(coordinator, num_processes, process_id, timeout, wait)
        for process_id in range(num_processes)
    ]


def start(
    module: str, task: Mapping[str, Any], member: Member, *, cpu: bool = True
) -> Child:
    """Start a process that does the `work` of a module.

    Args:
        module: its name.
        task: what it is to do, in JSON on its standard input.
        member: its place among the others.
        cpu: whether it computes on CPU devices alone.
    """
    environment = {"TF_CPP_MIN_LOG_LEVEL": "2"} | os.environ
    if cpu:
        environment["JAX_PLATFORMS"] = "cpu"
    process = subprocess.Popen(
        [sys.executable, "-c", f"from {module} import work; work()"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    process.stdin.write(json.dumps(task, default=str) + "\n")
    process.stdin.flush()
    heard: deque[str] = deque(maxlen=200)

    def relay() -> None:
        for line in process.stderr:
            heard.append(line)
            sys.stderr.write(line)

    listener = threading.Thread(target=relay, daemon=True)
    listener.start()
    return Child(member, process, listener, heard)


def watch(children: Sequence[Child]) -> list[int | None]:
    """Wait until all end or one fails; then end the others.

    Returns:
        Their exit codes at that moment, None for those that were still at work.
    """
    try:
        while True:
            codes = [child.process.poll() for child in children]
            if any(codes) or None not in codes:
                return codes
            time.sleep(0.1)
    finally:
        end(children)


def end(children: Sequence[Child]) -> None:
    """End those that are still at work, and wait till all have."""
    for child in children:
        child.process.kill()
        child.process.wait()
        child.listener.join()


def verdict(children: Sequence[Child], codes: Sequence[int | None]) -> str | None:
    """What went wrong, in words; None if nothing did.

    The child to name is one that JAX did not end because of another.
    """
    failed = [i for i, code in enumerate(codes) if code]
    if not failed:
        return None
    first = next((i for i in failed if codes[i] != -signal.SIGABRT), failed[0])
    code, member = codes[first], children[first].member
    if code == -signal.SIGABRT:
        what = reason("".join(children[first].heard), member)
    elif code < 0:
        what = f"was ended by {signal.Signals(-code).name}"
    else:
        what = "failed, with the message above"
    return (
        f"process {member.process_id} of {member.num_processes} {what}. There are no "
        "results; start all processes again."
    )


def reason(heard: str, member: Member) -> str:
    """Why JAX ended a process, from what it wrote before it did."""
    if "RegisterTask" in heard:
        return (
            f"did not find the others by way of {member.coordinator} within "
            f"{member.wait} s: all must be started, with the same --num-processes"
        )
    silent = re.findall(
        r"stopped sending heartbeats\):\s*(\d+)|Task (\d+) heartbeat timeout", heard
    )
    if silent:
        names = " and ".join(sorted({a or b for a, b in silent}, key=int))
        return f"lost process {names}, which did not answer for {member.timeout} s"
    if member.process_id > 0 and re.search("coordination.?service", heard, re.I):
        return f"lost process 0, which was to be at {member.coordinator}"
    return "was ended by JAX, for the reason above"


# In a process that was started


def live(act: Callable[[dict[str, Any]], None]) -> None:
    """Do the task on standard input, and end when the parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent takes care of it
    task = json.loads(sys.stdin.readline())

    def follow() -> None:
        os.read(sys.stdin.fileno(), 1)
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    try:
        act(task)
    except Exception:
        traceback.print_exc()
        # Not by way of Python's exit, at which JAX would wait for the others.
        os._exit(1)


@contextmanager
def joined(member: Member, num_devices: int | None = None) -> Iterator[None]:
    """Work among the others, before anything else is done with JAX.

    Args:
        member: the place of this process.
        num_devices: how many CPU devices it has; what JAX finds if None.
    """
    try:
        _connect(member, num_devices)
        yield
        if member.num_processes > 1:
            jax.distributed.shutdown()  # which waits for the others
    except Exception as error:
        if not any(sign in str(error) for sign in _SIGNS):
            raise
        traceback.print_exc()
        time.sleep(member.timeout + 10)  # JAX ends us sooner, and says who is lost
        os._exit(1)


def _connect(member: Member, num_devices: int | None) -> None:
    if num_devices is not None:
        jax.config.update("jax_num_cpu_devices", num_devices)
    if member.num_processes > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(
            member.coordinator,
            member.num_processes,
            member.process_id,
            cluster_detection_method="deactivate",
            initialization_timeout=member.wait,
            shutdown_timeout_seconds=member.wait,
            heartbeat_timeout_seconds=member.timeout,
        )
