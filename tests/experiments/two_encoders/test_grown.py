"""A few known pairs: who is dealt to what, and what grown pairs are worth."""

import numpy as np
import pytest

from experiments.two_encoders.pairs import PairOptions, check
from experiments.two_encoders.tables import grown

KNOWN, UNPAIRED, NUM = 6, 40, 120


def test_uses_are_disjoint_and_the_unpaired_are_the_same_for_all_numbers():
    few, many = (grown.deal(NUM, 12, UNPAIRED, number, 0) for number in (KNOWN, 12))
    assert sorted(np.concatenate(many)) == list(range(NUM))
    np.testing.assert_array_equal(few.known, many.known[:KNOWN])
    for one, other in zip(few[1:], many[1:], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def rows():
    """Of a chart and a turned and noisy copy of it."""
    rng = np.random.default_rng(0)
    one = rng.normal(size=(NUM, 12))
    turn = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    other = (one + 0.4 * rng.normal(size=one.shape)) @ turn + 3
    dealt = grown.deal(NUM, KNOWN, UNPAIRED, KNOWN, 0)
    cell = {"table": "grown", "pair": "images", "num_anchors": KNOWN, "seed": 0}
    return [cell | row for row in grown.rows([one, other], dealt, 0)]


def values(rows, metric):
    return {r["method"]: r["value"] for r in rows if r["metric"] == metric}


@pytest.mark.parametrize("metric", grown.SPACES)
def test_the_same_samples_unpaired_are_nearly_as_good_as_paired(rows, metric):
    found = values(rows, metric)
    assert set(found) == set(grown.TITLES)
    assert found["stopped"] < found["grown_same"]
    assert found["grown_same"] > 0.9 * found["everything"]
    assert all(0 < value <= 1 for value in found.values())


def test_pairs_are_counted_and_other_samples_are_never_right(rows):
    right = values(rows, "right")
    assert right["grown_same"] > 0.8
    assert right["grown_others"] == 0
    assert all(0 < count <= UNPAIRED for count in values(rows, "pairs").values())
    spread = values(rows, "rotated")
    assert spread["kept_same"] == spread["grown_same"] != spread["stopped"]


def test_pairs_that_do_not_help_held_out_ones_are_not_kept():
    charts = list(np.random.default_rng(1).normal(size=(2, NUM, 12)))
    dealt = grown.deal(NUM, KNOWN, UNPAIRED, KNOWN, 0)
    found = values(grown.rows(charts, dealt, 0), "rotated")
    assert found["kept_same"] == found["kept_others"] == found["stopped"]
    assert found["grown_same"] != found["stopped"]


def test_the_table_has_a_line_a_way_and_says_what_it_counts(rows):
    lines = grown.table(rows, "images").splitlines()
    assert len(lines) == 2 + len(grown.TITLES)
    assert f"{values(rows, 'rotated')['grown_same']:.3f}" in lines[5]
    assert lines[2].endswith("|  |  |  |  |")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_known": (1, 8)}, "--num-known must be one or more, 2 or more"),
        ({"num_unpaired": 1490}, "must leave 10 of --num-samples 3000"),
    ],
)
def test_what_cannot_be_dealt_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        check(PairOptions(**change))
