"""An order in which what is alike stands together."""

import numpy as np
from jaxtyping import Float

ROUNDING = 1e-5


def leaf_order(similarities: Float[np.ndarray, "M M"]) -> list[int]:
    """The leaves of the tree of average linkage.

    Again and again the two groups are joined whose members are most alike on average.
    Either is turned, where that brings the more similar ends together. Of what differs
    by less than 1e-5, as rounding does between machines, the first is taken.

    >>> leaf_order(np.array([[1, 0.1, 0.9], [0.1, 1, 0.3], [0.9, 0.3, 1]]))
    [0, 2, 1]
    """
    groups = [[m] for m in range(len(similarities))]
    while len(groups) > 1:
        pairs = [
            (np.mean(similarities[np.ix_(one, other)]), i, j)
            for j, other in enumerate(groups)
            for i, one in enumerate(groups[:j])
        ]
        _, i, j = _first_largest(pairs)
        other, one = groups.pop(j), groups.pop(i)
        turns = [(a, b) for a in (one, one[::-1]) for b in (other, other[::-1])]
        ends = [(similarities[a[-1], b[0]], a, b) for a, b in turns]
        _, left, right = _first_largest(ends)
        groups.insert(i, left + right)
    return groups[0] if groups else []


def _first_largest(ranked: list[tuple]) -> tuple:
    """The first whose value is the largest, but for rounding."""
    least = max(value for value, *_ in ranked) - ROUNDING
    return next(each for each in ranked if each[0] >= least)
