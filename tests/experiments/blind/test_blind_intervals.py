"""Paired differences, against SciPy's."""

import numpy as np
import pytest
from scipy.stats import ttest_rel

from experiments.blind.report.intervals import difference


@pytest.mark.parametrize("num_seeds", [2, 5])
def test_the_interval_is_that_of_the_paired_t_test(num_seeds):
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal([[0.7], [0.6]], 0.05, (2, num_seeds))
    found = difference(dict(enumerate(ours)), dict(enumerate(theirs)))
    expected = ttest_rel(ours, theirs).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.mean == pytest.approx(np.mean(ours - theirs))
    assert found.least == pytest.approx(np.min(ours - theirs))
    assert found.num_seeds == num_seeds


def test_seeds_are_paired_whatever_their_order():
    ours, theirs = {3: 0.5, 1: 0.9}, {1: 0.8, 3: 0.4}
    found = difference(ours, theirs)
    assert (found.low, found.mean, found.high) == pytest.approx((0.1, 0.1, 0.1))


def test_of_one_seed_there_is_no_interval():
    found = difference({4: 0.51}, {4: 0.53})
    assert found.mean == found.least == pytest.approx(-0.02)
    assert np.isnan([found.low, found.high]).all()
    assert str(found) == "-2.0"


def test_it_reads_as_points_with_a_sign():
    found = difference({0: 0.53, 1: 0.55}, {0: 0.5, 1: 0.5})
    assert found.num_seeds == 2
    # 4 ± 12.706 times a standard error of 1
    assert str(found) == "+4.0 [-8.7, +16.7]"


@pytest.mark.parametrize("theirs", [{0: 0.5}, {0: 0.5, 2: 0.5}, {}])
def test_other_seeds_are_refused(theirs):
    with pytest.raises(ValueError, match=r"paired by seed; got the seeds \[0, 1\]"):
        difference({0: 0.5, 1: 0.5}, theirs)
    with pytest.raises(ValueError, match="paired by seed"):
        difference({}, {})
