"""An atlas that grows: each task's chart joins in turn.

What goes from one task to the next is a `State`, and a `step` is one task. In a step
the images of that task, of the public samples and of the test split are looked at, and
no others; but for the end-to-end chart, with which the rest is compared, and which is
trained anew on all tasks so far.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jatlas
from experiments.measures import splits
from experiments.measures.protocols import Space
from experiments.measures.splits import Cut
from experiments.runs import benches, deals, seeds
from experiments.runs.benches import Bench
from experiments.runs.settings import Setting
from experiments.runs.terminal import Report
from jatlas.charts import Chart, Charts, ChartState
from jatlas.charts.training import Progress
from jatlas.running.atlas import AtlasState
from jatlas.scenarios import Tasks

JOININGS = 3  # timed; the fewest seconds are kept, since other work only adds some


class Deal(NamedTuple):
    """Who has what, of one setting and seed.

    Attributes:
        tasks: `presence` is also of the public samples, which `held_out` marks: as the
            test samples they belong to tasks, and none is trained on them.
        kept: (K,), the samples that have a row in the state: the public ones and those
            of the test split.
        anchors: (A,), which of the K are anchors; public ones.
    """

    tasks: Tasks
    kept: np.ndarray
    anchors: np.ndarray

    @property
    def presence(self) -> np.ndarray:
        """(M, K), the samples that have a row, task by task."""
        return self.tasks.presence[:, self.kept]


class State(NamedTuple):
    """All that goes from one task to the next.

    Attributes:
        blind, oracle: the running atlases of the K samples: each embedded by every
            chart so far, and by the charts of its own tasks only.
        concatenated: of each chart so far its embeddings, (K, D_m): what plain
            concatenation has to keep.
        finetuned: the one chart that is trained on task after task; None before.
    """

    blind: AtlasState
    oracle: AtlasState
    concatenated: tuple[jax.Array, ...]
    finetuned: ChartState | None


class Step(NamedTuple):
    """What a task leaves behind.

    Attributes:
        state: after it.
        reference: (K, D), by the end-to-end chart of all tasks so far.
        finetuned: (K, D), by the chart that is trained on task after task.
        logits: (K, C), of that chart's own head.
        seconds: of training the task's chart, of its joining the atlas, and of
            training the end-to-end chart anew; by these names.
    """

    state: State
    reference: jax.Array
    finetuned: jax.Array
    logits: jax.Array
    seconds: dict[str, float]


def deal(bench: Bench, setting: Setting, seed: int) -> Deal:
    """The tasks, the public samples and the anchors among them.

    Public samples are drawn from the training split before the tasks are dealt, and
    dealt as test samples are: no task has one to train on, in scenario A neither.

    Raises:
        ValueError: if the data set is too small for them, or has other classes.
    """
    dataset, num_public = bench.dataset, bench.options.num_public
    training_split = np.flatnonzero(~dataset.test)
    if num_public >= training_split.size:
        raise ValueError(
            f"--num-public {num_public} of {training_split.size} training samples "
            "leaves none to train on; keep fewer."
        )
    public = np.zeros_like(dataset.test)
    rng = seeds.rng(seed, seeds.PUBLIC)
    public[rng.permutation(training_split)[:num_public]] = True
    counts = np.bincount(dataset.labels[public], minlength=len(dataset.class_names))
    if counts.min() < 2:
        raise ValueError(
            f"--num-public {num_public} has {counts.min()} samples of class "
            f"{counts.argmin()}; the classifiers learn from these, so keep more."
        )
    try:
        tasks = setting.make(seed, dataset.labels, dataset.test | public, 0)
    except ValueError as error:
        where = f"{setting.name} with --num-public {num_public}"
        raise ValueError(f"{where}: {error}") from error
    tasks = tasks._replace(test=dataset.test, held_out=public)
    pool = np.asarray(jatlas.anchor_pool(tasks.seen, "unseen")) & public
    anchors = deals.choose(bench, setting, seed, pool)
    kept = np.flatnonzero(public | dataset.test)
    return Deal(tasks, kept, np.searchsorted(kept, anchors))


def end_to_end(tasks: Tasks) -> Tasks:
    """M tasks, each with the samples of all tasks up to it."""
    seen = np.logical_or.accumulate(tasks.seen)
    return tasks._replace(
        classes=np.logical_or.accumulate(tasks.classes),
        presence=np.logical_or.accumulate(tasks.presence),
        seen=seen,
        validation=np.logical_or.accumulate(tasks.validation) & ~seen,
    )


def cut(seed: int, deal: Deal, t: int) -> Cut:
    """The K rows split for training, early stopping and scoring.

    Public samples of tasks 0..t, a tenth of these, and test samples of the same tasks.
    """
    known = deal.presence[: t + 1].any(axis=0)
    sample = np.where(known, deal.kept, -1)
    return splits.training_split(
        seed, Space(np.empty((sample.size, 0)), sample), deal.tasks
    )


def first(bench: Bench, deal: Deal) -> State:
    """The state before any task."""
    nothing = jatlas.running.atlas.empty(deal.kept.size, bench.options.num_anchors)
    return State(nothing, nothing, (), None)


def step(
    bench: Bench,
    setting: Setting,
    seed: int,
    deal: Deal,
    t: int,
    state: State,
    report: Report,
) -> Step:
    """Train a chart on task t and let it join the atlas.

    The baselines learn the task too.

    Args:
        bench: from `benches.prepare`.
        setting: whose tasks these are.
        seed: draws everything.
        deal: from `deal`.
        t: the task, counted from 0.
        state: after the tasks before.
        report: called with what is being done, and how much of the step is done.
    """
    kinds, tasks, key = bench.options.charts, deal.tasks, benches.key(seed, setting)
    task_kind, kind = kinds[t % len(kinds)], kinds[0]
    tell = partial(_tell, bench, report)
    chart, training_it = clocked(
        lambda: _fit(bench, task_kind, key, tasks, t, tell(t, "its chart", 0))
    )
    state, joining = _joined(
        state, chart, bench.encoders[task_kind].inputs[deal.kept], deal, t
    )
    tuned = chart  # of the first task
    if state.finetuned is not None:
        tuned = _fit(
            bench, kind, key, tasks, t, tell(t, "fine-tuning", 1), begin=state.finetuned
        )
    anew = seeds.fold(key, seeds.END_TO_END)
    whole, training_whole = clocked(
        lambda: _fit(
            bench, kind, anew, end_to_end(tasks), t, tell(t, "end-to-end chart", 2)
        )
    )
    inputs = bench.encoders[kind].inputs[deal.kept]
    head = replace(tuned, chart=tuned.chart._replace(embed=tuned.chart.logits))
    return Step(
        state._replace(finetuned=jax.tree.map(lambda leaf: leaf[0], tuned.states)),
        *(jatlas.charts.embed(charts, inputs)[0] for charts in (whole, tuned, head)),
        {"training": training_it, "joining": joining, "end_to_end": training_whole},
    )


def going_on(chart: Chart, state: ChartState) -> Chart:
    """The chart, with training that begins with this state.

    `fit_charts` takes no state, but a chart's `init` may give any. Adam begins anew.
    """
    return chart._replace(init=lambda key: state)


def warm(bench: Bench, deal: Deal) -> None:
    """Compile the timed functions before the clock runs.

    A chart of each kind, after an epoch, joins.
    """
    for kind in bench.options.charts:
        chart = _fit(bench, kind, jax.random.key(0), deal.tasks, 0, max_epochs=1)
        inputs = bench.encoders[kind].inputs[deal.kept]
        _joined(first(bench, deal), chart, inputs, deal, 0)


def size(tree: Any) -> int:
    """Bytes of all arrays, or of what they would be."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _fit(
    bench: Bench,
    kind: str,
    key: jax.Array,
    tasks: Tasks,
    t: int,
    tell: Callable[[Progress], None] | None = None,
    *,
    begin: ChartState | None = None,
    max_epochs: int | None = None,
) -> Charts:
    """Train a chart of this kind on task t."""
    chart = bench.encoders[kind].chart
    fitted = benches.fit(
        bench,
        kind,
        tasks,
        key,
        [t],
        tell,
        chart=chart if begin is None else going_on(chart, begin),
        max_epochs=max_epochs,
    )
    return replace(fitted, chart=chart)


def _tell(
    bench: Bench, report: Report, t: int, what: str, number: int
) -> Callable[[Progress], None]:
    """A progress callback for one of a step's three charts."""
    epochs = max(benches.epochs_of(bench, kind) for kind in bench.options.charts)

    def tell(progress: Progress) -> None:
        share = (progress.epoch + 1) / epochs
        report(f"task {t + 1}, {what}", (number + share) / 3)

    return tell


def _joined(
    state: State, chart: Charts, inputs: np.ndarray, deal: Deal, t: int
) -> tuple[State, float]:
    """The state with a chart joined, and the seconds it took."""
    anchors, present = jnp.asarray(deal.anchors), jnp.asarray(deal.presence[t])

    def join() -> State:
        (rows,) = jatlas.charts.embed(chart, inputs)
        relative = jatlas.relativize(rows, rows[anchors])
        return State(
            jatlas.running.atlas.add(state.blind, relative, jnp.ones_like(present)),
            jatlas.running.atlas.add(state.oracle, relative, present),
            (*state.concatenated, rows),
            state.finetuned,
        )

    return clocked(join, JOININGS)


def clocked(make: Callable[[], Any], times: int = 1) -> tuple[Any, float]:
    """A result, and the least seconds of so many times."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        made = jax.block_until_ready(make())
        seconds.append(time.perf_counter() - start)
    return made, min(seconds)
