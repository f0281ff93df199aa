"""Classifiers trained on a space, early stopping inside one compiled program."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Integer

from jatlas._src import arrays, border, early_stopping, layout
from jatlas._src.arrays import AnyArray, Where
from jatlas._src.classes import one_hot
from jatlas._src.seeds import Seed, as_key
from jatlas.probes.probe import Probe, Weights, initial_weights, logits_of, standardized


class _Data(NamedTuple):
    """Rows to learn from and to stop by.

    Attributes:
        x: (N, A), standardised; zero in the rows that do not count.
        targets: (N, C), one-hot.
        order: (N,), row numbers: those to learn from, those held out, all others.
        learned, held: (), how many rows there are of the first and the second.
    """

    x: Float[Array, "N A"]
    targets: Float[Array, "N C"]
    order: Int[Array, " N"]
    learned: Int[Array, ""]
    held: Int[Array, ""]


@border.border
def fit_probe(
    key: Seed,
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

    A row is standardised to (x - mean) / sqrt(variance + 1e-5) over its A features, the
    1e-5 being the paper's. So the scale of a space counts where its rows vary little: a
    row of standard deviation s comes out with s / sqrt(s^2 + 1e-5), which is 0.9995 for
    s = 0.1, 0.953 for 0.01, 0.302 for 0.001 and 0.032 for 0.0001. Rescale a space of
    such small numbers first.

    The number of epochs depends on the data, which reverse-mode differentiation through
    the training cannot follow; differentiate `probe_logits`.

    Args:
        key: a JAX key, or an integer seed of 0 or more.
        space: (N, A), floating point.
        labels: (N,), class numbers in 0..C-1.
        num_classes: C.
        where: (N,), the rows to learn from; if None, all but those for validation. The
            others are not looked at.
        validation: (N,), the rows to stop by, none of them in where; if None, or if it
            is empty, all `max_epochs` are run, the last is kept, and its loss is that
            of the rows to learn from.
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
        >>> from jatlas.probes import probe_logits
        >>> labels = jax.numpy.arange(60) % 3
        >>> space = 2 * jax.nn.one_hot(labels, 4)
        >>> probe = fit_probe(jax.random.key(0), space, labels, 3, max_epochs=30)
        >>> probe_logits(probe, space[:3]).argmax(axis=1)
        Array([0, 1, 2], dtype=int32)

    Source: Crisostomi et al., "From Charts to Atlas" (2023), section 4.
    """
    _check_rows(space, labels, num_classes, where, validation)
    counts = {"batch_size": batch_size, "max_epochs": max_epochs, "patience": patience}
    arrays.check_counts(1, hidden=hidden, **counts)
    nobody = jnp.zeros(space.shape[0], bool)
    held = nobody if validation is None else jnp.asarray(validation)
    rows = ~held if where is None else jnp.asarray(where)
    return _fit(
        as_key(key),
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
    start = initial_weights(
        jax.random.fold_in(key, 0), space.shape[1], hidden, num_classes, data.x
    )
    start = layout.varying(start, data)

    def loss(weights: Weights) -> Float[Array, ""]:
        return _mean_loss(data, weights, batch_size, data.learned, data.held)

    alone, zero = data.held == 0, jnp.array(0, jnp.int32)
    kept = early_stopping.train(
        key,
        start,
        optimizer,
        partial(_epoch, data, optimizer, batch_size),
        loss,
        alone=alone,
        max_epochs=max_epochs,
        patience=patience,
    )
    weights: Weights = kept.weights
    count = jnp.where(alone, data.learned, 0)
    of_learned = _mean_loss(data, weights, batch_size, zero, count)
    best = Probe(*weights, jnp.where(alone, of_learned, kept.loss), kept.epoch)
    learned = (data.learned > 0) & jnp.isfinite(data.x).all()
    learned &= jnp.isfinite(data.targets).all()
    learned &= ~jnp.isinf(best.validation_loss)  # what it starts from
    learned_only = {
        name: jnp.where(learned, leaf, jnp.nan)
        for name, leaf in best._asdict().items()
        if name != "best_epoch"
    }
    return best._replace(**learned_only)


def _data(
    space: Array,
    labels: Array,
    num_classes: int,
    rows: Bool[Array, " N"],
    held: Bool[Array, " N"],
) -> _Data:
    either = rows | held
    x = arrays.keep(standardized(space), either)
    targets = one_hot(labels, num_classes, either).astype(x.dtype)
    order = jnp.argsort(jnp.where(rows, 0, jnp.where(held, 1, 2)))
    return _Data(x, targets, order, rows.sum(), held.sum())


def _shuffled(key: Array, data: _Data) -> _Data:
    """The rows to learn from in a random order of their own.

    A row's number in it depends on its place among the rows that count, and not on the
    others: with them dropped, or with more of them, training is the same.
    """
    number = jnp.arange(data.order.size)
    random = jax.random.uniform(key, number.shape)
    priority = jnp.where(number < data.learned, random, jnp.inf)
    return data._replace(order=data.order[jnp.argsort(priority)])


def _epoch(
    data: _Data,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    key: Array,
    weights: Weights,
    state: optax.OptState,
) -> tuple[Weights, optax.OptState]:
    """Adam once over the rows to learn from, in a random order."""
    shuffled = _shuffled(key, data)

    def gradient(weights: Weights, first: Array) -> Weights:
        size = jnp.minimum(batch_size, data.learned - first)
        total = jax.grad(_loss)(weights, shuffled, first, size, batch_size)
        return jax.tree.map(lambda leaf: leaf / size, total)

    return early_stopping.in_batches(
        gradient, weights, state, optimizer, data.learned, batch_size
    )


def _mean_loss(
    data: _Data,
    weights: Weights,
    batch_size: int,
    start: Int[Array, ""],
    count: Int[Array, ""],
) -> Float[Array, ""]:
    """Mean loss over `count` rows in order, NaN for none."""

    def add(i: Array, total: Array) -> Array:
        first = i * batch_size
        return total + _loss(weights, data, start + first, count - first, batch_size)

    steps = _num_batches(count, batch_size)
    zero = layout.varying(jnp.zeros((), data.x.dtype), weights, data)
    total = jax.lax.fori_loop(0, steps, add, zero)
    return arrays.safe_divide(total, count)


def _num_batches(count: Int[Array, ""], batch_size: int) -> Int[Array, ""]:
    return (count + batch_size - 1) // batch_size


def _loss(
    weights: Weights,
    data: _Data,
    first: Int[Array, ""],
    size: Int[Array, ""],
    batch_size: int,
) -> Float[Array, ""]:
    """Sum of the losses of `size` rows from the `first` in order."""
    number = jnp.arange(batch_size)
    # Beyond the last, some row or other, whose loss is not looked at.
    batch = data.order[jnp.minimum(first + number, data.order.size - 1)]
    losses = optax.softmax_cross_entropy(
        logits_of(weights, data.x[batch]), data.targets[batch]
    )
    return jnp.sum(jnp.where(number < size, losses, 0))


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
        arrays.check_disjoint("where", where, "validation", validation)
