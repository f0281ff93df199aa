"""Training M charts, each on its own samples and classes."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Integer, Real

from jatlas._src import arrays, border
from jatlas._src.arrays import AnyArray
from jatlas._src.dealing import Tasks
from jatlas._src.layout import on_mesh
from jatlas._src.seeds import Seed, as_key
from jatlas.charts import embedding, learning, placement
from jatlas.charts.chart import Chart
from jatlas.charts.embedding import Charts
from jatlas.charts.embedding import embed as embed  # what was trained, embeds
from jatlas.charts.learning import Augment, Best, Samples
from jatlas.charts.optimizers import adam


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


@border.border
def fit_charts(
    key: Seed,
    chart: Chart,
    images: Real[AnyArray, "N *image"],
    labels: Integer[AnyArray, " N"],
    tasks: Tasks,
    *,
    only: Sequence[int] | None = None,
    augment: Augment | None = None,
    optimizer: optax.GradientTransformation | None = None,
    batch_size: int = 100,
    max_epochs: int = 50,
    patience: int = 5,
    together: bool | None = None,
    report: Callable[[Progress], None] | None = None,
) -> Charts:
    """Train M charts, one a task.

    It is a loop on the host around compiled steps.

    A chart draws its batches from its own samples only (`tasks.seen`), scores its own
    classes only (the logits of the others do not enter the loss), starts from its own
    key and stops early on its own validation loss. What a chart becomes depends on
    nothing of the other charts. The same key gives the same charts on one machine.

    Images that are spread over devices along N stay there: a batch is sent to all, each
    device does its part of it, and the gradients are summed. The charts are the same
    but for rounding, and whole on every device. So are labels and masks, M * N numbers.

    Args:
        key: a JAX key, or an integer seed of 0 or more.
        chart: the architecture, with logits for all C classes.
        images: (N, H, W, channels), floating point, normalised, or integers if the
            chart is one of `with_preprocessing`, which stay what they are on the
            device; or features (N, F) for a chart that takes such. NumPy's, or JAX's on
            one device, or spread over several under automatic or explicit mesh axes.
        labels: (N,), class numbers in 0..C-1.
        tasks: a `Tasks` record over the N samples; C is that of its classes.
        only: the numbers of the charts to train, of those in `tasks`; default is all.
            A chart is the same whichever others are trained in the same call, so that
            charts of different kinds can be trained a kind at a time.
        augment: a function of a key and a batch of images, such as `flip_and_crop`,
            pure, that what the charts learn from goes through; validation samples do
            not. It is a constant to `jax.jit`: make it once.
        optimizer: default is `adam()`, with which the paper trains its CNN.
        batch_size: samples a step. The last batch of an epoch is filled up with samples
            of the same chart, which batch norm sees and the loss does not.
        max_epochs: E, the most epochs a chart is trained.
        patience: a chart stops once its validation loss has not fallen for so many
            epochs; its best state is kept. With no validation samples it is trained to
            the end, and its last state is kept.
        together: whether the charts are trained side by side, by `jax.vmap`, or one
            after another. If None, side by side except on a CPU, where side by side was
            nowhere faster when measured.
        report: called after each epoch with a `Progress`.

    Returns:
        `Charts`, in the order of `only` if that is given.

    Raises:
        ValueError: inside of a JAX transformation; if shapes or dtypes are not these, a
            count is below 1, a label is out of range, the chart fails on such images
            or has not C logits,
            `only` names charts that are not there or one twice, or a task has no sample
            to learn from, one of a class that is not its own, or one both seen and for
            validation.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from functools import partial
        >>> from jatlas import charts, scenarios
        >>> labels = np.arange(40) % 4
        >>> split = scenarios.totally_disjoint(0, labels, num_tasks=2, num_held_out=4)
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
    key = as_key(key)
    arrays.check_on_host("fit_charts", images=images, labels=labels, tasks=tasks)
    arrays.check_counts(
        1, batch_size=batch_size, max_epochs=max_epochs, patience=patience
    )
    embedding.check_images(chart, images)
    _check_samples(images, labels, tasks)
    embedding.check_shapes(chart, augment, images, tasks.classes.shape[1])
    numbers = _numbers(only, len(tasks.seen))
    side_by_side = embedding.side_by_side(together)
    groups = [numbers] if side_by_side else [(m,) for m in numbers]
    optimizer = adam() if optimizer is None else optimizer
    layout = on_mesh(images)
    with placement.automatic_axes(layout) as automatic:
        if automatic is not None:
            images = jax.device_put(images, automatic)
            key = placement.on_all(key, automatic)
        floating = jnp.issubdtype(images.dtype, jnp.floating)
        images = arrays.widen(images) if floating else jnp.asarray(images)
        fitted = [
            _fit_group(
                jax.vmap(partial(jax.random.fold_in, key))(jnp.array(group)),
                chart,
                augment,
                optimizer,
                learning.share(images, labels, tasks, group, automatic),
                None if automatic is None else automatic.spec[0],
                group,
                batch_size,
                max_epochs,
                patience,
                report or (lambda progress: None),
            )
            for group in groups
        ]
        charts = _joined(*fitted)
    return placement.on_all(charts, layout)


@jax.jit
def _joined(*groups: Charts) -> Charts:
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *groups)


def _fit_group(
    keys: Array,
    chart: Chart,
    augment: Augment | None,
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
                chart,
                optimizer,
                learners,
                samples,
                order,
                start,
                batch_size,
                axes,
                augment,
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


def _check_samples(images: AnyArray, labels: AnyArray, tasks: Tasks) -> None:
    num_charts, num_classes = tasks.classes.shape
    shape = (num_charts, len(images))
    advice = (
        "tasks.classes has so many classes; number the labels from 0, as for tasks."
    )
    arrays.check_labels(labels, len(images), num_classes, advice=advice)
    arrays.check_mask("tasks.seen", tasks.seen, shape, "(M, N)")
    arrays.check_mask("tasks.validation", tasks.validation, shape, "(M, N)")
    in_classes = np.asarray(tasks.classes)[:, np.asarray(labels)]
    for name in ("seen", "validation"):
        foreign = np.asarray(getattr(tasks, name)) & ~in_classes
        if foreign.any():
            raise ValueError(
                f"tasks.{name} gives charts {np.flatnonzero(foreign.any(axis=1))} "
                "samples of classes that are not theirs in tasks.classes; change one."
            )
    arrays.check_disjoint(
        "tasks.seen", tasks.seen, "tasks.validation", tasks.validation
    )
    idle = np.flatnonzero(~np.asarray(tasks.seen).any(axis=1))
    if idle.size:
        raise ValueError(f"charts {idle} have no sample to learn from in tasks.seen.")


def _numbers(only: Sequence[int] | None, num_charts: int) -> tuple[int, ...]:
    """The charts to train.

    Raises:
        ValueError: if there is none, one is not in 0..M-1, or one is there twice.
    """
    if only is None:
        return tuple(range(num_charts))
    numbers = tuple(int(m) for m in only)
    known = set(range(num_charts))
    if not numbers or not known.issuperset(numbers) or len(set(numbers)) < len(numbers):
        raise ValueError(
            f"only must name some of the charts 0..{num_charts - 1} of tasks, each "
            f"once, got {list(only)}."
        )
    return numbers
