"""The samples of one process. What it does with them is in test_multihost.py."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np

import jatlas
from experiments.data.catalog import load
from experiments.multihost import host
from experiments.multihost.launcher import MultihostOptions


def test_each_process_has_its_own_samples_and_together_all():
    options = MultihostOptions(num_samples=1001, num_anchors=16)
    dataset = load(options.dataset)
    whole, presence = host.host_samples(options, dataset)
    options = replace(options, num_processes=3, shares=(1, 5, 2))
    parts = [
        host.host_samples(replace(options, process_id=i), dataset) for i in range(3)
    ]
    assert [len(rows.labels) for rows, _ in parts] == [125, 625, 251]
    for name in host.HostSamples._fields:
        joined = np.concatenate([getattr(rows, name) for rows, _ in parts])
        np.testing.assert_array_equal(joined, getattr(whole, name))
    np.testing.assert_array_equal(np.concatenate([p for _, p in parts], 1), presence)


def test_every_sample_is_in_a_chart_and_has_one_part():
    options = MultihostOptions(num_samples=1001, num_anchors=16)
    rows, presence = host.host_samples(options, load(options.dataset))
    assert set(presence.sum(axis=0)) == {options.num_charts - 1, options.num_charts}
    assert rows.real.all()
    parts = np.stack([rows.learn, rows.validation, rows.test])
    assert (parts.sum(axis=0) == 1).all()
    assert parts.any(axis=1).all()


def test_a_sample_whose_logits_are_no_numbers_is_never_right():
    """Nor is one of class 0, the first that a bare argmax would name."""
    labels, classes = np.arange(12) % 3, jnp.eye(3)
    sides = jnp.concatenate([classes, jnp.zeros((1, 3))])  # a hidden unit is idle
    probe = jatlas.Probe(jnp.eye(3, 4), jnp.zeros(4), sides, jnp.zeros(3), 0.0, 0)
    atlas = classes[labels].at[:6].set(jnp.nan)
    every = jnp.ones(12, bool)
    spaces = (atlas[None], atlas, every[None], atlas[None, :3])
    placed = host.Placed(*spaces, jnp.asarray(labels), *[every] * 4)
    assert float(host.accuracy(probe, atlas, placed)) == 0.5
