"""Tasks that come one after another.

After each task one chart is trained on that task's data and joins the atlas by
`jatlas.running.atlas.add`. No chart, row or coordinate of earlier tasks is made again,
and the training data of past tasks are never looked at again.

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
rows, which it holds: a classifier learns those sooner. Consensus coordinates are fitted
on the public samples after each task; these need more than the state, see
`consensus.py`.

Compared with: one chart that is trained on task after task (fine-tuning), by the same
classifiers, and by its own head, which has learned from no public sample and, as that
of every chart here, scores the classes of one task at a time in training; plain
concatenation of the charts' embeddings, whose width grows; and the end-to-end chart,
trained anew after each task on the training data of all tasks so far, which nobody in
this place would still have.
"""

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jatlas
from experiments.continual import after_task, growing
from experiments.continual.forgetting import forgetting
from experiments.continual.growing import State
from experiments.data import storage
from experiments.data.dataset import Dataset
from experiments.runs import benches, deals
from experiments.runs.benches import Bench
from experiments.runs.deals import Unit
from experiments.runs.options import Options
from experiments.runs.rows import Rows
from experiments.runs.settings import Setting
from experiments.runs.terminal import Report, part_of


@dataclass(frozen=True)
class ContinualOptions(Options):
    """The options of tasks that come one after another."""

    num_public: int = 1000
    """Training samples that are kept from every task, and never thrown away."""


def check(options: ContinualOptions) -> None:
    """Raise ValueError for options that no run can be made of."""
    if len(options.settings) != 1:
        raise ValueError(f"--settings takes one, whose tasks come; {options.settings}.")
    if options.num_public < options.num_anchors:
        raise ValueError(
            f"--num-anchors {options.num_anchors} are taken from --num-public "
            f"{options.num_public}; keep as many or more."
        )


def units(options: ContinualOptions, dataset: Dataset) -> list[Unit]:
    """All seeds of the setting.

    Raises:
        ValueError: if the setting is unknown, or the data are too few for it.
    """
    made, bench = deals.chosen(options, dataset), deals.bare(options, dataset)
    for each in made:
        growing.deal(bench, *each.of)
    return made


def measure(bench: Bench, setting: Setting, seed: int, report: Report) -> Rows:
    """The rows of all tasks of a seed; finished tasks are read.

    Args:
        bench: from `benches.prepare`.
        setting: whose tasks these are.
        seed: draws everything.
        report: called with what is being done, and how much of it is done.
    """
    deal = growing.deal(bench, setting, seed)
    files = _step_files(bench, setting, seed, len(deal.tasks.seen))
    done = next((t for t, f in enumerate(files) if not f.exists()), len(files))
    state = growing.first(bench, deal)
    if done:
        state = _read(bench, files[done - 1].with_suffix(".npz"), done)
    if done < len(files):
        report("compiling", done / len(files))
        growing.warm(bench, deal)
    for t in range(done, len(files)):
        tell = part_of(report, t / len(files), (t + 0.8) / len(files))
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
    return rows + forgetting(rows)


def _step_files(
    bench: Bench, setting: Setting, seed: int, num_tasks: int
) -> list[Path]:
    """The files of each step's rows; the last has the state.

    It is an .npz.
    """
    name = benches.unit_name(setting, seed)
    return [bench.folder / f"{name}_task{t + 1}.json" for t in range(num_tasks)]


def _write(file: Path, state: State) -> None:
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(state)]
    storage.write_arrays(file, {f"{n:03d}": leaf for n, leaf in enumerate(leaves)})


def _read(bench: Bench, file: Path, num_charts: int) -> State:
    """What `_write` wrote after so many tasks."""
    arrays = storage.read_arrays(file)
    chart = bench.encoders[bench.options.charts[0]].chart
    nothing = jatlas.running.atlas.empty(0, 0)
    like = State(
        nothing, nothing, (nothing.count,) * num_charts, chart.init(jax.random.key(0))
    )
    leaves = [jnp.asarray(arrays[name]) for name in sorted(arrays)]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)
