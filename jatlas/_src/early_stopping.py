"""Training in epochs and batches, early stopping inside one compiled program."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from jatlas._src import layout

Weights = Any  # a pytree of arrays


class Best(NamedTuple):
    """The epoch that was kept.

    Attributes:
        weights: after it.
        loss: (), by which it was kept; infinite if none had a finite one.
        epoch: (), counted from 0.
    """

    weights: Weights
    loss: Float[Array, ""]
    epoch: Int[Array, ""]


class _Run(NamedTuple):
    """What an epoch changes."""

    weights: Weights
    optimizer: optax.OptState
    best: Best
    epoch: Int[Array, ""]


def train(
    key: Array,
    start: Weights,
    optimizer: optax.GradientTransformation,
    epoch: Callable[[Array, Weights, optax.OptState], tuple[Weights, optax.OptState]],
    loss: Callable[[Weights], Float[Array, ""]],
    *,
    alone: Bool[Array, ""],
    max_epochs: int | Int[Array, ""],
    patience: int | Int[Array, ""],
) -> Best:
    """Train until the loss stops falling; keep the best weights.

    Args:
        key: a JAX key; each epoch has one of its own.
        start: the weights before the first epoch.
        optimizer: its state begins anew.
        epoch: (key, weights, state of the optimizer) to both after an epoch.
        loss: by which training stops.
        alone: whether there is nothing to stop by, so that the last epoch is kept.
        max_epochs: the most epochs.
        patience: for how many epochs the loss may not fall.
    """

    def go_on(run: _Run) -> Array:
        waited = run.epoch - 1 - run.best.epoch
        return (run.epoch < max_epochs) & (waited < patience)

    def one(run: _Run) -> _Run:
        epoch_key = jax.random.fold_in(key, run.epoch + 1)
        weights, state = epoch(epoch_key, run.weights, run.optimizer)
        latest = Best(weights, loss(weights), run.epoch)
        better = (latest.loss < run.best.loss) | alone
        best = jax.tree.map(partial(jnp.where, better), latest, run.best)
        return _Run(weights, state, best, run.epoch + 1)

    zero = jnp.array(0, jnp.int32)
    infinite = jnp.array(jnp.inf, jax.eval_shape(loss, start).dtype)
    run = _Run(start, optimizer.init(start), Best(start, infinite, zero), zero)
    run = layout.varying(run, alone)
    return jax.lax.while_loop(go_on, one, run).best


def in_batches(
    gradient: Callable[[Weights, Int[Array, ""]], Weights],
    weights: Weights,
    state: optax.OptState,
    optimizer: optax.GradientTransformation,
    count: Int[Array, ""],
    batch_size: int,
) -> tuple[Weights, optax.OptState]:
    """A step of the optimizer for each batch of rows.

    Args:
        gradient: (weights, number of a batch's first row) to the gradient.
        weights: before.
        state: of the optimizer.
        optimizer: what takes the steps.
        count: (), how many rows there are.
        batch_size: of these in a batch.
    """

    def step(
        i: Array, carry: tuple[Weights, optax.OptState]
    ) -> tuple[Weights, optax.OptState]:
        weights, state = carry
        update, state = optimizer.update(gradient(weights, i * batch_size), state)
        return optax.apply_updates(weights, update), state

    steps = (count + batch_size - 1) // batch_size
    return jax.lax.fori_loop(0, steps, step, (weights, state))
