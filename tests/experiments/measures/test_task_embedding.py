"""The control that learns what it is told. One shape, so that it compiles once."""

import jax
import numpy as np
import pytest
from worlds import LABELS, TASKS, C, N, one_row_a_sample

from experiments.measures import metrics, splits, task_embedding

KEY, D = jax.random.key(0), 5
TASK = LABELS % 2  # of the classes 2 k and 2 k + 1, one is of either task


@pytest.fixture(scope="module")
def space():
    """Two classes share a place; which of them it is, the task tells."""
    rng = np.random.default_rng(3)
    places = np.repeat([np.eye(4, D), -np.eye(4, D)], 1, axis=0).reshape(C, D)
    rows = places[LABELS // 2] + 0.05 * rng.normal(size=(N, D))
    told = np.eye(C, dtype=np.float32)[TASK]
    return one_row_a_sample("C", np.hstack([rows, told]).astype(np.float32))


def fit(space, parts, **others):
    labels = np.where(space.sample >= 0, LABELS[space.sample], 0).astype(np.int32)
    masks = {"where": parts.train, "validation": parts.validation}
    told = {**masks, "max_epochs": 40, "patience": 10, **others}
    return task_embedding.fit(KEY, space.rows, labels, C, C, **told)


def the_cut(space):
    return splits.training_split(0, space, TASKS["C"])


def accuracy(space):
    values = metrics.by_classifier(
        space, {"": the_cut(space)}, LABELS, TASKS["C"], KEY, 40,
        classifier=metrics.probe_with_task_embedding,
    )  # fmt: skip
    assert set(values) == {"accuracy", "scored_rows", "probe_epochs"}
    return values["accuracy"]


def test_it_learns_from_what_each_row_is_told(space):
    assert accuracy(space) > 0.95


def test_told_of_every_row_the_same_it_can_only_guess_between_two(space):
    rows = space.rows.copy()
    rows[:, D:] = rows[0, D:]
    assert accuracy(space._replace(rows=rows)) == pytest.approx(0.5, abs=0.1)


def test_logits_are_of_the_embedding_and_beside_it_the_mean_of_its_tasks(space):
    """Standardised together, row by row, in float64."""
    fitted = fit(space, the_cut(space))
    w = {name: np.float64(leaf) for name, leaf in fitted.weights.items()}
    shares = np.zeros((N, C))
    shares[:, :2] = np.random.default_rng(0).choice([0, 0.5, 1], size=(N, 1))
    shares[:, 1] = 1 - shares[:, 0]
    rows = np.hstack([space.rows[:, :D], shares])
    expected = []
    for row, share in zip(np.float64(rows), shares, strict=True):
        told = float(fitted.scale) * sum(
            s * t for s, t in zip(share, w["tasks"], strict=True)
        )
        x = np.concatenate([row[:D], told])
        x = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
        hidden = np.maximum(x @ w["hidden_kernel"] + w["hidden_bias"], 0)
        expected.append(hidden @ w["kernel"] + w["bias"])
    found = task_embedding.logits(fitted, rows.astype(np.float32))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_task_embeddings_are_trained_and_as_long_as_an_embedding(space):
    parts = the_cut(space)
    first, last = fit(space, parts, max_epochs=1), fit(space, parts)
    own = np.float64(space.rows[parts.train, :D])
    assert float(first.scale) == pytest.approx(np.sqrt(np.mean(own**2)), rel=1e-5)
    assert 0.5 < np.asarray(first.weights["tasks"]).std() < 1.5
    moved = np.abs(last.weights["tasks"] - first.weights["tasks"]).max(axis=1)
    assert moved[:2].min() > 0.01
    assert moved[2:].max() == 0  # nobody is in these


def test_what_stands_in_other_rows_does_not_matter(space):
    parts = the_cut(space)
    others = ~(parts.train | parts.validation)
    spoilt = np.where(others[:, None], np.float32(np.nan), space.rows)
    found, expected = fit(space._replace(rows=spoilt), parts), fit(space, parts)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_a_row_to_learn_from_that_is_no_number_leaves_no_classifier(space):
    parts = the_cut(space)
    rows = space.rows.copy()
    rows[np.flatnonzero(parts.train)[0], 0] = np.nan
    fitted = fit(space._replace(rows=rows), parts)
    assert all(np.isnan(leaf).all() for leaf in fitted.weights.values())


def test_it_stops_by_the_validation_rows(space):
    """Which are told the other task here: it is best before it learns much."""
    parts = the_cut(space)
    rows = space.rows.copy()
    rows[np.ix_(parts.validation, [D, D + 1])] = rows[
        np.ix_(parts.validation, [D + 1, D])
    ]
    turned = space._replace(rows=rows)
    fitted = fit(turned, parts)
    assert 0 <= fitted.best_epoch < fit(space, parts).best_epoch
    again = fit(turned, parts, max_epochs=int(fitted.best_epoch) + 1)
    jax.tree.map(np.testing.assert_array_equal, again.weights, fitted.weights)
