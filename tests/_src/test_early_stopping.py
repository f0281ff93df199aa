"""The loop of all probes, beside a plain one in NumPy on a single number."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jatlas._src import early_stopping

ROWS = np.array([0.5, 2.0, -1.0, 3.0, 1.5], np.float32)
RATE, BATCH = 0.125, 2


def batch_gradient(weight, first):
    """Of half the mean squared distance to the rows of a batch, the last one shorter"""
    size = jnp.minimum(BATCH, len(ROWS) - first)
    number = jnp.arange(BATCH)
    rows = jnp.asarray(ROWS)[jnp.minimum(first + number, len(ROWS) - 1)]
    return jnp.where(number < size, weight - rows, 0).sum() / size


def trained(losses, *, alone=False, max_epochs=6, patience=2):
    """The best epoch, where the loss after each epoch is given."""
    optimizer = optax.chain(optax.sgd(RATE), optax.scale_by_schedule(lambda count: 1))

    def epoch(key, weight, state):
        return early_stopping.in_batches(
            batch_gradient, weight, state, optimizer, jnp.array(len(ROWS)), BATCH
        )

    reached = [8.0]
    for _ in losses:
        weight = reached[-1]
        for first in range(0, len(ROWS), BATCH):
            weight -= RATE * (weight - ROWS[first : first + BATCH].mean())
        reached.append(weight)
    after, given = jnp.array(reached[1:]), jnp.array(losses)
    best = early_stopping.train(
        jax.random.key(0),
        jnp.array(8.0),
        optimizer,
        epoch,
        lambda weight: given[jnp.argmin(jnp.abs(after - weight))],
        alone=jnp.array(alone),
        max_epochs=max_epochs,
        patience=patience,
    )
    return best, reached


@pytest.mark.parametrize(
    ("losses", "kept"),
    [
        ([5, 4, 3, 2, 1, 0], 5),
        ([5, 4, 6, 6, 0, 0], 1),  # has waited for two epochs after the second
        ([5, 4, 6, 3, 6, 6], 3),
        ([5, 5, 5, 0, 0, 0], 0),  # as good is not better
        ([np.nan, 2, 3, 4, 0, 0], 1),
    ],
)
def test_the_best_epoch_is_kept_and_patience_ends_it(losses, kept):
    best, reached = trained(np.float32(losses))
    assert int(best.epoch) == kept
    assert float(best.loss) == losses[kept]
    np.testing.assert_allclose(best.weights, reached[kept + 1], rtol=1e-6)


def test_with_nothing_to_stop_by_the_last_epoch_is_kept():
    best, reached = trained(np.float32([1, 2, 3, 4, 5, 6]), alone=True)
    assert int(best.epoch) == 5
    np.testing.assert_allclose(best.weights, reached[-1], rtol=1e-6)


def test_with_no_finite_loss_the_start_is_left_and_the_loss_infinite():
    best, _ = trained(np.float32([np.nan] * 6))
    assert np.isinf(best.loss)
    assert float(best.weights) == 8.0
