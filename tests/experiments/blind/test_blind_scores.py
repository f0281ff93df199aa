"""The three classifiers, against what NumPy makes of the same rows."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from blind_cells import WIDTH, C, N, synthetic

from experiments.blind import scores
from experiments.blind.scores import PROBES

KEY = jax.random.key(0)
STRENGTHS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)


@pytest.fixture(scope="module")
def own():
    return synthetic("A")


@pytest.fixture(scope="module")
def rows(own):
    """Where the classes are told by a feature that is small beside the others."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(N, WIDTH)) * np.logspace(0, -3, WIDTH)
    rows[:, 4:] += 0.02 * rng.normal(size=(C, WIDTH - 4))[own.labels]
    return np.float32(rows + 1)


def by_least_squares(cell, rows, strength):
    x = np.float64(rows) - np.float64(rows)[cell.train].mean(axis=0)
    x /= np.sqrt((x[cell.train] ** 2).mean())
    own, targets = x[cell.train], 2 * np.eye(C)[cell.labels[cell.train]] - 1
    inner = own.T @ own + strength * len(own) * np.eye(x.shape[1])
    weights = np.linalg.solve(inner, own.T @ (targets - targets.mean(axis=0)))
    return (x @ weights + targets.mean(axis=0)).argmax(axis=1)


def test_ridge_is_least_squares_as_strong_as_is_best_where_probes_stop(own, rows):
    guesses = [by_least_squares(own, rows, strength) for strength in STRENGTHS]
    right = [(guess == own.labels)[own.stop].mean() for guess in guesses]
    assert len(set(right)) > 1
    best = guesses[int(np.argmax(right))]
    np.testing.assert_array_equal(scores.ridge(own, rows, KEY), best)


def test_class_means_are_those_of_training_rows(own, rows):
    x = np.float64(rows)
    means = [x[own.train & (own.labels == c)].mean(axis=0) for c in range(C)]
    away = np.linalg.norm(x[:, None] - means, axis=2)
    np.testing.assert_array_equal(
        scores.class_means(own, rows, KEY), away.argmin(axis=1)
    )


@pytest.mark.parametrize("name", PROBES)
def test_no_classifier_knows_the_labels_of_who_is_tested_or_chosen_by(own, rows, name):
    guess = PROBES[name](own, rows, KEY)
    others = own.test | own.choose
    labels = np.where(others, (own.labels + 1) % C, own.labels)
    relabelled = replace(own, labels=labels)
    np.testing.assert_array_equal(PROBES[name](relabelled, rows, KEY), guess)
    moved = np.where(others[:, None], 0, rows)
    elsewhere = PROBES[name](own, moved, KEY)
    np.testing.assert_array_equal(elsewhere[~others], guess[~others])
    assert (elsewhere[others] != guess[others]).any()
    # But it does know those that it learns from.
    labels = np.where(own.train, (own.labels + 1) % C, own.labels)
    misled = PROBES[name](replace(own, labels=labels), rows, KEY)
    assert (misled == guess)[own.test].mean() < 0.5


@pytest.mark.parametrize("name", PROBES)
def test_classes_that_lie_apart_are_told(own, name):
    rows = np.float32(np.eye(C, WIDTH)[own.labels])
    rows += 0.1 * np.random.default_rng(1).normal(size=rows.shape).astype(np.float32)
    assert scores.accuracy(own, PROBES[name](own, rows, KEY), own.test) == 1


def test_the_probe_s_logits_are_what_it_guesses_by(own, rows):
    logits = scores.logits(own, rows, KEY)
    assert logits.shape == (N, C)
    np.testing.assert_array_equal(
        scores.probe(own, rows, KEY), np.argmax(logits, axis=1)
    )


@pytest.mark.parametrize("name", ["probe", "class_means"])
def test_a_row_that_is_no_number_is_of_no_class(own, rows, name):
    sample = np.flatnonzero(own.test)[0]
    bad = rows.copy()
    bad[sample, 1] = np.nan
    guess = PROBES[name](own, bad, KEY)
    assert guess[sample] == -1
    rest = np.arange(N) != sample
    np.testing.assert_array_equal(guess[rest], PROBES[name](own, rows, KEY)[rest])


def test_accuracy_is_the_share_of_the_rows_asked_about(own):
    guess = own.labels.copy()
    wrong = np.flatnonzero(own.test)[:20]
    guess[wrong] = -1
    assert scores.accuracy(own, guess, own.test) == 60 / 80
    assert scores.accuracy(own, guess, own.choose) == 1


def test_every_classifier_is_scored_on_both_parts(own, rows):
    found = scores.scored(own, rows, KEY)
    assert [(row["probe"], row["part"]) for row in found] == [
        (name, part) for name in PROBES for part in ("choose", "test")
    ]
    for row in found:
        guess = PROBES[row["probe"]](own, rows, KEY)
        right = (guess == own.labels)[getattr(own, row["part"])]
        assert row["value"] == pytest.approx(right.mean())
