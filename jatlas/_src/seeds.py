"""Keys and seeds for what is drawn on the host, in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np

from jatlas._src import arrays

Seed = int | np.integer | jax.Array

_SEEDS = 2**32


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


def as_key(key: Seed) -> jax.Array:
    """A JAX key from an integer seed; a key unchanged.

    Raises:
        ValueError: if this is neither, or the seed is not from 0 to 2**32 - 1.

    Example:
        >>> bool(as_key(7) == jax.random.key(7))
        True
    """
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return key
    traced = isinstance(key, jax.core.Tracer)
    given = key if isinstance(key, jax.core.Tracer) else np.asarray(key)
    if given.ndim > 0 and given.dtype == np.uint32:  # words, as of jax.random.PRNGKey
        return jnp.asarray(key)
    is_seed = given.ndim == 0 and jnp.issubdtype(given.dtype, jnp.integer)
    if not is_seed or (not traced and not 0 <= given < _SEEDS):
        raise ValueError(
            "key must be a JAX key, such as jax.random.key(0), or an integer seed of 0 "
            f"or more, below 2**32, of which JAX keeps all digits; got {key!r}."
        )
    return jax.random.key(key if traced else int(given))
