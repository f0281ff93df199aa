import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jatlas import chunks

X = jnp.arange(60.0).reshape(3, 20)
Y = jnp.arange(20.0)


def combined(samples):
    x, y = samples
    return jnp.stack([x.sum(axis=0), x[0] * y, y], axis=1)


@pytest.mark.parametrize("size", [1, 3, 5, 10, 13, 20])
def test_every_row_is_made_whatever_the_size(size):
    expected = np.stack([X.sum(axis=0), X[0] * Y, Y], axis=1)
    got = chunks.map_samples(combined, (X, Y), (1, 0), size)
    np.testing.assert_allclose(got, expected)


@pytest.mark.parametrize("size", [5, 7])
def test_nothing_is_made_of_all_rows_but_the_result(size, largest_array):
    x = jnp.zeros((2000, 8))

    def wide(x):
        return jnp.sum(jnp.exp(x[:, :, None] + jnp.zeros(50)), axis=(1, 2))

    def function(x):
        return chunks.map_samples(wide, x, 0, size * 100)

    assert largest_array(wide, x) == 2000 * 8 * 50
    assert largest_array(function, x) <= max(size * 100 * 8 * 50, 2000 * 8)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**7), st.integers(1, 5000))
def test_a_size_divides_or_is_for_one_device(num_samples, rows):
    size = chunks.chunk_size(num_samples, rows)
    assert 0 <= size <= num_samples
    if size not in (num_samples, rows):
        assert num_samples % size == 0
        assert rows / 4 <= size <= 2 * rows


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([2, 4]), st.integers(1, 3000))
def test_what_lies_evenly_on_devices_is_cut_evenly(devices, rows_each):
    num_samples = devices * rows_each
    size = chunks.chunk_size(num_samples, 512)
    assert num_samples % size == 0
    assert size % devices == 0


def test_all_at_once_where_a_chunk_would_be_sent_around():
    assert jax.device_count() > 1
    prime = 1_000_003
    assert chunks.chunk_size(2 * prime, 512) == 2 * prime
    assert chunks.chunk_size(prime, 512) == 512
