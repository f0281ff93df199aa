"""A run: planned, checked, done unit by unit, and written."""

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import platformdirs
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from experiments.data.catalog import load
from experiments.data.dataset import with_first
from experiments.paper import measure, tables
from experiments.runs import benches, config, storage, terminal
from experiments.runs.benches import Bench, Report
from experiments.runs.config import Options
from experiments.runs.rows import Rows, of_setting, select
from experiments.runs.settings import Setting

# A bench without encoders, and the units of the run.
Check = Callable[[Bench, list[tuple[Setting, int]]], None]


class Plan(NamedTuple):
    """A run that can be made: everything about it has been checked."""

    options: Options
    settings: dict[str, Any]
    bench: Bench
    units: list[tuple[Setting, int]]
    titles: dict[tuple[str, str], str]


def do(options: Options) -> None:
    """A whole run, as the commands make it: errors are a line, and so is the end."""
    began = time.perf_counter()
    keep_compiled()
    console = Console(highlight=False, soft_wrap=True)
    with terminal.endings(console):
        main(planned(options, console), console)
    unit = 2**30 if sys.platform == "darwin" else 2**20  # bytes there, else kilobytes
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    took = time.perf_counter() - began
    console.print(
        f"{took:.0f} s, {peak:.1f} GB of memory at most. The table is in "
        f"{options.folder / 'table.md'}, the pictures beside it."
    )


def planned(options: Options, console: Console, **more: Any) -> Plan:
    """`plan`, as the commands make it: what is wrong is said in a line."""
    try:
        return plan(options, console, **more)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


def plan(
    options: Options,
    console: Console | None = None,
    *,
    check: Check | None = None,
    **more: Any,
) -> Plan:
    """Check the options, read the data, take the folder, and compute frozen features.

    Args:
        options: of the run.
        console: on which there is a bar.
        check: raises ValueError if no run can be made of these units, before the folder
            is taken.
        more: what else the results depend on, to be kept with the settings.

    Raises:
        ValueError: if no run can be made of the options, or the folder is another's.
        OSError: if a folder cannot be written, or there are no weights.
    """
    config.check(options)
    with terminal.bar(console or Console(quiet=True), 1.0) as update:
        update(0.0, f"reading {options.dataset}; the first time it is prepared")
        dataset = load(
            options.dataset,
            cache_dir=options.data_dir and options.data_dir / "datasets",
            manual_dir=options.manual_dir,
        )
        if options.num_training is not None:
            dataset = with_first(dataset, options.num_training)
        chosen = config.chosen(options, len(dataset.class_names))
        units = [(setting, seed) for seed in options.seeds for setting in chosen]
        bare = Bench(options, dataset, {}, options.folder / "parts")
        if check is not None:
            check(bare, units)
        for setting, seed in units:
            _, pool = measure.deal(bare, setting, seed)
            measure.choose(bare, setting, seed, pool)
        settings = config.describe(options, dataset) | more
        storage.claim(options.folder, config.of_cells(settings))
        bench = benches.prepare(
            options, dataset, lambda what, share: update(share, what)
        )
    titles = {(s.scenario, s.name): s.title for s in chosen}
    return Plan(options, settings, bench, units, titles)


def main(job: Plan, console: Console) -> None:
    """Run what is missing, then write the results, the table and the pictures."""
    rows = rows_of(job, console, measure.part, measure.unit)
    results = job.options.folder / "results.json"
    storage.write_json(results, {"settings": job.settings, "rows": rows})
    written = storage.read_json(results)
    text = tables.table(written["settings"], written["rows"], job.titles)
    storage.write_text(job.options.folder / "table.md", text)
    _draw(job, written, text)
    console.print(_accuracies(written["rows"], job.titles))
    console.print(
        "Mean over seeds. oracle: a sample is embedded by the charts of its own tasks, "
        "which takes knowledge of its class. blind: by all charts."
    )


def rows_of(
    job: Plan,
    console: Console,
    part: Callable[[Bench, Setting, int], Path],
    unit: Callable[[Bench, Setting, int, Report], Any],
) -> list[dict[str, Any]]:
    """The rows of all units, with a bar that says how long is left.

    Where there is no terminal, a line at the beginning of each unit says the same.

    Args:
        job: whose units these are.
        console: where it is said.
        part: the file of a unit's rows, which is there when the unit is done.
        unit: makes it.
    """
    missing = [u for u in job.units if not part(job.bench, *u).exists()]
    if found := len(job.units) - len(missing):
        console.print(f"{found} of {len(job.units)} were done before")
    with terminal.bar(console, len(missing)) as update:
        started = time.perf_counter()
        for done, (setting, seed) in enumerate(missing):
            name = f"{setting.scenario} {setting.name}, seed {seed}"
            if not console.is_terminal:
                took = time.perf_counter() - started
                left = took / done * (len(missing) - done) if done else None
                estimate = f"; about {left:.0f} s left" if left else ""
                console.print(f"{done + 1} of {len(missing)}: {name}{estimate}")

            def tell(
                what: str, share: float, done: int = done, name: str = name
            ) -> None:
                update(done + share, f"{name}: {what}")

            unit(job.bench, setting, seed, tell)
    files = [part(job.bench, *each) for each in job.units]
    return [row for file in files for row in storage.read_json(file)]


def _draw(job: Plan, written: dict[str, Any], text: str) -> None:
    """The pictures and the page."""
    from experiments.paper import outputs  # takes seconds, and is needed last

    outputs.show(job.bench, job.units, job.titles, written, text)


def _accuracies(rows: Rows, titles: dict[tuple[str, str], str]) -> Table:
    """The accuracies alone, for the terminal: oracle / blind."""
    table = Table("space", title="Accuracy: oracle / blind", box=SIMPLE_HEAD)
    for scenario, setting in titles:
        table.add_column(f"{scenario} {setting}", justify="right", no_wrap=True)
    for space, name in tables.SPACES.items():
        cells = []
        for key in titles:
            mine = of_setting(rows, key)
            found = [
                select(mine, protocol, space, "accuracy").values()
                for protocol in config.PROTOCOLS
            ]
            means = [f"{sum(v) / len(v):.3f}" if v else "  -  " for v in found]
            cells.append(" / ".join(means))
        table.add_row(name, *cells)
    return table


def keep_compiled() -> None:
    """Keep what was compiled in the user's cache folder, for the next run."""
    folder = platformdirs.user_cache_path("jatlas") / "xla"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
