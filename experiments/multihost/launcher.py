"""Merge, CKA and a probe on several hosts: `python -m experiments.multihost`.

On each of two hosts, 10.0.0.1 being the first, and with `--process-id 1` on the other:

    python -m experiments.multihost --coordinator 10.0.0.1:4321 \
        --num-processes 2 --process-id 0

All on this machine: `python -m experiments.multihost --local 2 --devices 2`.

The work of a process is in `experiments.multihost.host`. A process that does not answer
for `--timeout` seconds is lost, and JAX ends the others. It does so by SIGABRT, at
which no Python gets to speak: so the command has the work done in a child, says how
that ended, and takes it along when it is ended itself.
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
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tyro

from experiments.data.catalog import Dataset, load


@dataclass(frozen=True)
class Options:
    """Merge, CKA and a probe over the samples of several hosts.

    The charts are random projections with a tanh, so that every host can make them
    from the key alone. Writes each process's rows of the atlas, and results.json last:
    where it is, all of the run is.
    """

    coordinator: str | None = None
    """HOST:PORT of process 0, free there; the same for all."""
    num_processes: int = 1
    """How many processes there are, one a host."""
    process_id: int = 0
    """Which of them this is, from 0."""
    local: int | None = None
    """Start so many processes on this machine, on CPU devices, instead of one."""
    devices: int | None = None
    """CPU devices of each process; unset, what JAX finds."""
    timeout: int = 30
    """A process that does not answer for so many seconds is lost: the others end with
    an error, fifteen seconds later at most."""
    wait: int = 120
    """For so many seconds processes wait for the others at the start."""
    dataset: str = "fashion_mnist_7k"
    """Which images, as in the main job."""
    num_samples: int | None = None
    """N, evenly from the whole data set; all of it if unset."""
    shares: tuple[int, ...] | None = None
    """How the samples are shared out, 2 1 being twice as many to the first process."""
    num_charts: int = 4
    """M; each is absent for one sample in M + 1."""
    num_features: int = 64
    """D."""
    num_anchors: int = 128
    """A."""
    probe_epochs: int = 10
    """The most epochs of the probe."""
    repeat: int = 1
    """How often merge and CKA are computed; the times are medians."""
    out: Path = Path("results/multihost")
    """Where the results go."""


class Deal(NamedTuple):
    """What every process works out for itself, of all samples: numbers and masks.

    Attributes:
        samples: (N,), their places in the data set, the test split last.
        presence: (M, N), boolean.
        anchors: (A,), training samples present in all charts, as places in `samples`.
        cuts: the first sample of each process, and N.
    """

    samples: np.ndarray
    presence: np.ndarray
    anchors: np.ndarray
    cuts: np.ndarray


class Child(NamedTuple):
    """A process of the run, started here."""

    options: Options
    process: subprocess.Popen
    listener: threading.Thread
    heard: deque[str]


# Before a process is started


def check(options: Options) -> None:
    """Raise ValueError for options that no run can be made of."""
    counts = ("num_processes", "local", "devices", "timeout", "wait", "num_samples")
    counts += ("num_features", "num_anchors", "probe_epochs", "repeat")
    for name, least in [*((name, 1) for name in counts), ("num_charts", 2)]:
        value = getattr(options, name)
        if value is not None and value < least:
            flag = name.replace("_", "-")
            raise ValueError(f"--{flag} must be {least} or more, got {value}.")
    if options.local is not None and (options.coordinator or options.num_processes > 1):
        raise ValueError(
            "--local starts all processes itself; leave out --coordinator and "
            "--num-processes."
        )
    if options.num_processes > 1 and not re.fullmatch(
        r"\S+:\d+", options.coordinator or ""
    ):
        raise ValueError(
            f"--num-processes {options.num_processes} needs --coordinator HOST:PORT of "
            f"process 0, got {options.coordinator}."
        )
    if not 0 <= options.process_id < options.num_processes:
        raise ValueError(
            f"--process-id must be from 0 to {options.num_processes - 1}, one less "
            f"than --num-processes; got {options.process_id}."
        )
    shares, processes = options.shares, options.local or options.num_processes
    if shares is not None and (len(shares) != processes or min(shares) < 1):
        raise ValueError(
            f"--shares must be {processes} numbers of 1 or more, one a process; got "
            f"{shares}."
        )


def deal(options: Options, dataset: Dataset) -> Deal:
    """Which samples there are, who has them, and which are anchors.

    Raises:
        ValueError: if there are too few samples.
    """
    available, num_charts = len(dataset.labels), options.num_charts
    num_samples = options.num_samples or available
    if num_samples > available:
        raise ValueError(
            f"--num-samples {num_samples} is more than the {available} of "
            f"{dataset.name}."
        )
    samples = np.linspace(0, available - 1, num_samples).round().astype(int)
    numbers = np.arange(num_samples)
    everywhere = num_charts + 1
    presence = (numbers + np.arange(num_charts)[:, None]) % everywhere != 0
    pool = np.flatnonzero(presence.all(axis=0) & ~dataset.test[samples])
    if pool.size < options.num_anchors:
        raise ValueError(
            f"--num-anchors {options.num_anchors} is more than the {pool.size} "
            "training samples that all charts have; choose fewer, or more samples."
        )
    anchors = pool[np.linspace(0, pool.size - 1, options.num_anchors).astype(int)]
    shares = np.array(options.shares or [1] * options.num_processes)
    cuts = np.concatenate([[0], num_samples * shares.cumsum() // shares.sum()])
    if (np.diff(cuts) == 0).any():
        raise ValueError(
            f"--num-samples {num_samples} shared out {shares.tolist()} leaves a "
            "process without a sample; give each one or more."
        )
    return Deal(samples, presence, anchors, cuts)


# The processes started here


def start(options: Options) -> Child:
    """A child that works as one process of the run."""
    environment = {"TF_CPP_MIN_LOG_LEVEL": "2"} | os.environ
    if options.local is not None:
        environment["JAX_PLATFORMS"] = "cpu"
    return spawned("experiments.multihost.host", asdict(options), environment, options)


def spawned(
    module: str, told: Mapping[str, Any], environment: Mapping[str, str], own: Options
) -> Child:
    """A child that does the `work` of a module, told this, JSON, on standard input."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"from {module} import work; work()"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    process.stdin.write(json.dumps(told, default=str) + "\n")
    process.stdin.flush()
    heard: deque[str] = deque(maxlen=200)

    def relay() -> None:
        for line in process.stderr:
            heard.append(line)
            sys.stderr.write(line)

    listener = threading.Thread(target=relay, daemon=True)
    listener.start()
    return Child(own, process, listener, heard)


def members(options: Options) -> list[Options]:
    """The options of each process that is to be started here."""
    if options.local is None:
        return [options]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    return [
        replace(
            options,
            coordinator=coordinator,
            num_processes=options.local,
            process_id=process_id,
        )
        for process_id in range(options.local)
    ]


def watch(children: Sequence[Child]) -> list[int | None]:
    """Wait till all have ended or one has failed; the others are ended then.

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
    code, options = codes[first], children[first].options
    if code == -signal.SIGABRT:
        what = reason("".join(children[first].heard), options)
    elif code < 0:
        what = f"was ended by {signal.Signals(-code).name}"
    else:
        what = "failed, with the message above"
    return (
        f"process {options.process_id} of {options.num_processes} {what}. There are no "
        "results; start all processes again."
    )


def reason(heard: str, options: Options) -> str:
    """Why JAX ended a process, from what it wrote before it did."""
    if "RegisterTask" in heard:
        return (
            f"did not find the others by way of {options.coordinator} within "
            f"{options.wait} s: all must be started, with the same --num-processes"
        )
    silent = re.findall(
        r"stopped sending heartbeats\):\s*(\d+)|Task (\d+) heartbeat timeout", heard
    )
    if silent:
        names = " and ".join(sorted({a or b for a, b in silent}, key=int))
        return f"lost process {names}, which did not answer for {options.timeout} s"
    if options.process_id > 0 and re.search("coordination.?service", heard, re.I):
        return f"lost process 0, which was to be at {options.coordinator}"
    return "was ended by JAX, for the reason above"


def main() -> None:
    """The command: processes started, watched, and how they ended."""
    options = tyro.cli(Options, prog="python -m experiments.multihost")
    try:
        check(options)
        team = members(options)
        deal(team[0], load(options.dataset))
        options.out.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    try:
        children = [start(one) for one in team]
        codes = watch(children)
    except KeyboardInterrupt:
        sys.exit(130)
    if (wrong := verdict(children, codes)) is not None:
        sys.exit(f"error: {wrong}")
    if team[0].process_id == 0:
        print(f"The results are in {options.out / 'results.json'}")
