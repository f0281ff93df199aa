"""One batch for M charts: a step of training, and their losses.

Charts that do it side by side are stacked along a leading axis M. Samples that are
spread over devices stay there, and each device does its part of a batch.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Int, Integer, Real

from jatlas._src import arrays
from jatlas._src.arrays import AnyArray
from jatlas._src.dealing import Tasks
from jatlas.charts import placement
from jatlas.charts.chart import Chart, ChartState

Axes = str | tuple[str, ...]
Augment = Callable[[Array, Array], Array]


class Samples(NamedTuple):
    """All samples, and each chart's share of them."""

    images: Real[Array, "N *image"]
    labels: Integer[Array, " N"]
    classes: Bool[Array, "M C"]
    seen: Bool[Array, "M N"]
    validation: Bool[Array, "M N"]


def share(
    images: Array,
    labels: AnyArray,
    tasks: Tasks,
    group: tuple[int, ...],
    layout: NamedSharding | None,
) -> Samples:
    """The samples, and the group's masks of them. On the host."""
    chosen = list(group)
    masks = [np.asarray(m) for m in (tasks.classes, tasks.seen, tasks.validation)]
    task_arrays = (jnp.asarray(labels), *(jnp.asarray(m[chosen]) for m in masks))
    return Samples(images, *placement.on_all(task_arrays, layout))


class Learner(NamedTuple):
    """One chart in training, what a step changes; stacked for several."""

    state: ChartState
    optimizer: Any


class Best(NamedTuple):
    """The best state of a chart so far, and whether it continues."""

    state: ChartState
    loss: Float[Array, ""]
    epoch: Int[Array, ""]
    training: Bool[Array, ""]


class Order(NamedTuple):
    """An order of samples, a chart's own first, and their number.

    `keys`, of an epoch of training: each chart's, for what is drawn in it.
    """

    samples: Int[Array, "M N"]
    num_members: Int[Array, " M"]
    keys: Array | None = None


@jax.jit
def shuffled(keys: Array, seen: Bool[Array, "M N"], epoch: int | Array) -> Order:
    """Each chart's samples in random order, and its keys of the epoch."""

    def of_epoch(number: int) -> Array:
        """Keys that do not depend on which other charts are trained."""
        fold = jax.vmap(jax.random.fold_in, (0, None))
        return fold(fold(keys, number), epoch)

    priority = jax.vmap(partial(jax.random.uniform, shape=seen.shape[1:]))
    return ordered(priority(of_epoch(1)), seen)._replace(keys=of_epoch(2))


@jax.jit
def ordered(priority: Float[Array, "M N"], chart_samples: Bool[Array, "M N"]) -> Order:
    """Each chart's samples, its own first, by ascending priority."""
    order = jnp.argsort(jnp.where(chart_samples, priority, jnp.inf), axis=1)
    return Order(order, chart_samples.sum(axis=1))


@partial(jax.jit, static_argnames=("chart", "optimizer"))
def start(
    chart: Chart, optimizer: optax.GradientTransformation, keys: Array
) -> Learner:
    """The charts before the first step, each from its own key."""

    def start(key: Array) -> Learner:
        state = chart.init(jax.random.fold_in(key, 0))
        return Learner(state, optimizer.init(state.params))

    return jax.vmap(start)(keys)


@partial(
    jax.jit,
    static_argnames=("chart", "optimizer", "size", "axes", "augment"),
    donate_argnames="learners",
)
def step(
    chart: Chart,
    optimizer: optax.GradientTransformation,
    learners: Learner,
    samples: Samples,
    order: Order,
    start: int | Array,
    size: int,
    axes: Axes | None,
    augment: Augment | None = None,
) -> tuple[Learner, Float[Array, "2 M"]]:
    """One step of each chart, and its losses before the step.

    The batch is gathered here, and goes through `augment` (a key, images) if there is
    one, with a key of the chart, the epoch and the place in it.

    Of samples that lie along mesh axes, automatic ones of the current mesh, each device
    does its part of the batch; what comes back is the same on all.
    """

    def step(
        learner: Learner, classes: Array, rows: Array, where: Array, key: Any
    ) -> tuple[Learner, Array]:
        images = _spread(samples.images[rows], axes)
        if augment is not None:
            images = augment(jax.random.fold_in(key, start), images)

        def loss(params: Any) -> tuple[Array, tuple[Any, Array]]:
            state = learner.state._replace(params=params)
            logits, statistics = chart.train(state, images)
            sums = _cross_entropy(logits, samples.labels[rows], classes, where)
            return arrays.safe_divide(sums[0], sums[1], 0.0), (statistics, sums)

        params = learner.state.params
        gradient, (statistics, sums) = jax.grad(loss, has_aux=True)(params)
        update, opt_state = optimizer.update(gradient, learner.optimizer, params)
        state = ChartState(optax.apply_updates(params, update), statistics)
        return Learner(state, opt_state), sums

    batch = _batch(order, start, size)
    moved, sums = jax.vmap(step)(learners, samples.classes, *batch, order.keys)
    if len(sums) > 1:
        # A chart with fewer samples than others waits until their epoch is over.
        choose = jax.vmap(
            lambda waits, old, new: jax.tree.map(partial(jnp.where, waits), old, new)
        )
        moved = choose(sums[:, 1] == 0, learners, moved)
    return _same((moved, sums.T), axes)


@partial(jax.jit, static_argnames=("chart", "size", "axes"))
def score(
    chart: Chart,
    states: ChartState,
    samples: Samples,
    order: Order,
    start: int | Array,
    size: int,
    axes: Axes | None,
) -> Float[Array, "2 M"]:
    """Sum and count of each chart's losses on a batch."""

    def score(state: ChartState, classes: Array, rows: Array, where: Array) -> Array:
        logits = chart.logits(state, _spread(samples.images[rows], axes))
        return _cross_entropy(logits, samples.labels[rows], classes, where)

    batch = _batch(order, start, size)
    return _same(jax.vmap(score)(states, samples.classes, *batch).T, axes)


@jax.jit
def keep_best(
    best: Best,
    states: ChartState,
    loss: Float[Array, " M"],
    measured: Bool[Array, " M"],
    epoch: int | Array,
    patience: int | Array,
) -> Best:
    """The best states after an epoch, and which charts go on."""

    def keep(best: Best, state: ChartState, loss: Array, measured: Array) -> Best:
        # With nothing to measure it by, every epoch is the best so far.
        better = best.training & ((loss < best.loss) | ~measured)
        best_epoch = jnp.where(better, epoch, best.epoch)
        return Best(
            jax.tree.map(partial(jnp.where, better), state, best.state),
            jnp.where(better, loss, best.loss),
            best_epoch,
            best.training & (epoch - best_epoch < patience),
        )

    return jax.vmap(keep)(best, states, loss, measured)


def mean(
    sums: list[Float[Array, "2 M"]], num_charts: int
) -> tuple[Float[np.ndarray, " M"], Bool[np.ndarray, " M"]]:
    """Mean losses from sums and counts, and which charts had samples.

    On the host: the device has gone on meanwhile, and waits here once an epoch.
    """
    zero = np.zeros((2, num_charts), np.float32)
    total, count = sum((np.asarray(of_batch) for of_batch in sums), zero)
    measured = count > 0
    return np.where(measured, total / np.maximum(count, 1), np.nan), measured


def most(mask: Bool[Array, "M N"]) -> int:
    """The largest number of samples that one of the charts has."""
    return int(np.asarray(mask).sum(axis=1).max())


def _batch(
    order: Order, start: int | Array, size: int
) -> tuple[Int[Array, "M B"], Bool[Array, "M B"]]:
    """Samples start..start+size of each chart, and which of them count.

    When its own are used up, a chart starts over with them: what fills a batch up is
    not scored, but it is nobody else's, and so fit for the statistics of the batch.
    Batch norm sees `size` of the chart's own samples in every step, never blank rows.
    """
    place = start + jnp.arange(size)
    count = order.num_members[:, None]
    again = place % jnp.maximum(count, 1)
    return jnp.take_along_axis(order.samples, again, axis=1), place < count


def _cross_entropy(
    logits: Float[Array, "B C"], labels: Array, classes: Array, where: Array
) -> Float[Array, " 2"]:
    """Sum and count of the losses where `where`, over these classes only."""
    logits = jnp.where(classes, arrays.widen(logits), -jnp.inf)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    losses = jnp.where(where, losses, 0)
    return jnp.stack([losses.sum(), where.sum()])


def _spread(x: Array, axes: Axes | None) -> Array:
    """`x`, its leading axis spread over the devices."""
    if axes is None:
        return x
    return jax.lax.with_sharding_constraint(x, PartitionSpec(axes))


def _same(tree: Any, axes: Axes | None) -> Any:
    """The tree, the same on all devices."""
    if axes is None:
        return tree
    return jax.lax.with_sharding_constraint(tree, PartitionSpec())
