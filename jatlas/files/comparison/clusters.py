"""An order in which what is alike stands together."""

import numpy as np
from jaxtyping import Float


def leaf_order(similarities: Float[np.ndarray, "M M"]) -> list[int]:
    """The leaves of the tree of average linkage.

    Again and again the two groups are joined whose members are most alike on average.
    Either is turned, where that brings the more similar ends together. What is alike to
    the fifth decimal, as rounding differs between machines, stands as it was given.

    >>> leaf_order(np.array([[1, 0.1, 0.9], [0.1, 1, 0.3], [0.9, 0.3, 1]]))
    [0, 2, 1]
    """
    similarities = np.round(similarities, 5)
    groups = [[m] for m in range(len(similarities))]
    while len(groups) > 1:
        pairs = [
            (-np.round(np.mean(similarities[np.ix_(one, other)]), 5), i, j)
            for j, other in enumerate(groups)
            for i, one in enumerate(groups[:j])
        ]
        _, i, j = min(pairs)
        other, one = groups.pop(j), groups.pop(i)
        turns = [(a, b) for a in (one, one[::-1]) for b in (other, other[::-1])]
        left, right = max(turns, key=lambda ends: similarities[ends[0][-1], ends[1][0]])
        groups.insert(i, left + right)
    return groups[0] if groups else []
