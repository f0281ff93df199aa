"""Calibration, doubts and unknown samples, against cases made by hand."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from blind_cells import WIDTH, C, D, N, cosines, made_up, nystroem, synthetic, white

from experiments.blind import methods, scores, spaces, trust
from experiments.blind.trust import COVERAGE, DOUBTS

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def own():
    """Of three charts; two are left where one is left out."""
    return synthetic("A")


@pytest.fixture(scope="module")
def two():
    return synthetic("C")


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("known", [0.4, 1.0, 3.0])
def test_a_temperature_that_is_known_is_found(known):
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(8000, C))
    cumulated = softmax(logits).cumsum(axis=1)
    labels = (rng.random((8000, 1)) > cumulated).sum(axis=1)
    found = trust.fit_temperature(logits / known, labels)
    assert found == pytest.approx(known, rel=0.05)
    # What is fitted has no smaller loss beside it.
    losses = [
        -np.log(softmax(logits / known * f)[np.arange(8000), labels]).mean()
        for f in (found, found * 0.98, found * 1.02)
    ]
    assert losses[0] == min(losses)


def test_calibration_error_is_that_of_bins_by_hand():
    # Bins are 1/15 wide. In that of 0.70 to 0.73 half are right; 0.95 alone is wrong.
    certain = np.array([0.7, 0.72, 0.95, 0.5])
    probabilities = np.stack([certain, 1 - certain], axis=1)
    labels = np.array([0, 1, 1, 0])
    expected = (abs(0.7 + 0.72 - 1) + 0.95 + 0.5) / 4
    assert trust.calibration_error(probabilities, labels) == pytest.approx(expected)
    sure = np.eye(2)[labels]
    assert trust.calibration_error(sure, labels) == 0
    assert trust.calibration_error(sure, 1 - labels) == 1


def test_calibration_error_of_samples_drawn_as_is_said_is_small():
    rng = np.random.default_rng(0)
    certain = rng.uniform(0.5, 1, 20000)
    labels = (rng.random(20000) > certain).astype(int)
    probabilities = np.stack([certain, 1 - certain], axis=1)
    assert trust.calibration_error(probabilities, labels) < 0.01
    shifted = np.stack([certain - 0.1, 1.1 - certain], axis=1)[certain > 0.7]
    error = trust.calibration_error(shifted, labels[certain > 0.7])
    assert error == pytest.approx(0.1, abs=0.01)


def test_risks_are_the_errors_among_the_least_doubtful():
    doubt = np.arange(20) / 20
    wrong = np.zeros(20, bool)
    wrong[[5, 19]] = True
    order = np.random.default_rng(0).permutation(20)
    found = trust.risks(wrong[order], doubt[order])
    counts = np.arange(1, 21)
    expected = ((counts > 5).astype(int) + (counts == 20)) / counts
    np.testing.assert_allclose(found, expected)
    np.testing.assert_allclose(COVERAGE, counts / 20)
    assert trust.risks(np.array([True, False]), np.array([1.0, 0.0]))[0] == 0


def test_doubts_are_those_of_numpy(two):
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(C), two.labels.size)
    found = trust.doubts(two, probabilities, WIDTH, KEY)
    assert tuple(found) == DOUBTS
    np.testing.assert_allclose(found["probability"], 1 - probabilities.max(axis=1))
    anchors = spaces.anchors_of_all(two, WIDTH, KEY)
    charts = [white(x, two.train) for x in two.charts]
    relative = np.array([cosines(x, x[anchors]) for x in charts])
    apart = np.sqrt(relative.var(axis=0).mean(axis=1))
    np.testing.assert_allclose(found["disagreement"], apart, atol=1e-5)
    rows = nystroem(relative.mean(axis=0), anchors)
    np.testing.assert_allclose(found["residual"], 1 - (rows**2).sum(axis=1), atol=1e-3)


def test_what_is_measured_is_of_the_probe_on_the_test_split(two, monkeypatch):
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(N, 1))
    guessed = 3 * rng.normal(size=(N, C)) + 3 * np.eye(C)[two.labels]
    evidence = methods.METHODS["evidence"]._replace(make=lambda *args: rows)
    monkeypatch.setitem(methods.METHODS, "evidence", evidence)
    monkeypatch.setattr(scores, "logits", lambda cell, x, key: guessed * (x is rows))
    found = trust.measured(two, WIDTH, KEY)
    assert found.keys() == made_up()[-1].keys() - {"of", "scenario", "setting", "seed"}
    assert found["unknown_found"] == {}  # there are two charts only

    factor = trust.fit_temperature(guessed[two.choose], two.labels[two.choose])
    assert found["temperature"] == pytest.approx(1 / factor)
    test, labels = two.test, two.labels[two.test]
    plain, scaled = softmax(guessed[test]), softmax(guessed[test] * factor)
    for name, likely in {"": plain, "_scaled": scaled}.items():
        error = trust.calibration_error(likely, labels)
        assert found[f"calibration_error{name}"] == pytest.approx(error)

    wrong = guessed[test].argmax(axis=1) != labels
    for name, doubt in trust.doubts(two, softmax(guessed * factor), WIDTH, KEY).items():
        assert found["risk"][name] == trust.risks(wrong, doubt[test])
        # Of an error and a hit, how often the error is the more doubtful.
        pairs = doubt[test][wrong][:, None] - doubt[test][~wrong]
        area = (pairs > 0).mean() + (pairs == 0).mean() / 2
        assert found["errors_found"][name] == pytest.approx(area)
    assert found["errors_found"]["probability"] > 0.6


def lost_is(own, far):
    """Charts in which a class alone in one chart lies far from all, or with them."""
    rng = np.random.default_rng(0)
    axes = own.labels if far else np.where(own.tasks.shared[own.labels], own.labels, -1)
    means = 6 * np.eye(C + 1, D)[axes]
    noise = rng.normal(size=(len(own.charts), *means.shape)) / 3
    held_out = own.train & (np.arange(N) % 5 == 0)  # of all classes
    return replace(
        own,
        charts=list(np.float32(means + noise)),
        train=own.train & ~held_out,
        tasks=own.tasks._replace(held_out=held_out),
    )


def test_unknown_classes_that_lie_far_away_are_found(own, monkeypatch):
    shown = []

    def logits(cell, width, key):
        shown.append(cell)
        return np.zeros((cell.labels.size, C))

    monkeypatch.setattr(trust, "_logits", logits)
    whole = lost_is(own, far=True)
    far = trust.unknown(whole, WIDTH, KEY)
    assert tuple(far) == DOUBTS
    assert far["residual"] > 0.99
    assert far["probability"] == 0.5  # which is the same of all
    near = trust.unknown(lost_is(own, far=False), WIDTH, KEY)
    assert near["residual"] < 0.8
    # Nothing is fitted on a sample of what is lost.
    for m, cell in enumerate(shown[:3]):
        (lost,) = np.flatnonzero(own.tasks.classes[m] & ~own.tasks.shared)
        kept = own.labels != lost
        assert len(cell.charts) == 2
        np.testing.assert_array_equal(cell.train, whole.train & kept)
        np.testing.assert_array_equal(cell.stop, whole.stop & kept)
        held_out = whole.tasks.held_out & kept
        np.testing.assert_array_equal(cell.tasks.held_out, held_out)
        np.testing.assert_array_equal(cell.test, whole.test)


def test_nothing_is_unknown_where_no_class_is_one_chart_s_or_two_are_all(own, two):
    assert trust.unknown(two, WIDTH, KEY) == {}
    every = own.tasks._replace(classes=np.ones_like(own.tasks.classes))
    assert trust.unknown(replace(own, tasks=every), WIDTH, KEY) == {}


def test_what_is_all_alike_cannot_be_told_apart():
    doubt = np.array([0.1, 0.4, 0.3])
    assert trust.area(np.array([False, True, False]), doubt) == 1
    assert np.isnan(trust.area(np.zeros(3, bool), doubt))
    assert np.isnan(trust.area(np.ones(3, bool), doubt))


def test_logits_that_are_no_numbers_are_errors(two, monkeypatch):
    """Also of samples of class 0, the first that a bare argmax would name."""
    guessed = 3 * np.eye(C)[two.labels]
    unknown = two.test & (two.labels == 0)
    guessed[unknown] = np.nan
    monkeypatch.setattr(trust, "_logits", lambda *args: guessed)
    flat = dict.fromkeys(DOUBTS, np.zeros(N))
    monkeypatch.setattr(trust, "doubts", lambda *args: flat)
    found = trust.measured(two, WIDTH, KEY)
    share = unknown.sum() / two.test.sum()
    assert [risk[-1] for risk in found["risk"].values()] == pytest.approx([share] * 3)
    assert np.isnan(found["calibration_error"])
