"""Tiles with each pair once, against all pairs in NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest

from jatlas._src.pairs import halves, tiles

pytestmark = pytest.mark.usefixtures("devices", "small_tiles")


@pytest.fixture
def small_tiles(monkeypatch):
    for module in (tiles, halves):
        monkeypatch.setattr(module, "ROWS", 64)
        monkeypatch.setattr(module, "COLUMNS", 16)


def drawn(n):
    rng = np.random.default_rng(n)
    rows = np.arange(n) % 7 > 0
    x = np.float32(rng.integers(-4, 5, (n, 3)))
    return x, rows, tiles.samples_of([jnp.asarray(x)], jnp.asarray(rows))


@pytest.mark.parametrize("distinct", [True, False])
@pytest.mark.parametrize("n", [0, 1, 5, 64, 70, 300])
def test_weights_of_a_symmetric_function_stand_for_all_pairs(n, distinct):
    x, rows, samples = drawn(n)

    def tile(group, block, weights):
        return jnp.sum(weights * (group.spaces[0] @ block.spaces[0].T))

    got = jnp.sum(halves.sweep(tile, samples, distinct))
    gram = (x @ x.T)[rows][:, rows]
    expected = gram.sum() - (np.trace(gram) if distinct else 0)
    assert float(got) == expected  # whole numbers: exact


@pytest.mark.parametrize("n", [0, 1, 5, 64, 70, 300])
def test_row_sums_are_those_of_whole_matrices(n):
    x, rows, samples = drawn(n)

    def tile(group, block):
        product = group.spaces[0] @ block.spaces[0].T
        once = jnp.where(tiles.pairs_of(group, block), product, 0)
        return [once, 2 * once], [once**2, 4 * once**2, once]

    (once, twice), totals = halves.row_sums(tile, samples)
    gram = np.where(rows[:, None] & rows, x @ x.T, 0)
    np.testing.assert_array_equal(once, gram.sum(axis=0))
    np.testing.assert_array_equal(twice, 2 * gram.sum(axis=0))
    square = np.sum(gram**2)
    np.testing.assert_allclose(totals, [square, 4 * square, gram.sum()], rtol=1e-6)


def test_about_half_of_the_pairs_are_made_on_one_device(devices):
    _, _, samples = drawn(640)
    counts = halves.sweep(
        lambda group, block, weights: jnp.float32(weights.size), samples, True
    )
    share = float(jnp.sum(counts)) / 640**2
    assert share == pytest.approx(1 if devices == "several devices" else 0.55, abs=0.01)
