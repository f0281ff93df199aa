"""What a key or a seed gives, and what is neither."""

import jax
import numpy as np
import pytest

from jatlas._src.seeds import as_key, generator


def draw(key):
    return generator(key).random(4).tolist()


def test_a_key_is_its_draws_and_others_have_others():
    keys = jax.random.split(jax.random.key(0), 2)
    assert draw(keys[0]) == draw(keys[0]) == draw(jax.random.key_data(keys[0]))
    assert draw(keys[0]) != draw(keys[1])
    assert draw(7) == draw(np.int64(7)) == np.random.default_rng(7).random(4).tolist()
    assert draw(7) != draw(8)


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_key_is_refused():
    with pytest.raises(ValueError, match=r"expected one JAX key, got keys \(3,\)"):
        generator(jax.random.split(jax.random.key(0), 3))
    with pytest.raises(
        ValueError,
        match=r"one JAX key, or one integer seed of 0 or more, got uint32\(3, 2\)",
    ):
        generator(jax.random.key_data(jax.random.split(jax.random.key(0), 3)))
    with pytest.raises(
        ValueError, match=r"one integer seed of 0 or more, got int64.*-1"
    ):
        generator(-1)
    with pytest.raises(ValueError, match="one integer seed of 0 or more, got float64"):
        generator(0.5)
    with pytest.raises(
        ValueError, match=r"one integer seed of 0 or more, got object.*None"
    ):
        generator(None)


def test_a_seed_is_a_key_and_a_key_stays():
    key = jax.random.key(7)
    assert as_key(key) is key
    words = jax.random.PRNGKey(7)
    assert as_key(words) is words
    for seed in (7, np.int64(7), jax.numpy.array(7)):
        assert as_key(seed) == key
    assert jax.jit(as_key)(7) == key


@pytest.mark.usefixtures("unchecked")
def test_the_words_of_a_key_are_a_key_in_numpy_too():
    words = jax.random.PRNGKey(7)
    assert as_key(np.asarray(words)).tolist() == words.tolist()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "seed", [-1, 0.5, True, 2**32, "a", np.array([0.5, 1.0]), np.array([1, 2, 3])]
)
def test_what_is_neither_names_a_key(seed):
    with pytest.raises(ValueError, match=r"such as jax\.random\.key\(0\), .* got"):
        as_key(seed)
