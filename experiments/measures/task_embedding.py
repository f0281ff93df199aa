"""The control that knows the task: a trained task embedding.

It is trained with the probe.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jatlas._src import early_stopping

Weights = dict[str, jax.Array]

_ADAM = optax.adam(1e-3)


class Fitted(NamedTuple):
    """The classifier at its best epoch.

    Attributes:
        weights: of the task embeddings and of the two layers.
        scale: (), one unit of the task embeddings.
        best_epoch: (), from 0.
    """

    weights: Weights
    scale: jax.Array
    best_epoch: jax.Array


class _Data(NamedTuple):
    """What `fit` is given, and one unit of the task embeddings."""

    space: jax.Array
    labels: jax.Array
    where: jax.Array
    validation: jax.Array
    scale: jax.Array


@partial(jax.jit, static_argnames=("num_classes", "num_places", "hidden", "batch_size"))
def fit(
    key: jax.Array,
    space: jax.Array,
    labels: jax.Array,
    num_classes: int,
    num_places: int,
    *,
    where: jax.Array,
    validation: jax.Array,
    hidden: int = 256,
    batch_size: int = 128,
    max_epochs: int = 100,
    patience: int = 10,
) -> Fitted:
    """Train a probe and task embeddings together from the labels.

    The probe is that of `jatlas.fit_probe` (rows standardised each by itself, linear,
    ReLU, linear; Adam, early stopping), on the embedding with the mean of the sample's
    own task embeddings beside it. They are given row by row: the published
    control with the task's one-hot looked its table up by the task's number, not by the
    row, and so seems to have given every row the same task. A task embedding is as long
    as an embedding is on the average when it is drawn, and as wide: like the one-hot of
    the other control, it must count beside it.

    Args:
        key: a JAX key.
        space: (R, D + T), the embeddings, and beside them the shares of T tasks in the
            sample of the row, which sum to 1 (`protocols.oracle_spaces`).
        labels: (R,).
        num_classes: C.
        num_places: T.
        where: (R,), the rows to learn from.
        validation: (R,), the rows to stop by; if none, all epochs are run.
        hidden: width of the hidden layer.
        batch_size: rows a step.
        max_epochs: the most epochs.
        patience: stop when the validation loss has not fallen for so many epochs.

    Returns:
        The classifier; NaN where a row to learn from is.
    """
    space = jnp.where((where | validation)[:, None], space, 0)
    data = _Data(space, labels, where, validation, _scale(space, where, num_places))
    start = _initial(
        jax.random.fold_in(key, 0), space.shape[1], num_places, hidden, num_classes
    )

    best = early_stopping.train(
        key,
        start,
        _ADAM,
        partial(_epoch, data, batch_size),
        lambda w: jnp.sum(jnp.where(validation, _losses(w, data, slice(None)), 0)),
        alone=~validation.any(),
        max_epochs=max_epochs,
        patience=patience,
    )
    learned = where.any() & jnp.isfinite(space).all()
    learned &= jnp.isfinite(best.loss) | ~validation.any()
    weights = jax.tree.map(lambda leaf: jnp.where(learned, leaf, jnp.nan), best.weights)
    return Fitted(weights, data.scale, best.epoch)


@jax.jit
def logits(fitted: Fitted, space: jax.Array) -> jax.Array:
    """(R, C), for rows made as those of the fit."""
    return _logits(fitted.weights, fitted.scale, space)


def _epoch(
    data: _Data,
    batch_size: int,
    key: jax.Array,
    weights: Weights,
    moments: optax.OptState,
) -> tuple[Weights, optax.OptState]:
    """A step per batch of training rows, in random order."""
    drawn = jax.random.uniform(key, data.where.shape)
    order = jnp.argsort(jnp.where(data.where, drawn, 2))  # the others last
    count = jnp.sum(data.where)

    def gradient(weights: Weights, first: jax.Array) -> Weights:
        number = first + jnp.arange(batch_size)
        chosen, real = order[jnp.minimum(number, count - 1)], number < count

        def loss(weights: Weights) -> jax.Array:
            return jnp.sum(_losses(weights, data, chosen) * real) / jnp.sum(real)

        return jax.grad(loss)(weights)

    return early_stopping.in_batches(
        gradient, weights, moments, _ADAM, count, batch_size
    )


def _losses(weights: Weights, data: _Data, chosen: jax.Array | slice) -> jax.Array:
    logits = _logits(weights, data.scale, data.space[chosen])
    return optax.softmax_cross_entropy_with_integer_labels(logits, data.labels[chosen])


def _scale(space: jax.Array, where: jax.Array, num_places: int) -> jax.Array:
    """The root mean square of the embeddings' features."""
    embedding = jnp.where(where[:, None], space[:, :-num_places], 0)
    count = jnp.maximum(jnp.sum(where), 1) * embedding.shape[1]
    return jnp.sqrt(jnp.sum(embedding**2) / count)


def _logits(weights: Weights, scale: jax.Array, space: jax.Array) -> jax.Array:
    num_places = len(weights["tasks"])
    embedding, shares = space[:, :-num_places], space[:, -num_places:]
    x = jnp.concatenate([embedding, scale * (shares @ weights["tasks"])], axis=1)
    x = x - jnp.mean(x, axis=1, keepdims=True)
    x = x * jax.lax.rsqrt(jnp.mean(x**2, axis=1, keepdims=True) + 1e-5)
    hidden = jax.nn.relu(x @ weights["hidden_kernel"] + weights["hidden_bias"])
    return hidden @ weights["kernel"] + weights["bias"]


def _initial(
    key: jax.Array, width: int, num_places: int, hidden: int, num_classes: int
) -> Weights:
    """Task embeddings of variance 1; layers uniform within 1 / sqrt(fan-in)."""
    features = width - num_places
    sizes = {
        "tasks": ((num_places, features), np.sqrt(3)),
        "hidden_kernel": ((2 * features, hidden), 1 / np.sqrt(2 * features)),
        "hidden_bias": ((hidden,), 1 / np.sqrt(2 * features)),
        "kernel": ((hidden, num_classes), 1 / np.sqrt(hidden)),
        "bias": ((num_classes,), 1 / np.sqrt(hidden)),
    }
    ends = np.cumsum([np.prod(shape) for shape, _ in sizes.values()])
    drawn = jax.random.uniform(key, (int(ends[-1]),), minval=-1, maxval=1)
    parts = jnp.split(drawn, ends[:-1])
    return {
        name: np.float32(bound) * part.reshape(shape)
        for part, (name, (shape, bound)) in zip(parts, sizes.items(), strict=True)
    }
