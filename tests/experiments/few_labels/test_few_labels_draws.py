"""Labels are drawn as many of every class, fewer being a part of more."""

import numpy as np
import pytest

from experiments.few_labels import draws

LABELS = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [40, 25, 30]))
WHERE = np.arange(LABELS.size) % 5 != 0


@pytest.mark.parametrize("count", [1, 3, 15])
def test_every_class_has_as_many_labels_of_different_samples(count):
    orders = draws.orders(3, 4, WHERE)
    found = draws.balanced(orders, LABELS, count)
    assert found.shape == (4, 3 * count)
    assert WHERE[found].all()
    for draw in found:
        np.testing.assert_array_equal(np.bincount(LABELS[draw]), [count] * 3)
        assert np.unique(draw).size == draw.size
    assert len({tuple(sorted(draw)) for draw in found}) == 4


def test_fewer_labels_are_a_part_of_more():
    orders = draws.orders(3, 4, WHERE)
    few, more = (draws.balanced(orders, LABELS, count) for count in (2, 9))
    for a, b in zip(few, more, strict=True):
        assert set(a) < set(b)


def test_the_first_draws_are_the_same_for_every_number_of_draws():
    np.testing.assert_array_equal(
        draws.orders(3, 2, WHERE), draws.orders(3, 5, WHERE)[:2]
    )
    assert np.any(draws.orders(3, 2, WHERE) != draws.orders(4, 2, WHERE))


def test_an_order_holds_every_sample_once():
    for order in draws.orders(0, 3, WHERE):
        np.testing.assert_array_equal(np.sort(order), np.flatnonzero(WHERE))
