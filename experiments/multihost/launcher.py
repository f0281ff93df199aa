"""Merge, CKA and a probe on several hosts: `python -m experiments.multihost`.

On each of two hosts, 10.0.0.1 being the first, and with `--process-id 1` on the other:

    python -m experiments.multihost --coordinator 10.0.0.1:4321 \
        --num-processes 2 --process-id 0

All on this machine: `python -m experiments.multihost --local 2 --devices 2`.

The work of a process is in `experiments.multihost.host`. A process that does not answer
for `--timeout` seconds is lost, and JAX ends the others. It does so by SIGABRT, at
which no Python gets to speak: so the command has the work done in a child, says how
that ended, and takes it along when it is ended itself.

It shares its flags with the other experiments, and not their runner: the command of one
host makes a part of a run, all parts are made at once or not at all, so that there are
no units to keep, and the hosts write to one folder, in which process 0 alone says that
the run is whole.
"""

import contextlib
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.data.dataset import Dataset
from experiments.runs import benches, children, folders, runner, terminal
from experiments.runs import options as runs_options
from experiments.runs.children import Child, Member
from experiments.runs.options import Options

ABOUT = (
    "Merge, CKA and a probe over the samples of several hosts. The charts are random "
    "projections with a tanh, so that every host can make them from the key alone. "
    "Writes each process's rows of the atlas, table.md, and results.json last: where "
    "it is, all of the run is."
)
UNUSED = ("num_training", "scenario", "settings", "charts", "seeds", "num_held_out")
UNUSED += ("similarity", "max_epochs", "patience", "probe_patience", "feature_size")
UNUSED += ("force",)


@dataclass(frozen=True)
class MultihostOptions(Options):
    """The options of several hosts."""

    probe_epochs: int = 10
    """The most epochs of the probe."""
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
    num_samples: int | None = None
    """N, evenly from the whole data set; all of it if unset."""
    shares: tuple[int, ...] | None = None
    """How the samples are shared out, 2 1 being twice as many to the first process."""
    num_charts: int = 4
    """M; each is absent for one sample in M + 1."""
    num_features: int = 64
    """D."""
    repeats: int = 1
    """How often merge and CKA are computed; the times are medians."""

    @property
    def folder(self) -> Path:
        """Where the results go."""
        return self.out or Path("results") / "multihost" / self.name

    @property
    def member(self) -> Member:
        """The place of this process among the others."""
        return Member(*(getattr(self, name) for name in Member._fields))


class Deal(NamedTuple):
    """Every process's deal of all samples: numbers and masks.

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


# Before a process is started


def check(options: MultihostOptions) -> None:
    """Raise ValueError for options that no run can be made of."""
    runs_options.check(options)
    counts = ("num_processes", "local", "devices", "timeout", "wait", "num_samples")
    counts += ("num_features", "repeats")
    for name, least in [*((name, 1) for name in counts), ("num_charts", 2)]:
        value = getattr(options, name)
        if value is not None and value < least:
            flag = runs_options.flag(name)
            raise ValueError(f"{flag} must be {least} or more, got {value}.")
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


def deal(options: MultihostOptions, dataset: Dataset) -> Deal:
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


def start(options: MultihostOptions) -> Child:
    """A child that works as one process of the run."""
    module = "experiments.multihost.host"
    cpu = options.local is not None
    return children.start(
        module, runs_options.to_json(options), options.member, cpu=cpu
    )


def team(options: MultihostOptions) -> list[MultihostOptions]:
    """The options of each process that is to be started here."""
    if options.local is None:
        return [options]
    together = children.members(
        options.local, timeout=options.timeout, wait=options.wait
    )
    return [replace(options, **member._asdict()) for member in together]


def main(args: Sequence[str] | None = None) -> None:
    """The command: processes started, watched, and how they ended."""
    prog = "python -m experiments.multihost"
    options = runner.parse_options(MultihostOptions(), UNUSED, ABOUT, prog, args)
    with contextlib.ExitStack() as stack:
        try:
            check(options)
            members = team(options)
            deal(members[0], benches.read(options))
            options.folder.mkdir(parents=True, exist_ok=True)
            if members[0].process_id == 0:  # the others share its folder
                stack.enter_context(folders.held(options.folder))
        except (ValueError, OSError) as error:
            terminal.fail(error)
        try:
            started = [start(one) for one in members]
            codes = children.watch(started)
        except KeyboardInterrupt:
            sys.exit(130)
    if (wrong := children.verdict(started, codes)) is not None:
        terminal.fail(wrong)
    if members[0].process_id == 0:
        print(f"The table is in {options.folder / 'table.md'}.")
