"""A new model takes over old vectors, and its searches are compared."""

import jax
import numpy as np
import pytest

import jatlas
from experiments.two_encoders.tables import change

N, KNOWN, Q = 120, 40, 30


@pytest.fixture(scope="module", autouse=True)
def _quickly_compiled():
    """What is compiled is used once or twice, on tiny arrays."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def dealt(noise):
    """A rotation into twice as many dimensions, with noise."""
    rng = np.random.default_rng(0)
    old = rng.normal(size=(N + Q, 6))
    turn = np.linalg.qr(rng.normal(size=(12, 12)))[0][:6]
    new = old @ turn + rng.normal(size=(N + Q, 12)) * noise
    return change.deal((np.float32(old), np.float32(new)), N, KNOWN, Q, seed=1)


def by_method(made):
    return {
        key: change.scores(made, *method(made))
        for key, (_, method) in change.METHODS.items()
    }


def test_queries_are_old_documents_and_then_texts_that_are_no_documents():
    made = dealt(noise=0.1)
    old, new = made.index.charts
    both = made.index.both
    assert (old.shape, new.shape, both.sum()) == ((N, 6), (N, 12), KNOWN)
    assert not both[made.index.answers].any()
    np.testing.assert_array_equal(made.index.queries[:Q], new[made.index.answers])
    np.testing.assert_array_equal(made.old_queries[:Q], old[made.index.answers])
    assert not (made.index.queries[Q:, None] == new).all(axis=2).any()


def test_recall_is_against_everything_reembedded():
    made = dealt(noise=0.3)
    new, asked = made.index.charts[1], made.index.queries[Q:]
    rows = np.float64(new + np.random.default_rng(2).normal(size=new.shape) * 0.3)
    wanted = []
    for query in np.float64(asked):
        orders = [
            np.argsort(-(x @ query) / np.linalg.norm(x, axis=1))[:10]
            for x in (np.float64(new), rows)
        ]
        wanted.append(len(np.intersect1d(*orders)) / 10)
    scores = change.scores(made, rows, made.index.queries)
    assert scores["recall"] == pytest.approx(np.mean(wanted))
    assert 0.2 < scores["recall"] < 1


def test_of_a_rotation_alone_translations_find_what_is_nearest_about_the_mean():
    made = dealt(noise=0.0)
    scores = by_method(made)
    for key in ("everything", "unchanged"):
        assert scores[key] == {"recall": 1, "found": 1}, key
    new, queries = made.index.charts[1], made.index.queries
    center = new[made.index.both].mean(axis=0)
    wanted = change.scores(made, new - center, queries - center)
    for key in ("procrustes", "procrustes_queries", "ridge", "ridge_queries"):
        assert scores[key] == pytest.approx(wanted, abs=0.01), key
    assert wanted["found"] == scores["consensus_1"]["found"] == 1


def test_documents_that_are_not_searched_are_not_found():
    made = dealt(noise=0.1)
    scores = change.scores(made, *change.known_only(made))
    there = np.isin(made.nearest, np.flatnonzero(made.index.both))
    assert scores == {"recall": pytest.approx(there.mean()), "found": 0}


def test_held_out_documents_tell_beforehand_what_is_found():
    rows = change.rows(dealt(noise=0.05))
    alike = {r["metric"]: r["value"] for r in rows if r["method"] == change.CHOSEN}
    assert set(alike) == {*change.METRICS, *change.BEFOREHAND}
    assert alike["held_out"] == pytest.approx(alike["found"], abs=0.2)
    made = dealt(noise=2.0)
    shared = [x[made.index.both] for x in made.index.charts]
    fitted = jatlas.fit_consensus(shared, np.ones((2, KNOWN), bool))
    unlike = change.beforehand(made.index, fitted)
    merged = change.METHODS["consensus_1"][1](made)
    assert unlike["held_out"] == pytest.approx(
        change.scores(made, *merged)["found"], abs=0.2
    )
    for metric, value in unlike.items():
        assert alike[metric] > value + 0.3, metric
