"""Intervals from half samples: what is drawn, and how often they hold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jatlas.metrics import bootstrap_interval, mutual_neighbors


def product(x, y):
    return (x[:, 0] * y[:, 0]).mean()


def test_draws_are_of_halves_without_repetition():
    x = (2.0 ** np.arange(8))[:, None].astype(np.float32)
    key = jax.random.key(0)

    def total(x, y):
        return x.sum()

    interval = bootstrap_interval(key, total, x, x, draws=20)
    bits = [bin(int(draw)).count("1") for draw in interval.draws]
    assert bits == [4] * 20
    assert len({int(draw) for draw in interval.draws}) > 10
    assert interval.value == 255
    spread = np.float64(interval.draws) - np.mean(interval.draws)
    ends = 255 - np.quantile(spread, (0.975, 0.025))
    np.testing.assert_allclose((interval.low, interval.high), ends, rtol=1e-5)


def test_intervals_hold_as_often_as_they_say():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 60, 1)).astype(np.float32)
    y = x + rng.normal(size=x.shape).astype(np.float32)
    each = jax.vmap(
        lambda key, x, y: bootstrap_interval(key, product, x, y, draws=100, level=0.8)
    )
    found = each(jax.random.split(jax.random.key(1), 400), x, y)
    holds = np.mean((found.low <= 1) & (found.high >= 1))
    # 400 intervals of 80 %: 4 standard deviations, and what 60 skewed samples cost.
    assert abs(holds - 0.8) < 4 * np.sqrt(0.16 / 400)


@pytest.mark.slow
def test_intervals_of_neighbours_hold_as_often_as_they_say():
    """With replacement they would not: a sample would be its own neighbour."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(200, 100, 4))
    x, y = (np.float32(hidden + 0.5 * rng.normal(size=hidden.shape)) for _ in range(2))

    def shared(x, y):
        return mutual_neighbors(x, y, max(1, len(x) // 10), similarity="euclidean")

    each = jax.vmap(
        lambda key, x, y: bootstrap_interval(key, shared, x, y, draws=60, level=0.8)
    )
    found = each(jax.random.split(jax.random.key(1), 200), x, y)
    truth = np.mean(found.value)
    holds = np.mean((found.low <= truth) & (found.high >= truth))
    assert abs(holds - 0.8) < 4 * np.sqrt(0.16 / 200)


def test_what_gives_no_interval_is_refused():
    x, key = np.ones((6, 1), np.float32), jax.random.key(0)
    with pytest.raises(ValueError, match="draws must be a whole number of 2 or more"):
        bootstrap_interval(key, product, x, x, draws=1)
    with pytest.raises(ValueError, match="4 samples or more, got 3"):
        bootstrap_interval(key, product, x[:3], x[:3])
    with pytest.raises(ValueError, match=r"level must lie between 0 and 1, got 1\.5"):
        bootstrap_interval(key, product, x, x, level=1.5)


def masked_product(x, y, where):
    return jnp.where(where, x[:, 0] * y[:, 0], 0).sum() / jnp.sum(where)


def test_halves_are_of_the_samples_that_count():
    rng = np.random.default_rng(0)
    x = np.float32(2.0 ** np.arange(12))[:, None]
    y = np.ones((12, 1), np.float32)
    where = np.arange(12) % 4 > 0  # nine of them
    y[~where] = np.nan

    def total(x, y, where):
        return jnp.where(where, x[:, 0] * y[:, 0], 0).sum()

    found = bootstrap_interval(jax.random.key(0), total, x, y, draws=20, where=where)
    bits = np.array([[int(draw) >> n & 1 for n in range(12)] for draw in found.draws])
    assert (bits.sum(axis=1) == 4).all()
    assert not bits[:, ~where].any()
    assert (bits[:, where].mean(axis=0) > 0.1).all()
    assert found.value == x[where].sum()
    x, y = rng.normal(size=(2, 12, 1)).astype(np.float32)
    few = np.arange(12) < 3
    short = bootstrap_interval(jax.random.key(0), masked_product, x, y, where=few)
    assert np.isnan(short.low)
    assert np.isnan(short.high)
    assert np.isfinite(short.value)
