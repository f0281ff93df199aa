"""A chain and a ring of charts, and an index of two models, hold what they say."""

import jax
import numpy as np
import pytest

from experiments.two_encoders.tables import chain, copies, index
from experiments.two_encoders.tables.index import Counts

COUNTS, QUERIES, ANCHORS = Counts(60, 40, 30), 20, 16


@pytest.fixture(scope="module", autouse=True)
def _quickly_compiled():
    """What is compiled is used once or twice, on tiny arrays."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def networks(number, widths, noise=0.05):
    rng = np.random.default_rng(1)
    hidden = rng.normal(size=(number, 5))
    return [
        np.float32(
            hidden @ rng.normal(size=(5, width))
            + noise * rng.normal(size=(number, width))
        )
        for width in widths
    ]


# Chains


@pytest.mark.parametrize(
    ("num_charts", "far"), [(3, [(0, 2)]), (4, [(0, 2), (1, 3)]), (5, 5)]
)
def test_in_a_chain_and_a_ring_only_neighbours_share_samples(num_charts, far):
    ours = chain.links(num_charts)
    assert far in (ours.far, len(ours.far))
    have = chain.presence(num_charts, 7)
    assert have.shape == (num_charts, chain.num_samples(num_charts, 7))
    np.testing.assert_array_equal(have.sum(axis=0), 2)
    shared = have.astype(int) @ have.T
    for pair in ours.near:
        assert shared[pair] == 7
    for pair in ours.far:
        assert shared[pair] == 0


@pytest.mark.parametrize("widths", [(12, 8, 10), (12, 8, 10, 6)])
def test_charts_that_share_nothing_find_each_other(widths):
    made = chain.rows(networks(300, widths), 30, 60, 0)
    score = {(row["method"], row["metric"]): row["value"] for row in made}
    assert {method for method, _ in score} == set(chain.METHODS)
    assert all(0 <= value <= 1 for value in score.values())
    for method in chain.METHODS:
        assert score[method, "mrr"] > 0.5 > 5 * copies.chance(60)["mrr"]
    assert score["together", "mrr"] > score["linked", "mrr"] - 0.1
    assert score["linked", "near_mrr"] > score["linked", "mrr"] - 0.1


def test_charts_of_different_samples_are_at_chance():
    rng = np.random.default_rng(0)
    apart = [np.float32(rng.normal(size=(200, 6))) for _ in range(3)]
    made = chain.rows(apart, 40, 100, 0)
    score = {row["method"]: row["value"] for row in made if row["metric"] == "mrr"}
    assert max(score.values()) < 4 * copies.chance(100)["mrr"]


# The index


@pytest.fixture(scope="module")
def dealt():
    charts = networks(sum(COUNTS) + 5, (9, 14))
    return index.deal(tuple(charts), COUNTS, QUERIES, ANCHORS, 3), charts


def test_the_index_holds_what_it_says(dealt):
    mine, charts = dealt
    old, new = mine.presence
    kinds = (old & ~new).sum(), (old & new).sum(), (new & ~old).sum()
    assert kinds == COUNTS
    assert mine.both.sum() == COUNTS.both
    assert mine.both[mine.anchors].all()
    assert len(set(mine.anchors)) == ANCHORS
    # Documents that are looked for are in the old chart only.
    assert (old & ~new)[mine.answers].all()
    assert len(set(mine.answers)) == QUERIES
    # A query and its document are one sample.
    places = [
        np.flatnonzero((charts[0] == row).all(axis=1)).item()
        for row in mine.charts[0][mine.answers]
    ]
    np.testing.assert_array_equal(charts[1][places], mine.queries)


def test_what_stands_in_a_chart_without_the_document_is_not_looked_at(dealt):
    mine, _ = dealt
    spoiled = mine._replace(
        charts=tuple(
            np.where(have[:, None], x, 100)
            for x, have in zip(mine.charts, mine.presence, strict=True)
        )
    )
    for name in ("atlas_white", "nystroem_by_chart", "procrustes", "consensus_2"):
        merged = index.METHODS[name][1]
        for right, other in zip(merged(mine), merged(spoiled), strict=True):
            np.testing.assert_allclose(right, other, atol=1e-4)


@pytest.mark.slow
def test_methods_score_in_the_order_that_is_known(dealt):
    made = index.rows(dealt[0])
    score = {(row["method"], row["metric"]): row["value"] for row in made}
    assert {method for method, _ in score} == set(index.METHODS)
    for method in index.METHODS:
        shares = sum(score[method, kind] for kind in ("old", "both", "new"))
        assert shares == pytest.approx(1)
    for method in ("consensus_1", "consensus_2", "chosen_all"):
        assert score[method, "mrr"] > 0.9
        assert score[method, "new"] < 2 * index.fair(COUNTS)["new"]
        # The charts are no rotations of each other.
        assert score[method, "mrr"] > score["procrustes", "mrr"]
    assert score["procrustes", "mrr"] > 5 * copies.chance(sum(COUNTS))["mrr"]


def test_a_document_at_the_query_is_found_and_a_random_one_is_not(dealt):
    mine, _ = dealt
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(sum(COUNTS), 50))
    right = index.scores(mine, rows, rows[mine.answers])
    assert right["mrr"] == right["recall_10"] == 1
    wrong = index.scores(mine, rows, rng.normal(size=(QUERIES, 50)))
    assert wrong["mrr"] < 5 * copies.chance(sum(COUNTS))["mrr"]
    alike = index.scores(mine, np.ones((sum(COUNTS), 3)), np.ones((QUERIES, 3)))
    assert alike["mrr"] == pytest.approx(1 / sum(COUNTS))


def test_hidden_factors_are_the_same_each_time():
    first, second = index.synthetic(50), index.synthetic(50)
    assert [x.shape for x in first] == [(50, 384), (50, 768)]
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
