"""An open file of embeddings: ids, and checked batches of rows."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import DTypeLike

from jatlas._src.ids import few, short, union
from jatlas.files.formats.faults import BadFile, faults_of
from jatlas.files.formats.places import Place, place
from jatlas.files.formats.rows import AT_ONCE, Rows, not_finite
from jatlas.files.overlap import ahead

LEAVE_OUT = (
    "Leave them out (Reading(drop_invalid=True), --drop-invalid): the samples are then "
    "absent."
)

# Rows of which the sum of squares is no larger can be zero in float32.
_TINY = 1e-60


class Source(NamedTuple):
    """A file of embeddings that was opened, its rows not yet read.

    Attributes:
        path: of the file or folder, or a pattern.
        ids: (N,), int64 or text, all different.
        rows: its (N, D) numbers.
        kept: of all rows in the file those that these are; None if they are all.
    """

    path: Place
    ids: np.ndarray
    rows: Rows
    kept: Bool[np.ndarray, " _"] | None = None

    def in_file(self, rows: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """The places of rows among all rows in the file; -1 stays."""
        if self.kept is None:
            return rows
        return np.where(rows < 0, -1, np.flatnonzero(self.kept)[rows])

    def place_of(self, row: int) -> tuple[Place, int]:
        """The file or part of a row, and its number there."""
        row = int(self.in_file(np.array([row]))[0])
        path, first = self.path, 0
        for part, begin in self.rows.parts:
            if begin <= row:
                path, first = place(part), begin
        return path, row - first

    def row_text(self, row: int) -> str:
        """The number of a row in messages, with its part."""
        path, number = self.place_of(row)
        return f"{number} of {path}" if self.rows.parts else str(number)

    def id_text(self, row: int) -> str:
        """A row's id in messages, by its file and number there."""
        path, number = self.place_of(row)
        return f"{path}: the id in row {number}"


def union_of(
    sources: Sequence[Source],
) -> tuple[np.ndarray, tuple[Int[np.ndarray, " _"], ...]]:
    """`union` of the ids of files.

    Raises:
        ValueError: if one id is so long that it would enlarge all of them.
    """
    ids = [source.ids for source in sources]
    return union(ids, lambda m, row: sources[m].id_text(row))


def say_notes(sources: Iterable[Source], say: Callable[[str], None]) -> None:
    """Say which columns were taken, and which rows left out."""
    for source in sources:
        if source.rows.note:
            say(f"{source.path}: {source.rows.note}")


def without_invalid(source: Source) -> Source:
    """The source without rows that are not finite, or are zero."""
    kept = np.ones(source.ids.size, bool)
    for start, x in _numbers(source, AT_ONCE):
        infinite, zero = _invalid(x)
        kept[start + infinite] = kept[start + zero] = False
    if kept.all():
        return source
    rows = source.rows
    invalid = source.ids[~kept]
    with faults_of(source.path):
        if not kept.any():
            raise ValueError(
                f"all of its {kept.size} rows are null, NaN, infinite or zero: nothing "
                "is left of it (Reading(drop_invalid=True), --drop-invalid). Write it "
                "anew."
            )

    def batches(size: int) -> Iterator[np.ndarray]:
        start = 0
        for x in rows.batches(size):
            some = x[kept[start : start + len(x)]]
            start += len(x)
            if len(some):
                yield some

    note = (
        f"{invalid.size} of its {kept.size} rows are null, NaN, infinite or zero and "
        f"are left out, ids {few(invalid)}"
    )
    return source._replace(
        ids=source.ids[kept],
        rows=rows._replace(
            shape=(int(kept.sum()), rows.shape[1]),
            batches=batches,
            whole=lambda: rows.whole()[kept],
            between=None,
            note="; ".join(filter(None, (rows.note, note))),
        ),
        kept=kept,
    )


def _numbers(
    source: Source, size: int, dtype: DTypeLike = np.float32
) -> Iterator[tuple[int, np.ndarray]]:
    """All embeddings in batches, each with its start; not yet looked at."""
    start = 0
    with faults_of(source.path):
        for rows in source.rows.batches(size):
            with np.errstate(over="ignore"):
                x = np.asarray(rows, np.float32)
            if dtype != np.float32 and np.isfinite(x).all():
                x = np.asarray(rows, dtype)
            yield start, x
            start += len(rows)
        if start != source.ids.size:
            raise ValueError(
                f"it has {source.ids.size} ids and {start} embeddings: it is damaged. "
                "Write it anew."
            )


def batches(
    source: Source, size: int, dtype: DTypeLike = np.float32
) -> Iterator[tuple[int, np.ndarray]]:
    """Its embeddings in float32, in batches, each with its start.

    A batch has at most `size` rows. In another dtype, if that is given; they must lie
    in the range of float32 anyway. The next two are read meanwhile.

    Raises:
        ValueError: if there is NaN or infinity in a row, a row is zero, or the file is
            damaged.
    """
    checked = _checked(source, size, dtype)
    yield from ahead(checked) if source.ids.size > size else checked


def _checked(
    source: Source, size: int, dtype: DTypeLike
) -> Iterator[tuple[int, np.ndarray]]:
    """The batches, as they are read; ValueError for an invalid row."""
    for start, x in _numbers(source, size, dtype):
        infinite, zero = _invalid(x)
        if infinite.size or zero.size:
            _refuse(source, start, infinite, zero)
        yield start, x


def _invalid(
    x: Float[np.ndarray, "n D"],
) -> tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"]]:
    """The rows that are not finite, and those that are zero.

    Zero in float32. One sum of squares tells which rows must be looked at number by
    number.
    """
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        squares = np.einsum("nd,nd->n", x, x)
    some = np.flatnonzero(~((squares > _TINY) & (squares < np.inf)))
    rows = x[some].astype(np.float32, copy=False)
    return some[~np.isfinite(rows).all(axis=1)], some[~rows.any(axis=1)]


def check_finite(source: Source, start: int, rows: np.ndarray) -> None:
    """Raise ValueError for a row that is not finite.

    The first row has the number `start`.
    """
    infinite = np.flatnonzero(not_finite(rows))
    if infinite.size:
        _refuse(source, start, infinite, infinite[:0])


def check_mapped(source: Source, start: int, rows: np.ndarray) -> None:
    """Raise BadFile if a map takes a row beyond float32."""
    bad = np.flatnonzero(not_finite(rows))
    if bad.size:
        path, row = source.place_of(start + int(bad[0]))
        raise BadFile(
            f"{path}: row {row} is too large for float32 beside the others (id "
            f"{short(source.ids[start + bad[0]])!r}); scale it down."
        )


def _refuse(
    source: Source,
    start: int,
    infinite: Int[np.ndarray, " _"],
    zero: Int[np.ndarray, " _"],
) -> None:
    """Raise ValueError that names the first rows that are not valid."""
    what = "NaN, infinity or more than float32 holds" if infinite.size else "only zeros"
    bad = start + (infinite if infinite.size else zero)
    places = [source.place_of(row) for row in bad[:10].tolist()]
    path, first = places[0]
    numbers = [number for part, number in places if part == path]
    with faults_of(path):
        raise ValueError(
            f"{what} in row {first}; rows {numbers}, ids "
            f"{few(source.ids[bad[: len(numbers)]])}. {LEAVE_OUT}"
        )


def few_common(first: Source, second: Source, shared: int, needed: str) -> str:
    """The message that two files share fewer samples than are needed."""
    text = (
        f"{first.path} and {second.path} have {shared} samples in common, and {needed}"
    )
    if shared:  # so that names are alike
        return f"{text}. Embed more of the same samples by both models."
    return (
        f"{text}; their ids begin with {few(first.ids, 3)} and {few(second.ids, 3)}. "
        "Name a sample alike in both."
    )
