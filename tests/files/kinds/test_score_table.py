"""Which kind is taken by its held-out score, and what is said of it."""

import numpy as np
import pytest

from jatlas.files.kinds.held_out_score import Scored, best_of
from jatlas.files.kinds.options import Kind
from jatlas.files.kinds.score_table import advice
from jatlas.merging.scoring import MergeScore


def scored(coordinates, rank):
    """Of two charts, whose rows find each other so well."""
    both = np.array([[np.nan, rank], [rank, np.nan]])
    fair = np.where(np.isnan(both), np.nan, 0.2)
    chance, queries = np.full((2, 2), 0.01), np.array([[0, 50], [50, 0]])
    score = MergeScore(both, both, both, chance, fair, fair, queries)
    return Scored(Kind(coordinates), score)


@pytest.mark.parametrize(
    ("ranks", "taken"),
    [
        ({"relative": 0.9, "nystroem": 0.95, "consensus": 0.94}, "nystroem"),
        ({"relative": 0.9, "nystroem": 0.95, "consensus": 0.949}, "consensus"),
        ({"relative": 1.0, "nystroem": 1.0, "consensus": 1.0}, "relative"),
        ({"nystroem": 0.95}, "nystroem"),
    ],
)
def test_where_none_is_better_one_that_can_grow_is_taken(ranks, taken):
    results = [scored(name, rank) for name, rank in ranks.items()]
    assert best_of(results).kind.coordinates == taken
    words = advice(results, ["a", "b"])
    assert f"take --coordinates {taken}" in words
    assert ("no new chart can be added" in words) == (taken == "nystroem")
