"""Tasks that come one after another: `python -m experiments.continual`.

After each task one chart is trained on that task's data and joins the atlas by
`jatlas.running.atlas.add`. No chart, row or coordinate of earlier tasks is made again,
and the training data of past tasks are never looked at again. On the embedded data and
2 cores
a minute or two a seed.

Which samples have a row in the running state, and why:

- **Public samples**: training samples that are kept from every task before the tasks
  are dealt, with their labels, in scenario A too. Whoever runs this may keep their
  images for good, so each new chart embeds them, and the anchors are some of them. The
  classifiers of every method learn from the public samples of the classes so far, and
  from nothing else; `pixels` is the same classifier with no chart at all, which shows
  what the public samples alone are worth.
- **Test samples**: they are there only to measure, and stand for samples that are
  looked up; each new chart embeds them.
- **Not the training samples of past tasks.** Their images are gone when the next chart
  comes, so under `blind` they would lack all later charts: a classifier would learn
  from means over fewer charts than those that it is tested on. Under `oracle` their
  rows would be whole, but there would be more of them with every task.

So the state has K = public + test rows from the first task to the last, of A anchors
each, whatever the number of tasks. What the state does not hold are the charts: a
sample that comes later must be embedded by every chart so far (`blind`), whose weights
grow by one chart a task; they are counted beside it.

The state is also shown in other coordinates, `jatlas.fit_nystroem` of the anchors' own
rows, which it holds: a classifier learns those sooner.

Compared with: one chart that is trained on task after task (fine-tuning), by the same
classifiers, and by its own head, which has learnt from no public sample and, as that of
every chart here, scores the classes of one task at a time in training; plain
concatenation of the charts' embeddings, whose width grows; and the end-to-end chart,
trained anew after each task on the training data of all tasks so far, which nobody in
this place would still have.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console

import jatlas
from experiments.continual import after_task, curves, growing
from experiments.continual.growing import State
from experiments.data import storage
from experiments.paper.plots import figures
from experiments.runs import runner, settings, terminal
from experiments.runs.benches import Bench, Report
from experiments.runs.config import Options
from experiments.runs.rows import Rows
from experiments.runs.runner import Plan
from experiments.runs.settings import Setting


@dataclass(frozen=True)
class Continual:
    """Let tasks come one after another, a chart of each joining the atlas.

    Writes results.json, and from it table.md and continual.png. If it is interrupted,
    the same command goes on with the task where it was.
    """

    dataset: str = "fashion_mnist_7k"
    """As of `python -m experiments`."""
    setting: str = "T5"
    """The tasks: T5, the classes cut into 5 tasks; S4_N2, 4 classes in every task and 2
    novel ones in each; P50_50, all classes in every task."""
    charts: Annotated[str, tyro.conf.arg(metavar="KIND,...")] = "cnn"
    """Kinds of charts, by commas; the first is also that of what they are compared
    with."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each seed draws the tasks, the charts, the public samples and the probes anew."""
    num_public: int = 1000
    """Training samples that are kept from every task, and never thrown away."""
    num_anchors: int = 128
    """So many of the public samples are anchors."""
    max_epochs: int | None = None
    """The most epochs that a chart is trained, on one task."""
    probe_epochs: int = 100
    """The most epochs of a classifier."""
    probe_patience: int = 10
    """A classifier stops when its validation loss has not fallen for so many epochs."""
    data_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where prepared data sets and features are kept; the user's cache if unset."""
    manual_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where the files of a data set are that was downloaded by hand."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where the results go; results/continual/DATASET if left out."""


def options(continual: Continual) -> Options:
    """The run that this is, in the main job's words.

    Raises:
        ValueError: if the setting is unknown, or there are more anchors than public
            samples.
    """
    if continual.num_public < continual.num_anchors:
        raise ValueError(
            f"--num-anchors {continual.num_anchors} are taken from --num-public "
            f"{continual.num_public}; keep as many or more."
        )
    return Options(
        dataset=continual.dataset,
        scenario=(settings.parse(continual.setting).scenario,),
        settings=(continual.setting,),
        charts=continual.charts,
        seeds=continual.seeds,
        num_anchors=continual.num_anchors,
        num_held_out=continual.num_public,
        max_epochs=continual.max_epochs,
        probe_epochs=continual.probe_epochs,
        probe_patience=continual.probe_patience,
        data_dir=continual.data_dir,
        manual_dir=continual.manual_dir,
        out=continual.out or Path("results") / "continual" / continual.dataset,
    )


def unit(bench: Bench, setting: Setting, seed: int, report: Report) -> Rows:
    """The rows of all tasks of a seed; from the disk if they can be, else made.

    Args:
        bench: from `job.plan`.
        setting: whose tasks these are.
        seed: draws everything.
        report: called with what is being done, and how much of it is done.
    """
    file = part(bench, setting, seed)
    if file.exists():
        return storage.read_json(file)
    deal = growing.deal(bench, setting, seed)
    files = _step_files(file, len(deal.tasks.seen))
    done = next((t for t, f in enumerate(files) if not f.exists()), len(files))
    state = growing.first(bench, deal)
    if done:
        state = _read(bench, files[done - 1].with_suffix(".npz"), done)
    if done < len(files):
        report("compiling", done / len(files))
        growing.warm(bench, deal)
    for t in range(done, len(files)):

        def tell(what: str, share: float, t: int = t) -> None:
            report(what, (t + 0.8 * share) / len(files))

        left = growing.step(bench, setting, seed, deal, t, state, tell)
        report(f"task {t + 1}, measuring", (t + 0.8) / len(files))
        cell = {"scenario": setting.scenario, "setting": setting.name, "seed": seed}
        rows = [cell | row for row in after_task.measured(bench, seed, deal, t, left)]
        state = left.state
        _write(files[t].with_suffix(".npz"), state)
        storage.write_json(files[t], rows)  # last: it says that the step is done
        if t:
            files[t - 1].with_suffix(".npz").unlink(missing_ok=True)
    rows = [row for f in files for row in storage.read_json(f)]
    rows += curves.forgetting(rows)
    storage.write_json(file, rows)
    for f in files:
        f.unlink()
        f.with_suffix(".npz").unlink(missing_ok=True)
    return rows


def part(bench: Bench, setting: Setting, seed: int) -> Path:
    """The file that is there when a unit is done."""
    return bench.folder / f"continual_{setting.scenario}_{setting.name}_seed{seed}.json"


def main(continual: Continual) -> None:
    """The whole comparison, as the command makes it."""
    console = Console(highlight=False, soft_wrap=True)
    runner.keep_compiled()
    with terminal.endings(console):
        plan = _planned(continual, console)
        rows = runner.rows_of(plan, console, part, unit)
        file = plan.options.folder / "results.json"
        storage.write_json(file, {"settings": plan.settings, "rows": rows})
        written = storage.read_json(file)
        text = curves.table(written["settings"], written["rows"])
        storage.write_text(plan.options.folder / "table.md", text)
        figure = curves.figure(written["rows"])
        figures.save(figure, plan.options.folder / "continual.png")
    console.print(text, markup=False)


def _planned(continual: Continual, console: Console) -> Plan:
    """The plan, everything checked; what is wrong is said in a line."""
    try:
        plan = runner.plan(options(continual), console, experiment="continual")
        for setting, seed in plan.units:
            growing.deal(plan.bench, setting, seed)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    return plan


def _step_files(file: Path, num_tasks: int) -> list[Path]:
    """The rows of each step of a unit; beside the last is the state, an .npz."""
    return [file.with_name(f"{file.stem}_task{t + 1}.json") for t in range(num_tasks)]


def _write(file: Path, state: State) -> None:
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(state)]
    storage.write_arrays(file, {f"{n:03d}": leaf for n, leaf in enumerate(leaves)})


def _read(bench: Bench, file: Path, num_charts: int) -> State:
    """What `_write` wrote after so many tasks."""
    arrays = storage.read_arrays(file)
    chart = bench.encoders[bench.options.kinds[0]].chart
    nothing = jatlas.running.atlas.empty(0, 0)
    like = State(
        nothing, nothing, (nothing.count,) * num_charts, chart.init(jax.random.key(0))
    )
    leaves = [jnp.asarray(arrays[name]) for name in sorted(arrays)]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)
