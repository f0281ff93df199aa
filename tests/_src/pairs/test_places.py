"""Places among sorted numbers are those of a binary search."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jatlas._src.pairs import places


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_places_are_those_of_searchsorted(dtype):
    rng = np.random.default_rng(0)
    with jax.enable_x64(dtype is np.float64):
        values = np.exp(4 * rng.normal(size=500)).astype(dtype)
        values[:100] = np.round(values[:100])  # zeros, and others that are equal
        cases = {
            "spread": values,
            "one far away": np.append(1 + 1e-4 * rng.random(500), 1e9).astype(dtype),
            "all equal": np.full(40, 2, dtype),
            "one": values[:1],
            "none": values[:0],
        }
        for name, edges in cases.items():
            ordered = places.ascending(jnp.asarray(edges))
            np.testing.assert_array_equal(ordered, np.sort(edges), err_msg=name)
            asked = np.concatenate([values, edges, [0, 2, np.inf]]).astype(dtype)
            expected = np.searchsorted(np.sort(edges), asked, side="right")
            padded = jnp.append(ordered, jnp.full(7, jnp.inf, dtype))
            for some in (ordered, padded):
                given = jax.jit(lambda e, v: places.finder(e)(v))(some, asked)
                np.testing.assert_array_equal(given, expected, err_msg=name)
