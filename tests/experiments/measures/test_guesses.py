"""A row of logits with NaN is of no class, and so never right."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.measures import guesses

NAN = np.nan
LOGITS = np.float32(
    [[3, 1, 2], [1, 2, 5], [NAN, NAN, NAN], [9, NAN, 1], [0, 0, 0], [-9, 0, -np.inf]]
)
EXPECTED = [0, 2, -1, -1, 0, 1]


@pytest.mark.parametrize("of", [np.asarray, jnp.asarray], ids=["numpy", "jax"])
def test_the_largest_logit_is_the_guess_and_nan_is_none(of):
    found = guesses.likely(of(LOGITS))
    assert isinstance(found, type(of(LOGITS)))
    assert found.tolist() == EXPECTED


def test_it_is_the_same_when_compiled():
    assert jax.jit(guesses.likely)(LOGITS).tolist() == EXPECTED


def test_an_accuracy_is_nan_of_no_rows_and_where_there_is_no_guess():
    guess, labels = np.array(EXPECTED), np.array([0, 1, 0, 0, 0, 1])
    known = guess >= 0
    assert guesses.accuracy(guess, labels, known) == 0.75
    assert np.isnan(guesses.accuracy(guess, labels, known | (np.arange(6) == 2)))
    assert np.isnan(guesses.accuracy(guess, labels, np.zeros(6, bool)))
