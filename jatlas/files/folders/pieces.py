"""The rows that each task of a merge reads."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from jatlas.files.folders.tasks import Piece
from jatlas.files.formats.places import Remote, place
from jatlas.files.formats.sources import Source
from jatlas.files.kinds.planning import Plan
from jatlas.files.readers import File, Reading

# A task of a worker reads so many bytes of rows at most, where the format allows.
_TASK = 2**28


def pieces_of(
    plan: Plan,
    names: Sequence[tuple[File, str | None, str | None]],
    reading: Reading | None,
    batch_size: int,
    whole: bool,
) -> list[Piece]:
    """Files to read, some rows of them a task; or whole charts."""
    pieces: list[Piece] = []
    for chart, (source, (_, ids, embeddings)) in enumerate(
        zip(plan.samples.sources, names, strict=True)
    ):
        for path, start, stop in _files(source, whole):
            size = stop - start
            each = size if whole else _rows_a_task(source, size, batch_size)
            for first in range(0, size, each):
                piece = Piece(
                    chart,
                    len(pieces),
                    path,
                    start + first,
                    start + min(first + each, size),
                    ids,
                    embeddings,
                    _known_valid(source, reading),
                    source.rows.dtype.name,
                    first,
                    size,
                    source if whole else None,
                )
                pieces.append(piece)
    return pieces


def _known_valid(source: Source, reading: Reading | None) -> Reading | None:
    """How parts are read: without another look where all rows are valid."""
    if reading is None or source.kept is not None:
        return reading
    return reading._replace(drop_invalid=False)


def _rows_a_task(source: Source, size: int, batch_size: int) -> int:
    """How many rows of a file a task reads, in whole batches."""
    if source.rows.between is None:
        return size
    each = _TASK // max(source.rows.shape[1] * source.rows.dtype.itemsize, 1)
    return max(each // batch_size, 1) * batch_size


def _files(source: Source, whole: bool) -> Iterator[tuple[str, int, int]]:
    """The files of a chart, and which rows they have."""
    parts = source.rows.parts
    if whole or not parts:
        parts = ((str(source.path), 0),)
    every = source.ids.size if source.kept is None else source.kept.size
    bounds = np.array([*(start for _, start in parts), every])
    if source.kept is not None:  # counted without those that are left out
        bounds = np.concatenate([[0], np.cumsum(source.kept)])[bounds]
    ends = bounds.tolist()
    for (path, _), start, stop in zip(parts, ends, ends[1:], strict=False):
        if stop > start:
            remote = isinstance(place(path), Remote)
            yield path if remote else str(Path(path).absolute()), start, stop
