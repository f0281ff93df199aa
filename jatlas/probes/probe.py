"""Classifiers trained on a space, early stopping inside one compiled program."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Integer

from jatlas._src import arrays, border, layout
from jatlas._src.arrays import AnyArray, Where


class Probe(NamedTuple):
    """A classifier: linear, ReLU, linear, on rows standardised each by itself.

    Attributes:
        hidden_kernel, hidden_bias: (A, hidden) and (hidden,).
        kernel, bias: (hidden, C) and (C,).
        validation_loss: (), the mean cross-entropy (nats) at the epoch that was kept;
            NaN of no validation rows.
        best_epoch: (), the epoch that was kept, counted from 0.
    """

    hidden_kernel: Float[Array, "A hidden"]
    hidden_bias: Float[Array, " hidden"]
    kernel: Float[Array, "hidden C"]
    bias: Float[Array, " C"]
    validation_loss: Float[Array, ""]
    best_epoch: Int[Array, ""]


# The first four of a `Probe`: those that are trained.
Weights = tuple[Array, Array, Array, Array]


class _Data(NamedTuple):
    """Rows to learn from and to stop by.

    Attributes:
        x: (N, A), standardised; zero in the rows that do not count.
        targets: (N, C), one-hot.
        order: (N,), row numbers: those to learn from, those held out, all others.
        learnt, held: (), how many rows there are of the first and the second.
    """

    x: Float[Array, "N A"]
    targets: Float[Array, "N C"]
    order: Int[Array, " N"]
    learnt: Int[Array, ""]
    held: Int[Array, ""]


class _Run(NamedTuple):
    """What an epoch changes."""

    weights: Weights
    optimizer: optax.OptState
    best: Probe
    epoch: Int[Array, ""]


@border.border
def fit_probe(
    key: Array,
    space: Float[AnyArray, "N A"],
    labels: Integer[AnyArray, " N"],
    num_classes: int,
    *,
    where: Where = None,
    validation: Where = None,
    hidden: int = 256,
    learning_rate: float | Float[Array, ""] = 1e-3,
    batch_size: int = 128,
    max_epochs: int = 100,
    patience: int = 10,
) -> Probe:
    """Train a classifier on a space: the paper's, by default.

    One program, early stopping within. Several at once go through `jax.vmap` over keys,
    spaces, masks and learning rates: it runs until the last of them has stopped.
    `jax.lax.map` over the same is one program, too, in which each stops by itself.

    It is compiled once for a shape of space, C, hidden and batch_size; the rest, masks
    included, may vary. Padding a space with rows that do not count changes nothing but
    rounding, wherever they stand (for JAX's default random numbers), so that a few
    lengths serve all row counts.

    Of a space sharded over samples, each device holds its own rows and the numbers of
    all, (N,). A batch is put together on all devices and each takes the same step: they
    share memory, not work, and the probe is the same on all.

    The number of epochs depends on the data, which reverse-mode differentiation through
    the training cannot follow; differentiate `probe_logits`.

    Args:
        key: a JAX key.
        space: (N, A), floating point. Each row is standardised over its own A features.
        labels: (N,), class numbers in 0..C-1.
        num_classes: C.
        where: (N,), the rows to learn from; if None, all but those for validation. The
            others are not looked at.
        validation: (N,), the rows to stop by, none of them in where; if None, or if it
            is empty, all `max_epochs` are run and the last is kept.
        hidden: width of the hidden layer.
        learning_rate: of Adam.
        batch_size: rows a step; the last batch of an epoch may be smaller.
        max_epochs: the most epochs.
        patience: stop once the validation loss has not fallen for so many epochs; the
            best epoch is kept.

    Returns:
        A `Probe` in float32 or wider. NaN throughout (but for `best_epoch`) if there is
        no row to learn from, if a row that counts holds a NaN, if its label is out of
        range, or if no epoch had a finite validation loss.

    Raises:
        ValueError: if shapes or dtypes are not these, a count is below 1, or, where the
            values can be looked at, a label is out of range or a row both in where and
            in validation.

    Example:
        >>> import jax
        >>> labels = jax.numpy.arange(60) % 3
        >>> space = 2 * jax.nn.one_hot(labels, 4)
        >>> probe = fit_probe(jax.random.key(0), space, labels, 3, max_epochs=30)
        >>> probe_logits(probe, space[:3]).argmax(axis=1)
        Array([0, 1, 2], dtype=int32)

    Source: Crisostomi et al., "From Charts to Atlas" (2023), section 4.
    """
    _check_rows(space, labels, num_classes, where, validation)
    arrays.check_counts(
        1,
        hidden=hidden,
        batch_size=batch_size,
        max_epochs=max_epochs,
        patience=patience,
    )
    nobody = jnp.zeros(space.shape[0], bool)
    held = nobody if validation is None else jnp.asarray(validation)
    rows = ~held if where is None else jnp.asarray(where)
    return _fit(
        key,
        space,
        jnp.asarray(labels),
        num_classes,
        rows,
        held,
        hidden,
        learning_rate,
        batch_size,
        max_epochs,
        patience,
    )


@border.jit()
def probe_logits(params: Probe, space: Float[AnyArray, "N A"]) -> Float[Array, "N C"]:
    """The logits of a fitted probe.

    Args:
        params: as from `fit_probe`.
        space: (N, A), floating point; any rows of a space made in the same way.

    Returns:
        (N, C), in float32 or wider, on several devices as the space is. A row that
        holds a NaN gets NaN.

    Raises:
        ValueError: if the space is not a floating point matrix of width A.

    Example:
        >>> import jax
        >>> space = jax.random.normal(jax.random.key(0), (6, 4))
        >>> labels = jax.numpy.arange(6) % 2
        >>> probe = fit_probe(jax.random.key(1), space, labels, 2, max_epochs=1)
        >>> probe_logits(probe, space).shape
        (6, 2)
    """
    arrays.check_rows("space", space)
    arrays.check_equal(
        "the width A of the space and of the probe",
        [space.shape[1], params.hidden_kernel.shape[0]],
        "A probe goes with spaces of the width that it was trained on.",
    )
    return _logits(params[:4], _standardised(space))


@partial(jax.jit, static_argnames=("num_classes", "hidden", "batch_size"))
@layout.automatic()
def _fit(
    key: Array,
    space: Array,
    labels: Array,
    num_classes: int,
    rows: Bool[Array, " N"],
    held: Bool[Array, " N"],
    hidden: int,
    learning_rate: float | Array,
    batch_size: int,
    max_epochs: Int[Array, ""],
    patience: Int[Array, ""],
) -> Probe:
    data = _data(space, labels, num_classes, rows, held)
    optimizer = optax.adam(learning_rate)
    start = _initial(
        jax.random.fold_in(key, 0), space.shape[1], hidden, num_classes, data.x
    )

    def go_on(run: _Run) -> Array:
        waited = run.epoch - 1 - run.best.best_epoch
        return (run.epoch < max_epochs) & (waited < patience)

    def epoch(run: _Run) -> _Run:
        shuffled = _shuffled(jax.random.fold_in(key, run.epoch + 1), data)
        weights, state = _epoch(
            shuffled, run.weights, run.optimizer, optimizer, batch_size
        )
        loss = _mean_loss(data, weights, batch_size)
        better = (loss < run.best.validation_loss) | (data.held == 0)
        latest = Probe(*weights, validation_loss=loss, best_epoch=run.epoch)
        best = jax.tree.map(partial(jnp.where, better), latest, run.best)
        return _Run(weights, state, best, run.epoch + 1)

    zero = jnp.array(0, jnp.int32)
    nothing = Probe(*start, jnp.array(jnp.inf, data.x.dtype), zero)
    run = _Run(start, optimizer.init(start), nothing, zero)
    run = layout.varying(run, data)
    best = jax.lax.while_loop(go_on, epoch, run).best
    learnt = (data.learnt > 0) & jnp.isfinite(data.x).all()
    learnt &= jnp.isfinite(data.targets).all()
    learnt &= ~jnp.isinf(best.validation_loss)  # what it starts from
    learnt_only = {
        name: jnp.where(learnt, leaf, jnp.nan)
        for name, leaf in best._asdict().items()
        if name != "best_epoch"
    }
    return best._replace(**learnt_only)


def _data(
    space: Array,
    labels: Array,
    num_classes: int,
    rows: Bool[Array, " N"],
    held: Bool[Array, " N"],
) -> _Data:
    either = rows | held
    x = arrays.keep(_standardised(space), either)
    targets = arrays.one_hot(labels, num_classes, either).astype(x.dtype)
    order = jnp.argsort(jnp.where(rows, 0, jnp.where(held, 1, 2)))
    return _Data(x, targets, order, rows.sum(), held.sum())


def _shuffled(key: Array, data: _Data) -> _Data:
    """The rows to learn from in a random order, that of these rows alone.

    A row's number in it depends on its place among the rows that count, and not on the
    others: with them dropped, or with more of them, training is the same.
    """
    number = jnp.arange(data.order.size)
    random = jax.random.uniform(key, number.shape)
    priority = jnp.where(number < data.learnt, random, jnp.inf)
    return data._replace(order=data.order[jnp.argsort(priority)])


def _epoch(
    data: _Data,
    weights: Weights,
    state: optax.OptState,
    optimizer: optax.GradientTransformation,
    batch_size: int,
) -> tuple[Weights, optax.OptState]:
    """Adam once over the rows to learn from, in the order in which they are given."""

    def step(
        i: Array, carry: tuple[Weights, optax.OptState]
    ) -> tuple[Weights, optax.OptState]:
        weights, state = carry
        first = i * batch_size
        size = jnp.minimum(batch_size, data.learnt - first)
        gradient = jax.grad(_loss)(weights, data, first, size, batch_size)
        gradient = jax.tree.map(lambda leaf: leaf / size, gradient)
        update, state = optimizer.update(gradient, state)
        return optax.apply_updates(weights, update), state

    steps = _num_batches(data.learnt, batch_size)
    return jax.lax.fori_loop(0, steps, step, (weights, state))


def _mean_loss(data: _Data, weights: Weights, batch_size: int) -> Float[Array, ""]:
    """Mean loss over the rows held out, NaN of none, at the cost of these alone."""

    def add(i: Array, total: Array) -> Array:
        first = i * batch_size
        return total + _loss(
            weights, data, data.learnt + first, data.held - first, batch_size
        )

    steps = _num_batches(data.held, batch_size)
    start = layout.varying(jnp.zeros((), data.x.dtype), weights, data)
    total = jax.lax.fori_loop(0, steps, add, start)
    return arrays.safe_divide(total, data.held)


def _num_batches(count: Int[Array, ""], batch_size: int) -> Int[Array, ""]:
    return (count + batch_size - 1) // batch_size


def _loss(
    weights: Weights,
    data: _Data,
    first: Int[Array, ""],
    size: Int[Array, ""],
    batch_size: int,
) -> Float[Array, ""]:
    """Sum of the losses of `size` rows from the `first` in order, at most a batch."""
    number = jnp.arange(batch_size)
    # Beyond the last, some row or other, whose loss is not looked at.
    batch = data.order[jnp.minimum(first + number, data.order.size - 1)]
    losses = optax.softmax_cross_entropy(
        _logits(weights, data.x[batch]), data.targets[batch]
    )
    return jnp.sum(jnp.where(number < size, losses, 0))


def _initial(
    key: Array, num_features: int, hidden: int, num_classes: int, like: Array
) -> Weights:
    """Weights and biases uniform within 1 / sqrt(fan-in), as in the paper's code."""
    shapes = (num_features + 1, hidden), (hidden + 1, num_classes)
    sizes = [rows * columns for rows, columns in shapes]
    drawn = jax.random.uniform(key, (sum(sizes),), like.dtype, -1, 1)
    first, second = (
        part.reshape(shape) / jnp.sqrt(shape[0] - 1)
        for part, shape in zip(jnp.split(drawn, sizes[:1]), shapes, strict=True)
    )
    return first[1:], first[0], second[1:], second[0]


def _standardised(space: AnyArray) -> Float[Array, "N A"]:
    """Each row less its own mean, over its own standard deviation."""
    x = arrays.widen(space)
    x = x - jnp.mean(x, axis=1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.mean(x**2, axis=1, keepdims=True) + 1e-5)


def _logits(weights: Weights, x: Array) -> Float[Array, "N C"]:
    hidden_kernel, hidden_bias, kernel, bias = weights
    return jax.nn.relu(x @ hidden_kernel + hidden_bias) @ kernel + bias


def _check_rows(
    space: AnyArray, labels: AnyArray, num_classes: int, where: Where, validation: Where
) -> None:
    arrays.check_rows("space", space)
    arrays.check_mask("where", where, space.shape[:1], "(N,)")
    arrays.check_mask("validation", validation, space.shape[:1], "(N,)")
    arrays.check_labels(labels, space.shape[0], num_classes, where)
    if validation is not None:
        arrays.check_labels(labels, space.shape[0], num_classes, validation)
    if where is not None and validation is not None:
        arrays.check_apart("where", where, "validation", validation)
