"""Ridge is scikit-learn's by leave-one-out; perfect spaces score 1, noise by chance."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier, RidgeClassifierCV

from experiments.few_labels.classifiers import (
    CLASSIFIERS,
    RIDGE_OF_ONE,
    RIDGES,
    accuracies,
)

C = 5
each_classifier = pytest.mark.parametrize("name", CLASSIFIERS)


def spaces(count, width, noise=1.5, draws=3):
    """Labeled rows (R, n, K), their labels, and 400 new rows of the same classes."""
    rng = np.random.default_rng(count + width)
    means = rng.normal(size=(C, width))
    labels = np.tile(np.repeat(np.arange(C), count), (draws, 1))
    new_labels = np.arange(400) % C
    rows = means[labels] + noise * rng.normal(size=(*labels.shape, width))
    new = means[new_labels] + noise * rng.normal(size=(400, width))
    return np.float32(3 * rows + 2), labels, np.float32(3 * new + 2), new_labels


def scaled(rows, new):
    """Centered on the labeled rows, which then have a mean squared norm of 1."""
    mean = np.float64(rows).mean(axis=0)
    scale = np.sqrt(np.sum((rows - mean) ** 2, axis=1).mean())
    return (rows - mean) / scale, (new - mean) / scale


@pytest.mark.parametrize(("count", "width"), [(2, 6), (3, 40), (30, 6), (40, 16)])
def test_ridge_is_the_one_that_scikit_learn_chooses_by_leave_one_out(count, width):
    rows, labels, new, right = spaces(count, width)
    found = accuracies("ridge", rows, labels, C, new, right)
    for value, x, y in zip(found, rows, labels, strict=True):
        x, z = scaled(x, new)
        fitted = RidgeClassifierCV(np.float64(RIDGES)).fit(x, y)
        assert value == pytest.approx(np.mean(fitted.predict(z) == right), abs=0.003)


def test_the_ridge_of_one_label_a_class_is_fixed():
    rows, labels, new, right = spaces(1, 12)
    found = accuracies("ridge", rows, labels, C, new, right)
    for value, x, y in zip(found, rows, labels, strict=True):
        x, z = scaled(x, new)
        fitted = RidgeClassifier(RIDGE_OF_ONE).fit(x, y)
        assert value == pytest.approx(np.mean(fitted.predict(z) == right), abs=0.003)


@pytest.mark.parametrize("count", [1, 7])
def test_the_nearest_class_mean_is_that_of_numpy(count):
    rows, labels, new, right = spaces(count, 8)
    found = accuracies("class_means", rows, labels, C, new, right)
    for value, x, y in zip(found, rows, labels, strict=True):
        means = np.stack([np.float64(x)[y == c].mean(axis=0) for c in range(C)])
        guess = np.linalg.norm(new[:, None] - means, axis=2).argmin(axis=1)
        assert value == pytest.approx(np.mean(guess == right), abs=0.003)


@each_classifier
@pytest.mark.parametrize("count", [1, 3, 20])
def test_a_perfect_space_is_1_and_noise_is_chance(name, count):
    rows, labels, new, right = spaces(count, 30, noise=0.01)
    found = accuracies(name, rows, labels, C, new, right)
    np.testing.assert_array_equal(found, 1)
    rng = np.random.default_rng(0)
    rows, new = (np.float32(rng.normal(size=x.shape)) for x in (rows, new))
    found = accuracies(name, rows, labels, C, new, right)
    assert np.mean(found) == pytest.approx(1 / C, abs=0.05)


@each_classifier
def test_draws_do_not_depend_on_each_other(name):
    rows, labels, new, right = spaces(4, 10)
    together = accuracies(name, rows, labels, C, new, right)
    alone = [
        accuracies(name, rows[r : r + 1], labels[r : r + 1], C, new, right)[0]
        for r in range(3)
    ]
    np.testing.assert_allclose(together, alone, atol=0.003)


@each_classifier
def test_rows_that_are_all_alike_and_nan_are_never_right_by_accident(name):
    rows, labels, new, right = spaces(3, 4)
    found = accuracies(name, rows, labels, C, np.full_like(new, np.nan), right)
    np.testing.assert_array_equal(found, 0)
    alike = accuracies(name, np.ones_like(rows), labels, C, new, right)
    assert np.all(np.abs(np.asarray(alike) - 1 / C) < 0.01)
