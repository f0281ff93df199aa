"""Training M charts, each on its own samples and classes, and embedding with them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Integer

from jatlas import arrays
from jatlas.arrays import AnyArray
from jatlas.charts.chart import Chart, ChartState
from jatlas.tasks import Tasks


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["states", "train_loss", "validation_loss", "best_epoch"],
    meta_fields=["chart"],
)
@dataclass(frozen=True)
class Charts:
    """M trained charts of one architecture; a pytree.

    Attributes:
        chart: the functions that they share.
        states: a `ChartState` stacked along M, each chart's at its best epoch.
        train_loss: (M, E), mean cross-entropy (nats) of each epoch; NaN after a chart
            has stopped.
        validation_loss: (M, E), the same on the chart's own validation samples.
        best_epoch: (M,), counted from 0, the one whose state was kept; -1 if none had
            a finite validation loss, in which case that is the untrained state.
    """

    chart: Chart
    states: ChartState
    train_loss: Float[AnyArray, "M E"]
    validation_loss: Float[AnyArray, "M E"]
    best_epoch: Int[AnyArray, " M"]


class Progress(NamedTuple):
    """What `fit_charts` reports after each epoch.

    Attributes:
        charts: the charts (their numbers) that were trained in it.
        epoch: counted from 0.
        train_loss, validation_loss: of these charts, mean cross-entropy in nats.
        training: which of these charts go on.
    """

    charts: tuple[int, ...]
    epoch: int
    train_loss: np.ndarray
    validation_loss: np.ndarray
    training: np.ndarray


class _Learner(NamedTuple):
    """One chart in training, what a step changes; stacked for several."""

    state: ChartState
    optimizer: Any


class _Best(NamedTuple):
    """The best state of one chart so far, and whether it goes on; stacked too."""

    state: ChartState
    loss: Float[Array, ""]
    epoch: Int[Array, ""]
    training: Bool[Array, ""]


class _Samples(NamedTuple):
    """What the charts learn from: all samples, and each chart's share of them."""

    images: Float[Array, "N H W channels"]
    labels: Integer[Array, " N"]
    classes: Bool[Array, "M C"]
    seen: Bool[Array, "M N"]
    validation: Bool[Array, "M N"]


def fit_charts(
    key: Array,
    chart: Chart,
    images: Float[AnyArray, "N H W channels"],
    labels: Integer[AnyArray, " N"],
    tasks: Tasks,
    *,
    optimizer: optax.GradientTransformation | None = None,
    batch_size: int = 100,
    max_epochs: int = 50,
    patience: int = 5,
    together: bool | None = None,
    report: Callable[[Progress], None] | None = None,
) -> Charts:
    """Train M charts, one a task. A loop on the host around compiled steps.

    A chart draws its batches from its own samples only (`tasks.seen`), scores its own
    classes only (the logits of the others do not enter the loss), starts from its own
    key and stops early on its own validation loss. What a chart becomes depends on
    nothing of the other charts. The same key gives the same charts on one machine.

    Args:
        key: a JAX key.
        chart: the architecture, with logits for all C classes.
        images: (N, H, W, channels), floating point, normalised.
        labels: (N,), class numbers in 0..C-1.
        tasks: a `Tasks` record over the N samples; C is that of its classes.
        optimizer: default is `adam()`, with which the paper trains its CNN.
        batch_size: samples a step; the last batch of an epoch may be smaller.
        max_epochs: E, the most epochs a chart is trained.
        patience: a chart stops once its validation loss has not fallen for so many
            epochs; its best state is kept. With no validation samples it is trained to
            the end, and its last state is kept.
        together: whether the charts are trained side by side, by `jax.vmap`, or one
            after another. If None, side by side except on a CPU, where a vmapped
            convolution is several times slower than one chart after another.
        report: called after each epoch with a `Progress`.

    Returns:
        `Charts`.

    Raises:
        ValueError: if shapes or dtypes are not these, a count is below 1, a label is
            out of range, the chart has not C logits, or a task has no sample to learn
            from, one of a class that is not its own, or one both seen and for
            validation.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from functools import partial
        >>> from jatlas import charts, tasks
        >>> labels = np.arange(40) % 4
        >>> split = tasks.totally_disjoint(0, labels, num_tasks=2, num_held_out=4)
        >>> images = np.zeros((40, 8, 8, 1), np.float32) + labels[:, None, None, None]
        >>> cnn = partial(charts.CNN, (8, 8, 1), 4, num_features=3)
        >>> chart = charts.from_module(cnn)
        >>> fitted = fit_charts(
        ...     jax.random.key(0), chart, images, labels, split, max_epochs=1
        ... )
        >>> embed(fitted, images).shape
        (2, 40, 3)

    Source: Crisostomi et al., "From Charts to Atlas" (2023), section 4.
    """
    arrays.check_counts(
        1, batch_size=batch_size, max_epochs=max_epochs, patience=patience
    )
    _check_samples(images, labels, tasks)
    _check_logits(chart, images, tasks.classes.shape[1])
    images, labels = arrays.widen(images), jnp.asarray(labels)
    everyone = tuple(range(len(tasks.seen)))
    groups = [everyone] if _side_by_side(together) else [(m,) for m in everyone]
    optimizer = adam() if optimizer is None else optimizer
    fitted = [
        _fit_group(
            jax.vmap(partial(jax.random.fold_in, key))(jnp.array(group)),
            chart,
            optimizer,
            _share(images, labels, tasks, group),
            group,
            batch_size,
            max_epochs,
            patience,
            report or (lambda progress: None),
        )
        for group in groups
    ]
    return _joined(*fitted)


def _side_by_side(together: bool | None) -> bool:
    """What was asked for; if nothing was, what is faster on this backend."""
    return jax.default_backend() != "cpu" if together is None else together


@jax.jit
def _joined(*groups: Charts) -> Charts:
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *groups)


def adam(
    learning_rate: float = 1e-3, clip_norm: float = 10.0
) -> optax.GradientTransformation:
    """Adam, the norm of the gradient clipped: the paper's optimizer.

    The same arguments give the same object, so that nothing is compiled twice.

    Args:
        learning_rate: of Adam.
        clip_norm: the largest norm of a gradient; a longer one is scaled down to it.

    Returns:
        The transformation.

    Example:
        >>> adam() is adam(learning_rate=1e-3)
        True
    """
    return _adam(learning_rate, clip_norm)


@cache
def _adam(learning_rate: float, clip_norm: float) -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(clip_norm), optax.adam(learning_rate))


def embed(
    charts: Charts,
    images: Float[AnyArray, "N H W channels"],
    *,
    batch_size: int = 200,
    together: bool | None = None,
) -> Float[Array, "M N D"]:
    """The embeddings of N samples by each of M charts.

    Args:
        charts: as from `fit_charts`.
        images: (N, H, W, channels), normalised as in training.
        batch_size: samples at a time, so that memory does not grow with N.
        together: as in `fit_charts`.

    Returns:
        (M, N, D). Every chart embeds every sample, whether it knows it or not; which
        rows count is for a presence mask to say.

    Raises:
        ValueError: if images is not a floating point array of four axes with one image
            or more, or batch_size is below 1.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from functools import partial
        >>> from jatlas import charts
        >>> chart = charts.from_module(partial(charts.CNN, (8, 8, 1), 4))
        >>> states = jax.vmap(chart.init)(jax.random.split(jax.random.key(0), 3))
        >>> none = np.zeros((3, 0))
        >>> untrained = Charts(chart, states, none, none, np.zeros(3, int))
        >>> embed(untrained, np.zeros((5, 8, 8, 1), np.float32)).shape
        (3, 5, 128)
    """
    _check_images(images)
    arrays.check_count("the number of images", len(images), 1)
    arrays.check_count("batch_size", batch_size, 1)
    num_charts = len(jax.tree.leaves(charts.states)[0])
    together = _side_by_side(together)
    groups = [charts.states] if together else _split(charts.states, num_charts)
    num_samples = len(images)
    size = min(batch_size, num_samples)
    chunks = []
    for start in range(0, num_samples, size):
        chunk = jnp.asarray(images[start : start + size])
        short = size - len(chunk)  # padded, so that one shape is compiled
        chunk = jnp.pad(chunk, ((0, short), (0, 0), (0, 0), (0, 0)))
        rows = [_embed(charts.chart, states, chunk) for states in groups]
        chunks.append(jnp.concatenate(rows)[:, : size - short])
    return jnp.concatenate(chunks, axis=1)


@partial(jax.jit, static_argnames="num_charts")
def _split(states: ChartState, num_charts: int) -> list[ChartState]:
    """Each chart's state, still with a leading axis."""
    return [
        jax.tree.map(lambda leaf, m=m: leaf[m : m + 1], states)
        for m in range(num_charts)
    ]


@partial(jax.jit, static_argnames="chart")
def _embed(chart: Chart, states: ChartState, images: Array) -> Array:
    return jax.vmap(chart.embed, in_axes=(0, None))(states, images)


def _fit_group(
    keys: Array,
    chart: Chart,
    optimizer: optax.GradientTransformation,
    samples: _Samples,
    group: tuple[int, ...],
    batch_size: int,
    max_epochs: int,
    patience: int,
    report: Callable[[Progress], None],
) -> Charts:
    """Train the charts of a group side by side."""
    learners = _start(chart, optimizer, keys)
    best = _Best(
        jax.tree.map(jnp.copy, learners.state),  # a step gives its input's memory away
        jnp.full(len(group), jnp.inf),
        jnp.full(len(group), -1),
        jnp.ones(len(group), bool),
    )
    losses = np.full((2, len(group), max_epochs), np.nan, np.float32)
    validation = _ordered(jnp.zeros(samples.validation.shape), samples.validation)
    most, most_held = _most(samples.seen), _most(samples.validation)
    for epoch in range(max_epochs):
        training = np.asarray(best.training)
        order = _shuffled(keys, samples.seen, epoch)
        sums, held = [], []
        for start in range(0, most, batch_size):
            learners, of_batch = _step(
                chart, optimizer, learners, samples, order, start, batch_size
            )
            sums.append(of_batch)
        for start in range(0, most_held, batch_size):
            held.append(
                _score(chart, learners.state, samples, validation, start, batch_size)
            )
        loss, _ = _mean(sums, len(group))
        held_loss, measured = _mean(held, len(group))
        best = _keep_best(best, learners.state, held_loss, measured, epoch, patience)
        losses[0, training, epoch] = loss[training]
        losses[1, training, epoch] = held_loss[training]
        going = np.asarray(best.training)
        report(Progress(group, epoch, losses[0, :, epoch], losses[1, :, epoch], going))
        if not going.any():
            break
    return Charts(chart, best.state, losses[0], losses[1], best.epoch)


def _mean(
    sums: list[Float[Array, "2 M"]], num_charts: int
) -> tuple[Float[np.ndarray, " M"], Bool[np.ndarray, " M"]]:
    """Mean losses from sums and counts of batches, and whether there was any sample.

    On the host: the device has gone on meanwhile, and waits here once an epoch.
    """
    zero = np.zeros((2, num_charts), np.float32)
    total, count = sum((np.asarray(of_batch) for of_batch in sums), zero)
    measured = count > 0
    return np.where(measured, total / np.maximum(count, 1), np.nan), measured


@partial(jax.jit, static_argnames=("chart", "optimizer"))
def _start(
    chart: Chart, optimizer: optax.GradientTransformation, keys: Array
) -> _Learner:
    def start(key: Array) -> _Learner:
        state = chart.init(jax.random.fold_in(key, 0))
        return _Learner(state, optimizer.init(state.params))

    return jax.vmap(start)(keys)


class _Order(NamedTuple):
    """The samples of each chart, its own first, and how many are its own."""

    samples: Int[Array, "M N"]
    num_own: Int[Array, " M"]


@jax.jit
def _shuffled(keys: Array, seen: Bool[Array, "M N"], epoch: int | Array) -> _Order:
    """Each chart's samples in a random order of its own."""

    def priority(key: Array) -> Array:
        key = jax.random.fold_in(jax.random.fold_in(key, 1), epoch)
        return jax.random.uniform(key, seen.shape[1:])

    return _ordered(jax.vmap(priority)(keys), seen)


@jax.jit
def _ordered(priority: Float[Array, "M N"], own: Bool[Array, "M N"]) -> _Order:
    order = jnp.argsort(jnp.where(own, priority, jnp.inf), axis=1)
    return _Order(order, own.sum(axis=1))


def _most(mask: Bool[Array, "M N"]) -> int:
    return int(np.asarray(mask).sum(axis=1).max())


@partial(
    jax.jit, static_argnames=("chart", "optimizer", "size"), donate_argnames="learners"
)
def _step(
    chart: Chart,
    optimizer: optax.GradientTransformation,
    learners: _Learner,
    samples: _Samples,
    order: _Order,
    start: int | Array,
    size: int,
) -> tuple[_Learner, Float[Array, "2 M"]]:
    """One step of each chart, and the sum and count of its losses before the step."""

    def step(
        learner: _Learner, classes: Array, rows: Array, where: Array
    ) -> tuple[_Learner, Array]:
        def loss(params: Any) -> tuple[Array, tuple[Any, Array]]:
            state = learner.state._replace(params=params)
            logits, rest = chart.train(state, samples.images[rows])
            sums = _cross_entropy(logits, samples.labels[rows], classes, where)
            return arrays.safe_divide(sums[0], sums[1], 0.0), (rest, sums)

        params = learner.state.params
        gradient, (rest, sums) = jax.grad(loss, has_aux=True)(params)
        update, opt_state = optimizer.update(gradient, learner.optimizer, params)
        state = ChartState(optax.apply_updates(params, update), rest)
        return _Learner(state, opt_state), sums

    batch = _batch(order, start, size)
    moved, sums = jax.vmap(step)(learners, samples.classes, *batch)
    if len(sums) > 1:
        # A chart with fewer samples than others waits until their epoch is over.
        choose = jax.vmap(
            lambda waits, old, new: jax.tree.map(partial(jnp.where, waits), old, new)
        )
        moved = choose(sums[:, 1] == 0, learners, moved)
    return moved, sums.T


@partial(jax.jit, static_argnames=("chart", "size"))
def _score(
    chart: Chart,
    states: ChartState,
    samples: _Samples,
    order: _Order,
    start: int | Array,
    size: int,
) -> Float[Array, "2 M"]:
    """Sum and count of each chart's losses on a batch, outside of training."""

    def score(state: ChartState, classes: Array, rows: Array, where: Array) -> Array:
        logits = chart.logits(state, samples.images[rows])
        return _cross_entropy(logits, samples.labels[rows], classes, where)

    batch = _batch(order, start, size)
    return jax.vmap(score)(states, samples.classes, *batch).T


@jax.jit
def _keep_best(
    best: _Best,
    states: ChartState,
    loss: Float[Array, " M"],
    measured: Bool[Array, " M"],
    epoch: int | Array,
    patience: int | Array,
) -> _Best:
    def keep(best: _Best, state: ChartState, loss: Array, measured: Array) -> _Best:
        # With nothing to measure it by, every epoch is the best so far.
        better = best.training & ((loss < best.loss) | ~measured)
        best_epoch = jnp.where(better, epoch, best.epoch)
        return _Best(
            jax.tree.map(partial(jnp.where, better), state, best.state),
            jnp.where(better, loss, best.loss),
            best_epoch,
            best.training & (epoch - best_epoch < patience),
        )

    return jax.vmap(keep)(best, states, loss, measured)


def _batch(
    order: _Order, start: int | Array, size: int
) -> tuple[Int[Array, "M B"], Bool[Array, "M B"]]:
    """Samples start..start+size of each chart, and which of them count.

    When its own are used up, a chart starts over with them: what fills a batch up is
    not scored, but it is nobody else's, and so fit for the statistics of the batch.
    """
    place = start + jnp.arange(size)
    count = order.num_own[:, None]
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


def _share(
    images: Array, labels: Array, tasks: Tasks, group: tuple[int, ...]
) -> _Samples:
    """The samples, and what of them the charts of the group have."""
    chosen = list(group)
    masks = (tasks.classes, tasks.seen, tasks.validation)
    return _Samples(
        images, labels, *(jnp.asarray(np.asarray(m)[chosen]) for m in masks)
    )


def _check_images(images: AnyArray) -> None:
    chex.assert_rank(
        images,
        4,
        custom_message="images must be (N, H, W, channels).",
        exception_type=ValueError,
    )
    arrays.check_floating("images", images)


def _check_samples(images: AnyArray, labels: AnyArray, tasks: Tasks) -> None:
    _check_images(images)
    num_charts, num_classes = tasks.classes.shape
    shape = (num_charts, len(images))
    arrays.check_labels(labels, len(images), num_classes)
    arrays.check_mask("tasks.seen", tasks.seen, shape, "(M, N)")
    arrays.check_mask("tasks.validation", tasks.validation, shape, "(M, N)")
    own = np.asarray(tasks.classes)[:, np.asarray(labels)]
    for name in ("seen", "validation"):
        foreign = np.asarray(getattr(tasks, name)) & ~own
        if foreign.any():
            raise ValueError(
                f"tasks.{name} gives charts {np.flatnonzero(foreign.any(axis=1))} "
                "samples of classes that are not theirs in tasks.classes; mend one."
            )
    arrays.check_apart("tasks.seen", tasks.seen, "tasks.validation", tasks.validation)
    idle = np.flatnonzero(~np.asarray(tasks.seen).any(axis=1))
    if idle.size:
        raise ValueError(f"charts {idle} have no sample to learn from in tasks.seen.")


def _check_logits(chart: Chart, images: AnyArray, num_classes: int) -> None:
    """Raise ValueError unless the chart has C logits; nothing is computed."""
    state = jax.eval_shape(chart.init, jax.random.key(0))
    image = jax.ShapeDtypeStruct((1, *images.shape[1:]), jnp.float32)
    logits = jax.eval_shape(chart.logits, state, image)
    if logits.shape != (1, num_classes):
        raise ValueError(
            f"the chart must give logits (B, {num_classes}), one for each class of "
            f"tasks.classes; of one image it gives {logits.shape}."
        )
