"""Training M charts, each on its own samples and classes, and embedding with them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Integer

from jatlas import arrays, learning
from jatlas.arrays import AnyArray
from jatlas.charts import spread
from jatlas.charts.chart import Chart, ChartState
from jatlas.learning import Best, Samples, adam
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

    Images that are spread over devices along N stay there: a batch is sent to all, each
    device does its part of it, and the gradients are summed. The charts are the same
    but for rounding, and whole on every device. So are labels and masks, M * N numbers.

    Args:
        key: a JAX key.
        chart: the architecture, with logits for all C classes.
        images: (N, H, W, channels), floating point, normalised; NumPy's, or JAX's on
            one device, or spread over several under automatic or explicit mesh axes.
        labels: (N,), class numbers in 0..C-1.
        tasks: a `Tasks` record over the N samples; C is that of its classes.
        optimizer: default is `adam()`, with which the paper trains its CNN.
        batch_size: samples a step; the last batch of an epoch may be smaller.
        max_epochs: E, the most epochs a chart is trained.
        patience: a chart stops once its validation loss has not fallen for so many
            epochs; its best state is kept. With no validation samples it is trained to
            the end, and its last state is kept.
        together: whether the charts are trained side by side, by `jax.vmap`, or one
            after another. If None, side by side except on a CPU, where side by side was
            nowhere faster when measured.
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
    everyone = tuple(range(len(tasks.seen)))
    groups = [everyone] if _side_by_side(together) else [(m,) for m in everyone]
    optimizer = adam() if optimizer is None else optimizer
    layout = spread.sample_layout(images)
    with spread.automatic_axes(layout) as own:
        if own is not None:
            images, key = jax.device_put(images, own), spread.on_all(key, own)
        images = arrays.widen(images)
        fitted = [
            _fit_group(
                jax.vmap(partial(jax.random.fold_in, key))(jnp.array(group)),
                chart,
                optimizer,
                learning.share(images, labels, tasks, group, own),
                None if own is None else own.spec[0],
                group,
                batch_size,
                max_epochs,
                patience,
                report or (lambda progress: None),
            )
            for group in groups
        ]
        charts = _joined(*fitted)
    return spread.on_all(charts, layout)


def _side_by_side(together: bool | None) -> bool:
    """What was asked for; if nothing was, what is faster on this backend.

    Measured by experiments/benchmarks/charts.py on two cores, with 4 charts: side by
    side takes 1.3 times as long at 8 x 8 pixels, 3 to 5 times at 28 x 28 (a vmapped
    convolution is a grouped one), and about twice as long to embed. So on a CPU it is
    one after another, whatever the size. On other backends it is not measured yet.
    """
    return jax.default_backend() != "cpu" if together is None else together


@jax.jit
def _joined(*groups: Charts) -> Charts:
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *groups)


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
        images: (N, H, W, channels), normalised as in training. NumPy's, memory-mapped
            ones too, go to the device in chunks. Of images that are spread over devices
            each device embeds its own, and nothing is sent.
        batch_size: samples at a time on each device. Memory above the images and the
            result is that of one chunk.
        together: as in `fit_charts`.

    Returns:
        (M, N, D), along N on the devices where the images are. Every chart embeds every
        sample, whether it knows it or not; which rows count is for a presence mask to
        say.

    Inside of `jax.jit` the chunks are written out one by one, and under automatic mesh
    axes the compiler does not know where the samples are: call it outside.

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
    layout = spread.sample_layout(images)
    states = spread.on_all(charts.states, layout)
    num_charts = len(jax.tree.leaves(states)[0])
    groups = [states] if _side_by_side(together) else _split(states, num_charts)
    local = images.shape if layout is None else layout.shard_shape(images.shape)
    like = jax.ShapeDtypeStruct(local, jax.dtypes.canonicalize_dtype(images.dtype))
    rows = spread.no_rows(charts.chart, states, like, layout)
    size = min(batch_size, local[0])
    for start in range(0, local[0], size):
        first = start = min(start, local[0] - size)  # the last overlaps: one shape
        chunk = images
        if isinstance(images, np.ndarray):
            # One chunk at a time: those sent ahead would fill the device's memory.
            jax.block_until_ready(rows)
            first, chunk = 0, jnp.asarray(images[start : start + size])
        for m, group in enumerate(groups):
            place = (first, m, start)
            rows = spread.add_rows(
                charts.chart, group, rows, chunk, place, size, layout
            )
    return rows


@partial(jax.jit, static_argnames="num_charts")
def _split(states: ChartState, num_charts: int) -> list[ChartState]:
    """Each chart's state, still with a leading axis."""
    return [
        jax.tree.map(lambda leaf, m=m: leaf[m : m + 1], states)
        for m in range(num_charts)
    ]


def _fit_group(
    keys: Array,
    chart: Chart,
    optimizer: optax.GradientTransformation,
    samples: Samples,
    axes: learning.Axes | None,
    group: tuple[int, ...],
    batch_size: int,
    max_epochs: int,
    patience: int,
    report: Callable[[Progress], None],
) -> Charts:
    """Train the charts of a group side by side."""
    learners = learning.start(chart, optimizer, keys)
    best = Best(
        jax.tree.map(jnp.copy, learners.state),  # a step gives its input's memory away
        jnp.full(len(group), jnp.inf),
        jnp.full(len(group), -1),
        jnp.ones(len(group), bool),
    )
    losses = np.full((2, len(group), max_epochs), np.nan, np.float32)
    validation = learning.ordered(
        jnp.zeros(samples.validation.shape), samples.validation
    )
    most, most_held = learning.most(samples.seen), learning.most(samples.validation)
    for epoch in range(max_epochs):
        training = np.asarray(best.training)
        order = learning.shuffled(keys, samples.seen, epoch)
        sums, held = [], []
        for start in range(0, most, batch_size):
            learners, of_batch = learning.step(
                chart, optimizer, learners, samples, order, start, batch_size, axes
            )
            sums.append(of_batch)
        for start in range(0, most_held, batch_size):
            of_batch = learning.score(
                chart, learners.state, samples, validation, start, batch_size, axes
            )
            held.append(of_batch)
        loss, _ = learning.mean(sums, len(group))
        held_loss, measured = learning.mean(held, len(group))
        best = learning.keep_best(
            best, learners.state, held_loss, measured, epoch, patience
        )
        losses[0, training, epoch] = loss[training]
        losses[1, training, epoch] = held_loss[training]
        going = np.asarray(best.training)
        report(Progress(group, epoch, losses[0, :, epoch], losses[1, :, epoch], going))
        if not going.any():
            break
    return Charts(chart, best.state, losses[0], losses[1], best.epoch)


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
