"""The samples of one process. What it does with them is in test_multihost.py."""

from dataclasses import replace

import numpy as np

from experiments.data.catalog import load
from experiments.multihost import host
from experiments.multihost.launcher import Options


def test_each_process_has_its_own_samples_and_together_all():
    options = Options(num_samples=1001, num_anchors=16)
    dataset = load(options.dataset)
    whole, presence = host.own(options, dataset)
    options = replace(options, num_processes=3, shares=(1, 5, 2))
    parts = [host.own(replace(options, process_id=i), dataset) for i in range(3)]
    assert [len(rows.labels) for rows, _ in parts] == [125, 625, 251]
    for name in host.Own._fields:
        joined = np.concatenate([getattr(rows, name) for rows, _ in parts])
        np.testing.assert_array_equal(joined, getattr(whole, name))
    np.testing.assert_array_equal(np.concatenate([p for _, p in parts], 1), presence)


def test_every_sample_is_in_a_chart_and_has_one_part():
    options = Options(num_samples=1001, num_anchors=16)
    rows, presence = host.own(options, load(options.dataset))
    assert set(presence.sum(axis=0)) == {options.num_charts - 1, options.num_charts}
    assert rows.real.all()
    parts = np.stack([rows.learn, rows.validation, rows.test])
    assert (parts.sum(axis=0) == 1).all()
    assert parts.any(axis=1).all()
