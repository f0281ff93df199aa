"""One runner for experiments: checked, measured by unit, kept, written."""

import contextlib
import dataclasses
import io
import itertools
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro
from rich.console import Console

from experiments import BEGAN
from experiments.data import storage
from experiments.data.modules import hash_of
from experiments.runs import folders, provenance, terminal
from experiments.runs.compilation import keep_compiled
from experiments.runs.deals import Unit
from experiments.runs.experiment import Experiment, Run
from experiments.runs.options import check, described
from experiments.runs.rows import Rows
from experiments.runs.terminal import Report

Flags = TypeVar("Flags")


def command(
    experiment: Experiment,
    args: Sequence[str] | None = None,
    prog: str | None = None,
) -> None:
    """The command of an experiment, with one-line errors and endings.

    It ends with 2 if an option or a file is wrong, with 130 if it is interrupted.

    Args:
        experiment: the experiment.
        args: of the command line; those of the process if None.
        prog: the command in --help, if not that of the experiment's folder.
    """
    began = BEGAN if args is None else None
    main(experiment, parse(experiment, args, prog), began)


def parse(
    experiment: Experiment, args: Sequence[str] | None = None, prog: str | None = None
) -> Any:
    """The options of a command line; of the arguments of `command`."""
    prog = prog or f"python -m experiments.{experiment.name}"
    accepted = experiment.options, experiment.unused
    return parse_options(*accepted, experiment.about, prog, args)


def parse_options(
    defaults: Flags,
    unused: Sequence[str],
    about: str,
    prog: str,
    args: Sequence[str] | None = None,
) -> Flags:
    """The options of a command line, without a run of units.

    Args:
        defaults: of a frozen dataclass of options.
        unused: flags that are not to be shown.
        about: the first words of --help.
        prog: the command in --help.
        args: of the command line; those of the process if None.
    """
    shown = _shown(defaults, unused)
    wrong = io.StringIO()
    try:
        with contextlib.redirect_stderr(wrong):
            parsed = tyro.cli(
                type(shown),
                default=shown,
                args=args,
                prog=prog,
                description=about,
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.SuppressFixed),
            )
    except SystemExit as ended:
        if ended.code in (0, None):  # --help
            raise
        terminal.fail(f"{_message(wrong.getvalue())}; see {prog} --help")
    values = {f.name: getattr(parsed, f.name) for f in dataclasses.fields(parsed)}
    return type(defaults)(**values)


def main(experiment: Experiment, options: Any, began: float | None = None) -> None:
    """A whole run of these options, which began then, or now."""
    began = time.perf_counter() if began is None else began
    keep_compiled()
    console = Console(highlight=False, soft_wrap=True)
    with terminal.endings(console), contextlib.ExitStack() as stack:
        try:
            run = plan(experiment, options, console, stack)
        except (ValueError, OSError, ImportError) as error:
            terminal.fail(error)
        execute(run, console)
    took = f"{time.perf_counter() - began:.0f} s, {provenance.peak_memory():.1f} GB"
    beside = ", the pictures beside it" if experiment.draw else ""
    table = f"The table is in {run.folder / 'table.md'}{beside}."
    console.print(f"{took} of memory at most. {table}")


def plan(
    experiment: Experiment,
    options: Any,
    console: Console | None = None,
    stack: contextlib.ExitStack | None = None,
) -> Run:
    """Check options, read data, take the folder, prepare the bench.

    Until the stack is closed, no other run can take the folder.

    Raises:
        ValueError: if no run can be made of the options, the folder is another's, or
            another run is at work in it.
        OSError: if a folder cannot be written, or there are no weights.
        ImportError: if a package is missing.
    """
    options = experiment.resolve(options)
    check(options)
    experiment.check(options)
    folder = options.out
    if folder is None:
        folder = Path("results") / experiment.name / experiment.subfolder(options)
    known = folder.is_dir()
    if stack is not None and known:  # a busy folder is refused before data are read
        stack.enter_context(folders.held(folder))
    with terminal.bar(console or Console(quiet=True), 1.0) as report:
        data = experiment.read(options, report)
        units = experiment.units(options, data)
        settings = describe(experiment, options, data)
        if stack is not None and not known:
            stack.enter_context(folders.held(folder))
        forced = folders.claim(
            folder, _claimed(experiment, settings), force=options.force
        )
        if forced:
            settings["forced"] = forced
        bench = experiment.prepare(options, data, folder / "parts", report)
    del settings["modules"]
    return Run(experiment, options, folder, settings, bench, units)


def describe(experiment: Experiment, options: Any, data: Any) -> dict[str, Any]:
    """What stands beside the results: options, versions, device, notes, and modules.

    The versions have one hash for all the code; "modules" has one for each module, and
    is kept in the folder only.
    """
    more = experiment.facts(options, data)
    modules = provenance.code(experiment.makers, (*options.charts, options.similarity))
    given, overrides = described(options, experiment.unused), more.get("options", {})
    given |= {k: v for k, v in overrides.items() if k not in experiment.unused}
    versions = provenance.versions() | {"code": hash_of(modules)}
    return {
        "experiment": experiment.name,
        "options": given,
        "versions": versions | more.get("versions", {}),
        "device": provenance.device(),
        "notes": [*more.get("notes", ()), *experiment.notes],
        "modules": modules,
    }


def execute(run: Run, console: Console) -> dict[str, Any]:
    """Measure missing units, then write results, table and pictures."""
    experiment = run.experiment
    contents = measure_all(run, console)
    results = {"settings": run.settings, "rows": [r for c in contents for r in rows(c)]}
    if about := [_about(*each) for each in zip(run.units, contents, strict=True)]:
        results |= {"units": about} if any(len(each) > 1 for each in about) else {}
    storage.write_json(run.folder / "results.json", results)
    written = storage.read_json(run.folder / "results.json")
    text = experiment.report(written)
    storage.write_text(run.folder / "table.md", text)
    if experiment.draw is not None:
        experiment.draw(run, written)
    if experiment.show is None:
        console.print(text, markup=False)
    else:
        for each in experiment.show(written):
            console.print(each)
    lacking = [u.title for u, c in zip(run.units, contents, strict=True) if not done(c)]
    if lacking:
        console.print(f"not complete: {', '.join(lacking)}; the same command goes on")
    return written


def measure_all(run: Run, console: Console) -> list[Any]:
    """The records of all units, with a bar and time left.

    Where there is no terminal, each unit begins with a line too.
    """
    missing = [unit for unit in run.units if not is_done(run, unit)]
    if num_done := len(run.units) - len(missing):
        console.print(f"{num_done} of {len(run.units)} were done before")
    with terminal.bar(console, len(missing)) as report:
        left = terminal.left_of(len(missing))
        for number, unit in enumerate(missing):
            if not console.is_terminal:
                line = f"{number + 1} of {len(missing)}: {unit.title}{left(number)}"
                console.print(line)
            content = measure(run, unit, _of_unit(report, unit, number))
            for line in _lines(run.experiment, content):
                console.print(f"{unit.title}: {line}", markup=False)
    return [storage.read_json(part(run, unit)) for unit in run.units]


def measure(run: Run, unit: Unit, report: Report = terminal.silent) -> Any:
    """A unit's record: read from disk if done, else measured."""
    if is_done(run, unit):
        return storage.read_json(part(run, unit))
    content = run.experiment.measure(run.bench, *unit.of, report)
    storage.write_json(part(run, unit), content)  # the last: it says that it is done
    for file in part(run, unit).parent.glob(f"{unit.name}_*"):
        file.unlink()
    return content


def part(run: Run, unit: Unit) -> Path:
    """The file that is there when a unit is done."""
    return run.folder / "parts" / f"{unit.name}.json"


def is_done(run: Run, unit: Unit) -> bool:
    """Whether a unit need not be measured again."""
    file = part(run, unit)
    return file.exists() and done(storage.read_json(file))


def done(content: Any) -> bool:
    """Whether what is kept of a unit is all of it."""
    return isinstance(content, list) or content.get("complete", True)


def rows(content: Any) -> Rows:
    """The rows in what is kept of a unit."""
    return content if isinstance(content, list) else content["rows"]


def _lines(experiment: Experiment, content: Any) -> Sequence[str]:
    kept = () if isinstance(content, list) else content.get("lines", ())
    return *kept, *experiment.brief(rows(content))


def _about(unit: Unit, content: Any) -> dict[str, Any]:
    """What is kept of a unit beside its rows."""
    more = {} if isinstance(content, list) else content
    return {"unit": unit.name} | {k: v for k, v in more.items() if k != "rows"}


def _of_unit(report: Report, unit: Unit, number: int) -> Report:
    return lambda what, share: report(f"{unit.title}: {what}", number + share)


def _claimed(experiment: Experiment, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings on which a unit's measurements depend.

    Not on which units there are: to a folder more may be added. The hash of all code is
    that of the modules, which stand beside it.
    """
    given, versions = settings["options"], settings["versions"]
    return settings | {
        "options": {k: v for k, v in given.items() if k not in experiment.cells},
        "versions": {k: v for k, v in versions.items() if k != "code"},
    }


def _message(box: str) -> str:
    """The text of tyro's error box, without its heading.

    It ends at the first line across.
    """

    def across(line: str) -> bool:
        return re.match("[─-]{5}", line) is not None

    lines = [line.strip(" │|") for line in box.splitlines()][1:]
    message = itertools.dropwhile(across, lines)
    return " ".join(filter(None, itertools.takewhile(lambda x: not across(x), message)))


def _shown(defaults: Any, unused: Sequence[str]) -> Any:
    """The options' class, without the flags to hide."""
    base = type(defaults)
    of = {f.name: f.type for f in dataclasses.fields(base)}
    values = {name: getattr(defaults, name) for name in of}
    namespace = {name: values[name] for name in unused} | {
        "__annotations__": {n: tyro.conf.Fixed[of[n]] for n in unused},
        "__module__": base.__module__,
    }
    made = type(base.__name__, (base,), namespace)
    return dataclasses.dataclass(frozen=True)(made)(**values)
