"""The benchmark: `python -m experiments.benchmarks`, from jobs to a table.

At most 10 minutes on 2 cores; `--quick`, at small sizes, less than one.

It shares its parser, its folders and its files with the other experiments, and not
their runner: a job reads no images, has no seed and no setting, and the bar goes by the
seconds that each job is known to take.
"""

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before JAX starts

import tyro
from rich.console import Console

from experiments.benchmarks import machine, references, report, scale, shares
from experiments.benchmarks.jobs import APART, JOBS, Job
from experiments.benchmarks.measure import Bench, Disagreement
from experiments.data import storage
from experiments.data.modules import hash_of
from experiments.runs import folders, provenance, runner, terminal

ABOUT = (
    "Measure jatlas beside references, on the same arrays in one process. Writes "
    "results.json, every timing of every run, and table.md, the tables made of it. "
    "Jobs that are done are not done again: interrupted, the same command goes on "
    "where it was, and jobs left out by --only can be added."
)


@dataclass(frozen=True)
class Options:
    """The options of the benchmark."""

    only: Annotated[tuple[str, ...], tyro.conf.arg(metavar="JOB [JOB ...]")] = tuple(
        JOBS
    )
    """Which jobs; all if unset, but for files, cluster and load, of 10 minutes each."""
    repeats: int = 3
    """Rounds, in each of which ours and the references have a turn."""
    quick: bool = False
    """Small sizes, in about a minute. No bar is judged on them."""
    device: bool = False
    """What this device reaches alone: of each job the share of its own rates. No
    reference has a turn; in eight minutes."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where the results go; results/benchmarks/full, quick or device, if unset."""
    force: bool = False
    """Go on in a folder whose parts were made by other code. The results say so."""

    @property
    def folder(self) -> Path:
        """Where the results go."""
        name = "device" if self.device else "quick" if self.quick else "full"
        return self.out or Path("results") / "benchmarks" / name


class Plan(NamedTuple):
    """A run that can be made: everything about it has been checked."""

    options: Options
    settings: dict[str, Any]
    bench: Bench
    names: list[str]


def plan(options: Options, stack: contextlib.ExitStack | None = None) -> Plan:
    """Check the options and take the folder until the stack closes.

    Raises:
        ValueError: if no run can be made of the options, the folder is another's, or
            another run is at work in it.
    """
    jobs = _jobs(options.only)
    unknown = [name for name in options.only if name not in jobs]
    if unknown or not options.only:
        known = ", ".join([*JOBS, *APART])
        raise ValueError(f"--only takes some of {known}; got {list(options.only)}.")
    if options.repeats < 1:
        raise ValueError(f"--repeats must be 1 or more, got {options.repeats}.")
    torch = references.load_torch(machine.num_threads())
    bench = Bench(options.quick, options.repeats, torch, options.device)
    versions = machine.versions()
    settings = {
        "options": {
            "quick": options.quick,
            "repeats": options.repeats,
            "device": options.device,
        },
        "versions": versions,
        "machine": machine.describe(),
    }
    modules = provenance.code(job.rows for job in jobs.values())
    claimed = settings | {"modules": modules}
    settings |= {"versions": versions | {"code": hash_of(modules)}}
    if stack is not None:
        stack.enter_context(folders.held(options.folder))
    if forced := folders.claim(options.folder, claimed, force=options.force):
        settings["forced"] = forced
    names = [name for name in jobs if name in options.only]
    return Plan(options, settings, bench, names)


def main(made: Plan, console: Console) -> None:
    """Run what is missing, then write the results and the tables."""
    folder = made.options.folder
    _measure(made, console)
    known = _jobs(made.names)
    done = [name for name in known if _part(folder, name).exists()]
    jobs = {name: storage.read_json(_part(folder, name)) for name in done}
    results = {
        "settings": made.settings,
        "jobs": jobs,
        "paper": scale.from_results(jobs),
    }
    storage.write_json(folder / "results.json", results)
    written = storage.read_json(folder / "results.json")
    titles = {name: job.title for name, job in known.items()}
    if made.options.device:
        shown = shares.text(written, titles)
        console.print(shown, markup=False)
    else:
        shown = report.text(written, titles)
    storage.write_text(folder / "table.md", shown)


def _jobs(names: Sequence[str]) -> dict[str, Job]:
    """All jobs, with those apart that are named."""
    return JOBS | {name: job for name, job in APART.items() if name in names}


def _part(folder: Path, name: str) -> Path:
    return folder / "parts" / f"{name}.json"


def _measure(made: Plan, console: Console) -> None:
    """The jobs that are missing, each written when it is done."""
    folder, quick = made.options.folder, made.bench.quick
    jobs = _jobs(made.names)
    missing = [name for name in made.names if not _part(folder, name).exists()]
    if finished := len(made.names) - len(missing):
        console.print(f"{finished} of {len(made.names)} were done before")
    expected = {n: jobs[n].quick if quick else jobs[n].seconds for n in missing}
    with terminal.bar(console, sum(expected.values())) as update:
        before = 0.0
        for name in missing:
            if not console.is_terminal:
                left = sum(expected.values()) - before
                console.print(f"{name}; about {left:.0f} s left")

            def tell(
                what: str, share: float, name: str = name, before: float = before
            ) -> None:
                update(f"{name}: {what}", before + share * expected[name])

            began = time.perf_counter()
            with machine.others() as others:
                rows = jobs[name].rows(replace(made.bench, tell=tell))
            done = {"took": time.perf_counter() - began, "others": others["busy"]}
            storage.write_json(_part(folder, name), done | {"rows": rows})
            before += expected[name]


def command(args: Sequence[str] | None = None) -> None:
    """The command: errors are a line, and so is the end."""
    began = time.perf_counter()
    prog = "python -m experiments.benchmarks"
    options = runner.parse_options(Options(), (), ABOUT, prog, args)
    console = Console(highlight=False, soft_wrap=True)
    with terminal.endings(console), contextlib.ExitStack() as stack:
        try:
            made = plan(options, stack)
        except (ValueError, OSError) as error:
            terminal.fail(error)
        try:
            main(made, console)
        except Disagreement as error:
            terminal.fail(error)
    took = time.perf_counter() - began
    console.print(f"{took:.0f} s. The table is in {options.folder / 'table.md'}.")


if __name__ == "__main__":
    command()
