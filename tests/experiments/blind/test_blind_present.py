"""A probe that is trained once, where only some charts embed a sample."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from blind_cells import WIDTH, C, D, N, synthetic

import jatlas
from experiments.blind import evidence, methods, present, spaces
from experiments.blind.present import LEARNED_FROM, METHODS, drawn, measured, subsets

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def own():
    return synthetic("C")


@pytest.fixture(scope="module")
def found(own):
    return measured(own, WIDTH, KEY, lambda what, share: None)


def values(found):
    return {
        (row["method"], row["learnt_from"], *row["charts"]): row["value"]
        for row in found
    }


def test_subsets_are_all_sets_of_charts_the_small_ones_first():
    sets = [tuple(np.flatnonzero(charts)) for charts in subsets(3)]
    assert sets[-1] == (0, 1, 2)
    assert [len(charts) for charts in sets] == [1, 1, 1, 2, 2, 2, 3]
    assert len(set(sets)) == 7
    assert [len(subsets(num)) for num in (1, 2, 5)] == [1, 3, 31]


def test_drawn_charts_are_of_every_number_and_every_set_of_a_size_as_often():
    presence = drawn(3, 6000, KEY)
    assert presence.shape == (3, 6000)
    sizes = np.bincount(presence.sum(axis=0), minlength=4)
    assert sizes[0] == 0
    assert abs(sizes[1:] / 6000 - 1 / 3).max() < 0.03
    for size in (1, 2):
        of_size = presence[:, presence.sum(axis=0) == size]
        assert abs(of_size.mean(axis=1) - size / 3).max() < 0.05
    np.testing.assert_array_equal(drawn(3, 6000, KEY), presence)
    assert (drawn(3, 6000, jax.random.key(1)) != presence).any()


def test_there_is_a_row_for_each_method_probe_and_set(found):
    sets = [(0,), (1,), (0, 1)]
    expected = {
        (m, learned, *s) for m in METHODS for learned in LEARNED_FROM for s in sets
    }
    assert len(found) == len(expected) == 72
    assert values(found).keys() == expected
    assert all(0 <= row["value"] <= 1 for row in found)
    assert found[0].keys() == {"method", "learnt_from", "charts", "value"}


def test_with_all_charts_the_spaces_are_those_of_everyone(own):
    everywhere = np.ones((2, N), bool)
    makers = present._makers(own, WIDTH, KEY, everywhere)
    assert makers.keys() == METHODS.keys()
    for name, rows in makers.items():
        if name == "concat_white":
            continue  # stands beside the others here only
        width = 2 * D if name == "consensus_full" else WIDTH
        method = methods.METHODS[name.removesuffix("_full")]
        expected = method.make(own, width, KEY)
        np.testing.assert_allclose(rows(everywhere), expected, atol=1e-5, err_msg=name)


def test_what_a_chart_is_alone_is_what_it_makes_of_the_sample(own, found):
    """The mean's probe learns from means, and is then shown single charts."""
    for learned, presence in {"all": np.ones((2, N)), "some": drawn(2, N, KEY)}.items():
        shares = np.float32(presence / presence.sum(axis=0))
        rows = sum(x * s[:, None] for x, s in zip(own.charts, shares, strict=True))
        probe = jatlas.fit_probe(
            KEY, rows, own.labels, C, where=own.train, validation=own.stop
        )
        for m, chart in enumerate(own.charts):
            guess = np.asarray(jatlas.probe_logits(probe, chart)).argmax(axis=1)
            right = (guess == own.labels)[own.test].mean()
            assert values(found)["mean", learned, m] == pytest.approx(right, abs=1e-6)


def test_evidence_is_learned_from_rows_of_the_charts_that_are_drawn(own):
    presence = drawn(2, N, KEY)
    charts, anchors = own.white, spaces.anchors_of_all(own, WIDTH, KEY)
    beside = evidence.side_by_side(charts)
    there = beside * np.repeat(presence, D, axis=0).T
    fitted = jatlas.probes.fit_crossfit(
        KEY, there, own.labels, C, where=own.train, validation=own.stop
    )
    whole, some = (
        np.sqrt(jatlas.probes.crossfit_probabilities(fitted, x, fitted.fold))
        for x in (beside, there)
    )
    kernel, rows = (
        spaces.with_evidence(charts, roots, whole[anchors], anchors, of)
        for roots, of in ((whole, None), (some, presence))
    )
    expected = jatlas.apply_transform(jatlas.fit_nystroem(kernel[anchors]), rows)
    found = present._makers(own, WIDTH, KEY, presence)["evidence"](presence)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_concatenation_has_zeros_where_a_chart_is_absent(own):
    presence = drawn(2, N, KEY)
    rows = present._makers(own, WIDTH, KEY, presence)["concat"](presence)
    parts = np.split(rows, 2, axis=1)
    for part, x, there in zip(parts, own.charts, presence, strict=True):
        np.testing.assert_array_equal(part[there], x[there])
        assert (part[~there] == 0).all()


def test_of_a_chart_that_is_absent_nothing_is_looked_at(own, found):
    rng = np.random.default_rng(7)
    first = own.charts[0].copy()
    first[own.test] = 9 * rng.normal(size=first[own.test].shape)
    elsewhere = replace(own, charts=[first, own.charts[1]])
    before = values(found)
    after = values(measured(elsewhere, WIDTH, KEY, lambda what, share: None))
    absent = [key for key in before if key[2:] == (1,)]
    assert len(absent) == 24
    for key in before:
        assert key not in absent or after[key] == before[key], key
    for method in METHODS:
        there = [key for key in before if key[0] == method and 0 in key[2:]]
        assert any(after[key] != before[key] for key in there), method


@pytest.mark.parametrize("method", METHODS)
def test_nor_is_it_looked_at_where_it_is_no_number(own, method):
    first = own.charts[0].copy()
    first[own.test] = np.nan
    presence = np.array([~own.test, np.ones(N, bool)])
    before, after = (
        present._makers(cell, WIDTH, KEY, presence)[method](presence)
        for cell in (own, replace(own, charts=[first, own.charts[1]]))
    )
    assert np.isfinite(after).all()
    np.testing.assert_array_equal(after, before)


def test_evidence_of_training_rows_is_not_of_those_that_have_learned_it(own):
    """Nor when only some charts are there: of random labels nothing is known."""
    rng = np.random.default_rng(2)
    labels = rng.integers(0, C, N).astype(np.int32)
    charts = [np.float32(rng.normal(size=x.shape)) for x in own.charts]
    copied = np.flatnonzero(own.train)[: own.stop.sum()]
    for rows in (labels, *charts):
        rows[own.stop] = rows[copied]
    random = replace(own, labels=labels, charts=charts)
    everywhere = np.ones((2, N), bool)
    rows = present._makers(random, WIDTH, KEY, everywhere)["evidence"](everywhere)
    probe = jatlas.fit_probe(
        KEY, rows, labels, C, where=own.test, validation=own.choose
    )
    guess = np.asarray(jatlas.probe_logits(probe, rows)).argmax(axis=1)
    assert (guess == labels)[own.train].mean() < 0.4


def test_logits_that_are_no_numbers_are_never_right(own, monkeypatch):
    """Not of class 0 either, which a quarter of the test samples are of."""
    nothing = np.full((N, C), np.nan, np.float32)
    monkeypatch.setattr(jatlas, "probe_logits", lambda probe, rows: nothing)
    found = measured(own, WIDTH, KEY, lambda what, share: None)
    assert {row["value"] for row in found} == {0.0}
