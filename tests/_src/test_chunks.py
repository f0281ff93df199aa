import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, PartitionSpec

from jatlas._src import chunks

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


@pytest.mark.usefixtures("devices")
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float8_e4m3fn"])
@pytest.mark.parametrize("size", [5, 7])
def test_narrow_samples_are_as_they_are_and_have_gradients(dtype, size):
    x, y = X.astype(dtype), Y.astype(dtype)

    def chunked(x, y, size=size):
        return chunks.map_samples(combined, (x, y), (1, 0), size)

    whole = partial(chunked, size=20)
    np.testing.assert_array_equal(
        np.asarray(chunked(x, y), np.float32), np.asarray(whole(x, y), np.float32)
    )
    got, expected = (
        jax.grad(lambda *xy, f=f: jnp.sum(f(*xy).astype(jnp.float32)), (0, 1))(x, y)
        for f in (chunked, whole)
    )
    for one, other in zip(got, expected, strict=True):
        assert one.dtype == dtype
        np.testing.assert_allclose(
            np.asarray(one, np.float32), np.asarray(other, np.float32), rtol=0.1
        )
    many = jax.vmap(chunked)(jnp.stack([x, x + x]), jnp.stack([y, y]))
    np.testing.assert_array_equal(
        np.asarray(many[1], np.float32), np.asarray(whole(x + x, y), np.float32)
    )


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
def test_a_size_is_near_what_is_wanted_and_the_same_of_every_group(num_samples, rows):
    size = chunks.chunk_size(num_samples, rows)
    assert 0 <= size <= num_samples
    groups = math.gcd(num_samples, jax.device_count())
    if size != num_samples:
        assert size % groups == 0
        assert min(rows / 4, groups) <= size <= max(2 * rows, groups)
        divisors = [n for n in range(groups, 2 * rows + 1, groups) if 4 * n >= rows]
        possible = any(num_samples % n == 0 for n in divisors)
        assert not possible or num_samples % size == 0


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([2, 4]), st.integers(1, 3000))
def test_what_lies_evenly_on_devices_is_cut_evenly(devices, rows_each):
    size = chunks.chunk_size(devices * rows_each, 512)
    assert size % devices == 0


@pytest.mark.parametrize("num_samples", [2 * 1009, 4 * 503, 1009, 2000])
def test_no_number_of_samples_is_taken_all_at_once(num_samples):
    x = jnp.arange(3.0 * num_samples).reshape(3, num_samples)
    size = chunks.chunk_size(num_samples, 100)
    assert size <= 200
    of_chunks = []

    def function(x):
        of_chunks.append(x.shape)
        return (x.sum(axis=0) ** 2)[:, None]

    got = chunks.map_samples(function, x, 1, size)
    assert set(of_chunks) == {(3, size)}
    np.testing.assert_array_equal(got, function(x))


def test_in_shard_map_a_device_has_but_its_own_rows():
    mesh = jax.make_mesh((4,), ("samples",), axis_types=(AxisType.Auto,))
    rows = PartitionSpec("samples")
    sizes = []

    def each(x):
        sizes.append(chunks.chunk_size(len(x), 7))
        return chunks.map_samples(lambda x: 2 * x, x, 0, sizes[0])

    x = jnp.arange(4.0 * 21)
    mapped = jax.shard_map(each, mesh=mesh, in_specs=rows, out_specs=rows)
    np.testing.assert_array_equal(jax.jit(mapped)(x), 2 * x)
    assert sizes == [7]


@pytest.mark.parametrize("num_samples", [0, 1, 5, 255, 256, 257, 300, 1000])
def test_padded_chunks_give_each_sample_its_own_row(num_samples):
    samples = jnp.arange(3.0 * num_samples).reshape(num_samples, 3)
    result = chunks.map_padded(lambda rows: rows[0] * rows[1], (samples, samples))
    np.testing.assert_array_equal(result, samples**2)


def test_rows_of_pairs_are_fewer_for_more_samples_but_never_few():
    counts = [chunks.pair_rows(n) for n in (0, 1, 2**14, 2**15, 2**17, 2**30)]
    assert counts == [256, 256, 256, 128, 32, 16]
