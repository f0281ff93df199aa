"""Rows of charts on disk, by part of the atlas."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import Int

# Rows that are held before they are written, in bytes.
_ROOM = 2**24

# (n,) samples, and (n, A) rows of these.
Batch = tuple[np.ndarray, np.ndarray]


def write_by_part(
    stream: IO[bytes], batches: Iterable[Batch], size: int, number: int
) -> Int[np.ndarray, "B _"]:
    """Write rows in B blocks, each sorted by part.

    Args:
        stream: to write to.
        batches: of rows, with the samples that they are of.
        size: samples of a part.
        number: K, of parts.

    Returns:
        (B, K + 1): where, in rows from the start, those of each part begin and end.
    """
    bounds, start = [], 0
    for samples, rows in _blocks(batches):
        part = samples // size
        order = np.argsort(part, kind="stable")
        block = np.empty(order.size, _record(rows.shape[1]))
        block["sample"], block["row"] = samples[order], rows[order]
        stream.write(block.view(np.uint8).data)
        bounds.append(start + np.searchsorted(part[order], np.arange(number + 1)))
        start += order.size
    return np.array(bounds, np.int64).reshape(-1, number + 1)


def read_part(
    path: Path, bounds: Int[np.ndarray, "B 2"], width: int
) -> Iterator[Batch]:
    """The rows of one part, block by block, with their samples.

    Raises:
        OSError: if the file is shorter than it was.
    """
    record = _record(width)
    with path.open("rb") as stream:
        for begin, end in bounds.tolist():
            stream.seek(begin * record.itemsize)
            block = np.fromfile(stream, record, end - begin)
            if block.size < end - begin:
                raise OSError(5, "it is shorter than what was written", str(path))
            if block.size:
                yield block["sample"], block["row"]


def _record(width: int) -> np.dtype:
    return np.dtype([("sample", "<i8"), ("row", "<f4", (width,))])


def _blocks(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Batches, joined to some megabytes."""
    held: list[Batch] = []
    size = 0
    for samples, rows in batches:
        held.append((samples, rows))
        size += rows.nbytes
        if size >= _ROOM:
            yield _joined(held)
            held, size = [], 0
    if held:
        yield _joined(held)


def _joined(batches: list[Batch]) -> Batch:
    samples, rows = zip(*batches, strict=True)
    return np.concatenate(samples), np.concatenate(rows)
