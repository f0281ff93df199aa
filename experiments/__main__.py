"""The main job: `python -m experiments`, from real images to a table.

Source: Crisostomi et al., "From Charts to Atlas" (2023). The default takes a few
minutes on 2 cores; `--seeds 0` about a third of that.
"""

import os
import resource
import sys
import time
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before JAX starts

import jax
import platformdirs
import tyro
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from experiments import command, config, report, run, store
from experiments.config import SETTINGS, Options, Setting
from experiments.data import load


class Plan(NamedTuple):
    """A run that can be made: everything about it has been checked."""

    options: Options
    settings: dict[str, Any]
    bench: run.Bench
    units: list[tuple[Setting, int]]
    titles: dict[tuple[str, str], str]


def plan(options: Options) -> Plan:
    """Check the options, read the data, and take the folder.

    Raises:
        ValueError: if no run can be made of the options, or the folder is another's.
    """
    config.check(options)
    chosen = [s for s in SETTINGS if s.scenario in options.scenario]
    units = [(setting, seed) for seed in options.seeds for setting in chosen]
    bench = run.prepare(options, load(options.dataset))
    for setting, seed in units:
        run.deal(bench, setting, seed)
    settings = config.describe(options, bench.dataset)
    store.claim(options.folder, settings)
    titles = {(s.scenario, s.name): s.title for s in chosen}
    return Plan(options, settings, bench, units, titles)


def main(job: Plan, console: Console) -> None:
    """Run what is missing, then write the results, the table and the pictures."""
    rows = _rows(job, console)
    results = job.options.folder / "results.json"
    store.write_json(results, {"settings": job.settings, "rows": rows})
    written = store.read_json(results)
    text = report.table(written["settings"], written["rows"], job.titles)
    store.write_text(job.options.folder / "table.md", text)
    _draw(job, written["rows"])
    console.print(_accuracies(written["rows"], job.titles))
    console.print(
        "Mean over seeds. oracle: a sample is embedded by the charts of its own tasks, "
        "which takes knowledge of its class. blind: by all charts."
    )


def _rows(job: Plan, console: Console) -> list[dict[str, Any]]:
    """The rows of all units, with a bar that says how long is left.

    Where there is no terminal, a line at the beginning of each unit says the same.
    """
    missing = [u for u in job.units if not run.part(job.bench, *u).exists()]
    if found := len(job.units) - len(missing):
        console.print(f"{found} of {len(job.units)} were done before")
    with command.bar(console, len(missing)) as update:
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

            run.unit(job.bench, setting, seed, tell)
    files = [run.part(job.bench, *unit) for unit in job.units]
    return [row for file in files for row in store.read_json(file)]


def _draw(job: Plan, rows: report.Rows) -> None:
    """The pictures: of the first seed's spaces, and of all accuracies."""
    from experiments import bars, figures  # takes a second, and is needed last

    folder, dataset = job.options.folder, job.bench.dataset
    first = job.options.seeds[0]
    for setting, seed in (unit for unit in job.units if unit[1] == first):
        name = f"{setting.scenario}_{setting.name}"
        file = run.part(job.bench, setting, seed).with_suffix(".npz")
        arrays = store.read_arrays(file)
        heading = f"{dataset.name}, {setting.scenario}: {setting.title}; seed {seed}"
        for kind, draw in (
            ("spaces", figures.spaces_figure),
            ("self_similarity", figures.self_similarity_figure),
        ):
            picture = draw(arrays, dataset.class_names, heading)
            figures.save(picture, folder / f"{kind}_{name}.png")
    figures.save(bars.accuracy_figure(rows, job.titles), folder / "accuracy.png")


def _accuracies(rows: report.Rows, titles: dict[tuple[str, str], str]) -> Table:
    """The accuracies alone, for the terminal: oracle / blind."""
    table = Table("space", title="Accuracy: oracle / blind", box=SIMPLE_HEAD)
    for scenario, setting in titles:
        table.add_column(f"{scenario} {setting}", justify="right", no_wrap=True)
    for space, name in report.SPACES.items():
        cells = []
        for key in titles:
            mine = report.of_setting(rows, key)
            found = [
                report.select(mine, protocol, space, "accuracy").values()
                for protocol in config.PROTOCOLS
            ]
            means = [f"{sum(v) / len(v):.3f}" if v else "  -  " for v in found]
            cells.append(" / ".join(means))
        table.add_row(name, *cells)
    return table


def _keep_compiled() -> None:
    """Keep what was compiled in the user's cache folder, for the next run."""
    folder = platformdirs.user_cache_path("jatlas") / "xla"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _command() -> None:
    began = time.perf_counter()
    options = tyro.cli(Options, prog="python -m experiments")
    _keep_compiled()
    console = Console(highlight=False, soft_wrap=True)
    with command.endings(console):
        try:
            job = plan(options)
        except (ValueError, OSError) as error:
            sys.exit(f"error: {error}")
        main(job, console)
    unit = 2**30 if sys.platform == "darwin" else 2**20  # bytes there, else kilobytes
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    took = time.perf_counter() - began
    console.print(
        f"{took:.0f} s, {peak:.1f} GB of memory at most. The table is in "
        f"{options.folder / 'table.md'}, the pictures beside it."
    )


if __name__ == "__main__":
    _command()
