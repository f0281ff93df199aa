"""Rows of samples that several files have."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import DTypeLike

from jatlas.files.formats.faults import BadFile
from jatlas.files.formats.rows import release
from jatlas.files.formats.sources import Source, batches
from jatlas.files.formats.whole import named
from jatlas.files.reports import Advance

# Of all charts' linked rows so many bytes are held in memory; more lie in temporary
# files, of which as many are mapped at once.
_IN_MEMORY = 2**27
# Rows that are looked at at once, in float64.
_AT_ONCE = 4096
# A temporary file's pages are let go when so many rows were looked at.
_RELEASED = 4 * _AT_ONCE
# So many samples of each chart are kept, for its encoder to be known again.
MOST_KNOWN = 256


class LinkedRows(NamedTuple):
    """Rows of one file that others have too, by sample.

    Attributes:
        samples: (S,), their indices into all samples, ascending.
        rows: (S, D), in the dtype of the file, float32 at least.
        mean: (D,), of these rows, in float64.
    """

    samples: Int[np.ndarray, " S"]
    rows: Float[np.ndarray, "S D"]
    mean: Float[np.ndarray, " D"]

    def centered(self, start: int, end: int) -> Float[np.ndarray, "n D"]:
        """Some rows less the mean, in float64."""
        rows = self.rows[start:end].astype(np.float64) - self.mean
        if start // _RELEASED < end // _RELEASED:
            release(self.rows)
        return rows

    def of(self, samples: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n D"]:
        """The rows of some of the samples."""
        return np.asarray(self.rows[np.searchsorted(self.samples, samples)])

    def known(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ids and embeddings of some, all samples having these ids."""
        size = self.samples.size
        some = np.linspace(0, size - 1, min(size, MOST_KNOWN)).astype(int)
        return ids[self.samples[some]], np.asarray(self.rows[some], np.float32)

    def scale(self) -> float:
        """The root of the mean squared length of the centered rows."""
        total = sum(
            np.sum(self.centered(a, b) ** 2) for a, b in pieces(self.samples.size)
        )
        return float(np.sqrt(total / max(len(self.samples), 1)))


def linked_rows(
    source: Source,
    place: Int[np.ndarray, " N_m"],
    of_samples: Bool[np.ndarray, " N"],
    batch_size: int,
    advance: Advance,
    num_charts: int = 1,
) -> LinkedRows:
    """Read a file's rows of some samples, looking at all of them.

    Args:
        source: an open file.
        place: (N_m,), the samples that its rows are of.
        of_samples: (N,), the samples that are wanted.
        batch_size: rows that are read at once.
        advance: gets how many more rows were read.
        num_charts: how many files are read so, which share the memory.
    """
    wanted = of_samples[place]
    samples = np.sort(place[wanted])
    dtype = dtype_of(source)
    rows = _room((samples.size, source.rows.shape[1]), dtype, _IN_MEMORY // num_charts)
    total, written = np.zeros(rows.shape[1]), 0
    for start, x in batches(source, batch_size, dtype):
        here = slice(start, start + len(x))
        x = x[wanted[here]]
        rows[np.searchsorted(samples, place[here][wanted[here]])] = x
        total += x.sum(axis=0, dtype=np.float64)
        written += x.nbytes
        if written > _IN_MEMORY // num_charts:
            release(rows)
            written = 0
        advance(here.stop - start)
    release(rows)
    result = LinkedRows(samples, rows, total / max(samples.size, 1))
    if samples.size and all((rows[a:b] == rows[0]).all() for a, b in pieces(len(rows))):
        raise BadFile(
            f"{source.path}: all of its rows of samples that another file has are the "
            "same, so that it tells no samples apart. Leave the file out."
        )
    return result


def pieces(size: int) -> Iterator[tuple[int, int]]:
    """Where each piece of so many rows starts and ends."""
    return ((k, min(k + _AT_ONCE, size)) for k in range(0, size, _AT_ONCE))


def dtype_of(source: Source) -> type[np.floating]:
    """In which a file's rows are centered."""
    return np.float64 if source.rows.dtype == np.float64 else np.float32


def _room(shape: tuple[int, int], dtype: DTypeLike, most: int) -> np.ndarray:
    """Room for rows: `most` bytes in memory, or a temporary file."""
    size = np.dtype(dtype).itemsize * shape[0] * shape[1]
    if size <= most:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile() as file:
        if hasattr(os, "posix_fallocate"):  # else a full disk ends the process
            with named(Path(tempfile.gettempdir())):
                os.posix_fallocate(file.fileno(), 0, size)
        return np.memmap(file, dtype, "w+", shape=shape)
