"""Keys and seeds for what is drawn on the host, in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np

from jatlas._src import arrays

Seed = int | np.integer | jax.Array


def generator(key: Seed) -> np.random.Generator:
    """A NumPy generator from an integer seed or a JAX key.

    Raises:
        ValueError: if the seed is negative, or this is not one key, or JAX traces it.

    Example:
        >>> bool(generator(7).random() == generator(7).random())
        True
    """
    arrays.check_on_host("a draw in NumPy", key=key)
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        if key.ndim > 0:
            raise ValueError(f"expected one JAX key, got keys {key.shape}; index them.")
        key = jax.random.key_data(key)
    words = np.asarray(key)
    if (
        not np.issubdtype(words.dtype, np.integer)
        or words.ndim > 1
        or (words < 0).any()
    ):
        raise ValueError(
            "expected one JAX key, or one integer seed of 0 or more, got "
            f"{words.dtype}{words.shape}: {words.tolist()}."
        )
    return np.random.default_rng(words.tolist())
