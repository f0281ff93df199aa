"""Differences between two methods on the same seeds, with intervals."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.stats import t

LEVEL = 0.95


class Difference(NamedTuple):
    """One method less another, paired by seed.

    Attributes:
        mean: over seeds.
        low, high: the interval of Student's t for that mean, NaN for one seed.
        least: the smallest difference of a seed.
        num_seeds: how many.
    """

    mean: float
    low: float
    high: float
    least: float
    num_seeds: int

    def __str__(self) -> str:
        """In points of accuracy, as tables show it."""
        if self.num_seeds < 2:
            return f"{100 * self.mean:+.1f}"
        return f"{100 * self.mean:+.1f} [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"


def difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Difference:
    """Ours less theirs, by seed.

    Raises:
        ValueError: if the two are not of the same seeds, or of none.
    """
    if ours.keys() != theirs.keys() or not ours:
        raise ValueError(
            f"differences are paired by seed; got the seeds {sorted(ours)} and "
            f"{sorted(theirs)}."
        )
    each = np.array([ours[seed] - theirs[seed] for seed in ours])
    half = np.nan
    if each.size > 1:
        error = each.std(ddof=1) / np.sqrt(each.size)
        half = float(t.ppf((1 + LEVEL) / 2, each.size - 1) * error)
    mean = float(each.mean())
    return Difference(mean, mean - half, mean + half, float(each.min()), each.size)
