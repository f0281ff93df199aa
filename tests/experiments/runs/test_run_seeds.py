"""Every stream of random numbers is another one."""

from itertools import combinations

import jax
import numpy as np

from experiments.runs import seeds

NAMED = {name: value for name, value in vars(seeds).items() if name.isupper()}
WORDS = {name: value for name, value in NAMED.items() if isinstance(value, tuple)}
NUMBERS = {name: value for name, value in NAMED.items() if isinstance(value, int)}


def test_no_two_streams_are_alike():
    assert len(WORDS) >= 6
    assert len(NUMBERS) >= 5
    for one, other in combinations(WORDS.values(), 2):
        assert not np.array_equal(
            seeds.rng(0, one).random(5), seeds.rng(0, other).random(5)
        )
    key = jax.random.key(0)
    keys = [seeds.fold(key, number) for number in NUMBERS.values()]
    of_a_seed = {seeds.CLASSIFIERS, seeds.PUBLIC_OF_CLIENTS, seeds.HEADS}
    charts = [jax.random.fold_in(key, m) for m in range(20) if m not in of_a_seed]
    data = [tuple(jax.random.key_data(k).tolist()) for k in [*keys, *charts]]
    assert len(set(data)) == len(data)


def test_the_streams_are_those_of_all_results_so_far():
    expected = np.random.default_rng([4, 3, 1]).random(3)
    np.testing.assert_array_equal(seeds.rng(4, seeds.CUT_ROWS).random(3), expected)
    key = jax.random.key(4)
    for stream, number in ((seeds.ANCHORS, 2**31), (seeds.CLASSIFIERS, 7)):
        found = jax.random.key_data(seeds.fold(key, stream))
        wanted = jax.random.key_data(jax.random.fold_in(key, number))
        np.testing.assert_array_equal(found, wanted)
