import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jatlas._src.pairs import tiles


def exactly(x, y):
    return np.sum((np.float64(x)[:, None] - np.float64(y)) ** 2, axis=-1)


@pytest.mark.parametrize("features", [1, 20])
def test_squares_of_near_and_far_rows_keep_their_digits(features):
    rng = np.random.default_rng(0)
    x = np.float32(1e4 + rng.normal(size=(48, features)))
    x[1] = x[0]
    x[2] = np.nextafter(x[0], np.float32(0))
    squares = tiles.squares(*map(jnp.asarray, (x, x[:16], x[0])))
    np.testing.assert_allclose(squares, exactly(x, x[:16]), rtol=2e-6)
    assert squares[1, 0] == 0 < squares[2, 0]


def test_derivatives_of_squares_far_from_the_origin():
    rng = np.random.default_rng(0)
    x, y = (np.float32(1e4 + rng.normal(size=(n, 3))) for n in (32, 16))
    weights = np.float32(rng.normal(size=(32, 16)))
    middle = jnp.mean(x, axis=0)
    grads = jax.grad(lambda *s: jnp.vdot(weights, tiles.squares(*s, middle)), (0, 1))
    apart = 2 * weights[..., None] * (np.float64(x)[:, None] - y)
    for grad, exact in zip(
        grads(*map(jnp.asarray, (x, y))), (apart.sum(1), -apart.sum(0)), strict=True
    ):
        np.testing.assert_allclose(grad, exact, atol=2e-5)


@pytest.mark.parametrize("n", [0, 5, 70, 300])
def test_a_sweep_meets_every_pair_once_and_in_order(n, monkeypatch):
    monkeypatch.setattr(tiles, "ROWS", 64)
    monkeypatch.setattr(tiles, "COLUMNS", 16)
    rows = np.arange(n) % 7 > 0
    x = np.float32(np.arange(n) % 5)[:, None]

    def tile(group, block):
        pairs = tiles.pairs_of(group, block, distinct=True)
        return jnp.sum(jnp.where(pairs, group.spaces[0] + 1, 0), axis=0)

    swept = tiles.sweep(tile, tiles.samples_of([jnp.asarray(x)], jnp.asarray(rows)))
    whole = np.sum(x[rows] + 1)
    np.testing.assert_array_equal(
        swept.ravel()[:n], np.where(rows, whole - x[:, 0] - 1, 0)
    )
    assert not swept.ravel()[n:].any()
