"""The mean and spread of the charts' rows, chart by chart."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jatlas.files.formats.rows import give_back
from jatlas.files.recipe import AtlasFile

_MOVED = 2**25  # bytes of an atlas that are in memory twice while it grows
_ADDED = 2**18  # bytes of rows that are added at once: they stay in a core's cache


class Running(NamedTuple):
    """Welford's running mean and variance over charts, in place.

    A sample in one chart has that chart's coordinates, bit for bit.

    Attributes:
        merged: (N, A), the mean so far, in float32.
        count: (N,), how many charts have the sample.
        squares: (N,), sum over these of the squared deviations of all coordinates.
    """

    merged: Float[np.ndarray, "N A"]
    count: Int[np.ndarray, " N"]  # type: ignore[assignment]  # hides tuple.count
    squares: Float[np.ndarray, " N"]


def empty_running(num_samples: int, num_anchors: int) -> Running:
    """The state before any chart has joined."""
    give_back()
    return Running(
        np.zeros((num_samples, num_anchors), np.float32),
        np.zeros(num_samples, np.int32),
        np.zeros(num_samples, np.float64),
    )


def running_of(atlas: AtlasFile, num_samples: int, in_place: bool = False) -> Running:
    """The running state of an atlas, with room for new samples.

    What a merge goes through: the mean bit for bit, the squares but for the rounding of
    the disagreement to float32. In place, the atlas's rows become the state's, and are
    gone from the atlas.
    """
    old, width = atlas.merged.shape
    flags = atlas.merged.flags
    if in_place and atlas.merged.dtype == np.float32 and flags.owndata and flags.carray:
        moved = _moved(atlas.merged, num_samples)
        state = empty_running(num_samples, 0)._replace(merged=moved)
    else:
        state = empty_running(num_samples, width)
        state.merged[:old] = atlas.merged
    state.count[:old] = atlas.count
    squares = atlas.disagreement.astype(np.float64) ** 2 * state.count[:old] * width
    state.squares[:old] = np.where(atlas.count > 1, squares, 0)
    return state


def _moved(rows: np.ndarray, size: int) -> np.ndarray:
    """The rows, with zeros behind them, those given being gone.

    To make an array longer copies it, where the system does not give the pages behind
    it. So rows are moved from the last on, and their memory given back at once.
    """
    if size == len(rows):
        return rows
    room = np.zeros((size, rows.shape[1]), rows.dtype)
    step = max(_MOVED // max(rows[:1].nbytes, 1), 1)
    for start in reversed(range(0, len(rows), step)):
        room[start : len(rows)] = rows[start:]
        rows.resize((start, rows.shape[1]), refcheck=False)
    return room


def add_rows(
    state: Running, here: Int[np.ndarray, " n"], rows: Float[np.ndarray, "n A"]
) -> None:
    """Add one more chart's rows of the samples `here` to the state."""
    merged, count, _ = state
    count[here] += 1
    several = count[here] > 1
    if not several.all():  # the first of their samples: they are the mean themselves
        first = slice(None) if not several.any() else ~several
        merged[here[first]] = rows[first] + np.float32(0)  # which makes -0 a 0
    further = np.flatnonzero(several)
    size = max(_ADDED // max(rows[:1].nbytes, 1), 1)
    for start in range(0, further.size, size):
        some = further[start : start + size]
        _add_further(state, here[some], rows[some])


def _add_further(
    state: Running, here: Int[np.ndarray, " n"], rows: Float[np.ndarray, "n A"]
) -> None:
    """Add rows of samples that other charts have too."""
    merged, count, squares = state
    with np.errstate(over="ignore", invalid="ignore"):  # looked at in the end
        mean = merged[here]
        step = rows - mean
        mean += step / count[here, None].astype(np.float32)
        merged[here] = mean
        residual = np.subtract(rows, mean, out=mean)
        squares[here] += np.einsum("na,na->n", step, residual, dtype=np.float64)


def disagreement(state: Running) -> Float[np.ndarray, " N"]:
    """How far the charts differ on each sample, as in `AtlasFile`."""
    width = state.merged.shape[1]
    spread = np.sqrt(np.maximum(state.squares, 0) / (state.count * width))
    return np.where(state.count > 1, spread, np.nan).astype(np.float32)
