"""The parent of child processes: how it waits, whom it ends, and whom it names."""

import re
import signal
import subprocess
import threading
import time
from collections import deque

import pytest

from experiments.runs import children
from experiments.runs.children import Child, Member


def child_of(process_id, program):
    process = subprocess.Popen(["sh", "-c", program])
    listener = threading.Thread(target=bool)
    listener.start()
    member = Member(num_processes=3, process_id=process_id)
    return Child(member, process, listener, deque())


def watched(*programs):
    started = [child_of(i, program) for i, program in enumerate(programs)]
    began = time.monotonic()
    codes = children.watch(started)
    assert all(child.process.poll() is not None for child in started)
    assert time.monotonic() - began < 30
    return children.verdict(started, codes)


def test_the_parent_waits_for_all():
    assert watched("sleep 0.1", "true", "sleep 0.2") is None


def test_the_parent_names_who_failed_and_ends_the_others():
    assert "process 1 of 3 was ended by SIGKILL. There are no" in watched(
        "exec sleep 100", "kill -KILL $$", "exec sleep 100"
    )
    assert "process 2 of 3 failed, with the message above." in watched(
        "exec sleep 100", "exec sleep 100", "exit 1"
    )


def test_the_parent_names_who_failed_before_who_was_ended_for_it():
    started = [child_of(i, "true") for i in range(3)]
    for child in started:
        child.process.wait()
    abort = -signal.SIGABRT
    assert "process 1 of 3 was ended by SIGKILL" in children.verdict(
        started, [abort, -signal.SIGKILL, abort]
    )
    started[0].heard.append("Task 2 heartbeat timeout.")
    assert "process 0 of 3 lost process 2, which did not answer" in children.verdict(
        started, [abort, None, abort]
    )


@pytest.mark.parametrize(
    ("heard", "process_id", "said"),
    [
        (
            "are unhealthy (stopped sending heartbeats):\n12\nThe tasks",
            0,
            "process 12,",
        ),
        ("set to ERROR: UNAVAILABLE: Task 3 heartbeat timeout. This", 4, "process 3,"),
        ("Failed to send RPC to coordination service. Either", 1, "process 0, .* h:1$"),
        ("RPC: /xla.coordination.CoordinationService/Heartbeat", 1, "lost process 0,"),
        ("RPC: /xla.coordination.CoordinationService/Heartbeat", 0, "the reason above"),
        ("coordination.CoordinationService/RegisterTask", 1, "not find .* h:1 within"),
        ("Check failed", 1, "was ended by JAX, for the reason above"),
    ],
)
def test_why_jax_ended_a_process_is_read_from_what_it_wrote(heard, process_id, said):
    member = Member(coordinator="h:1", process_id=process_id)
    assert re.search(said, children.reason(heard, member))
