"""What a comparison of files gives."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jatlas.files.comparison.clusters import leaf_order


class Likeness(NamedTuple):
    """One measure of how alike two spaces are.

    Attributes:
        measure: its name.
        value: of the spaces as they are.
        chance: the mean over random pairings of their samples.
        p_value: the odds of such a value, or a larger, by chance alone.
        files: the numbers of the two files.
        interval: of 95 %, over draws of the samples; None if none was asked for.
    """

    measure: str
    value: float
    chance: float
    p_value: float
    files: tuple[int, int] = (0, 1)
    interval: tuple[float, float] | None = None


class Comparison(NamedTuple):
    """How alike files are.

    Attributes:
        common: how many samples all of them share.
        compared: how many of these were compared, the same for all pairs.
        likenesses: one a measure and pair of files.
        reasons: why values are NaN, or not to be trusted, in sentences; none if none
            is.
        files: the paths of the M files.
    """

    common: int
    compared: int
    likenesses: tuple[Likeness, ...]
    reasons: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def measures(self) -> tuple[str, ...]:
        """The names of the measures, in their order."""
        return tuple(dict.fromkeys(one.measure for one in self.likenesses))

    def matrix(self, measure: str) -> Float[np.ndarray, "M M"]:
        """The values of one measure.

        1 stands on the diagonal, the value of a space with itself.

        Raises:
            ValueError: if it was not measured.
        """
        if measure not in self.measures:
            known = ", ".join(self.measures)
            raise ValueError(f"{measure!r} was not measured; known are {known}.")
        return self._matrix(measure, lambda one: one.value, 1.0)

    def order(self) -> list[int]:
        """The files so that those most alike stand together.

        The leaves of a tree that joins what is most alike on average, by the mean over
        the measures.
        """
        every = [self.matrix(measure) for measure in self.measures]
        return leaf_order(np.nan_to_num(np.mean(every, axis=0)))

    def numbers(self) -> dict[str, Any]:
        """All of it as JSON has it, NaN as null."""
        return {
            "files": list(self.files),
            "common": self.common,
            "compared": self.compared,
            "measures": {name: self._numbers(name) for name in self.measures},
            "reasons": list(self.reasons),
        }

    def _numbers(self, measure: str) -> dict[str, Any]:
        fields: dict[str, tuple[Callable[[Likeness], float], float]] = {
            "values": (lambda one: one.value, 1.0),
            "chance": (lambda one: one.chance, np.nan),
            "p": (lambda one: one.p_value, np.nan),
        }
        if self.likenesses[0].interval is not None:
            fields["low"] = (lambda one: (one.interval or (np.nan,))[0]), np.nan
            fields["high"] = (lambda one: (one.interval or (np.nan,))[-1]), np.nan
        return {
            name: _listed(self._matrix(measure, *field))
            for name, field in fields.items()
        }

    def _matrix(
        self, measure: str, figure: Callable[[Likeness], float], diagonal: float
    ) -> Float[np.ndarray, "M M"]:
        entries = [one for one in self.likenesses if one.measure == measure]
        size = 1 + max(max(one.files) for one in entries)
        result = np.diag(np.full(size, diagonal))
        for one in entries:
            i, j = one.files
            result[i, j] = result[j, i] = figure(one)
        return result


def _listed(matrix: Float[np.ndarray, "M M"]) -> list[list[float | None]]:
    return [[None if np.isnan(x) else float(x) for x in row] for row in matrix]


def short_names(paths: Sequence[str]) -> list[str]:
    """The last parts of the paths, as many as tell them apart.

    >>> short_names(["a/x.npz", "b/x.npz", "y.npz"]), short_names(["a/x.npz", "b/y"])
    (['a/x.npz', 'b/x.npz', 'y.npz'], ['x.npz', 'y'])
    """
    parts = [path.rstrip("/").split("/") for path in paths]
    for depth in range(1, max(map(len, parts), default=1) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(set(paths)):
            break
    return names
