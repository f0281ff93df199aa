"""Columns of a table, lists or numbers, as a matrix."""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from jatlas._src.ids import short
from jatlas.files.formats.columns.choice import Chosen
from jatlas.files.formats.columns.kinds import is_bfloat16, is_list, is_null
from jatlas.files.formats.columns.plain import numbers_of
from jatlas.files.formats.faults import NoRows, package
from jatlas.files.formats.rows import AT_ONCE, Rows, joined

_LEAVE_OUT = (
    "leave the row out (Reading(drop_invalid=True), --drop-invalid): the sample is "
    "then absent."
)


def rows_of_batches(
    ids: np.ndarray,
    chosen: Chosen,
    batches: Callable[[int, int, int], Iterator[Any]],
    lenient: bool,
) -> Rows:
    """Rows from batches of Arrow's, with these columns.

    A function gives the batches, of a first row, the row after the last, and a size.
    """

    def numbers(size: int) -> Iterator[np.ndarray]:
        # To the end of the file, lest one that has grown is taken for what it was.
        return between(0, sys.maxsize, size)

    def between(start: int, stop: int, size: int) -> Iterator[np.ndarray]:
        width, empty = None, 0
        for batch in batches(start, stop, size):
            if batch.num_rows == 0:
                continue
            part = _Part(batch, start, ids, lenient)
            x = _matrix(part, chosen.embeddings, width)
            start += batch.num_rows
            if x is None:  # all null, before a width is known
                empty += batch.num_rows
                continue
            width = x.shape[1]
            for first in range(0, empty, size):
                yield np.full((min(size, empty - first), width), np.nan, x.dtype)
            empty = 0
            yield x
        for start in range(0, empty, size):  # no row has numbers: of no width
            yield np.zeros((min(size, empty - start), 0), np.float32)

    first = next(numbers(AT_ONCE if lenient else 1), None)
    if first is None:
        raise NoRows("it has no rows; expected one at least.")
    shape = (ids.size, first.shape[1])
    return Rows(
        shape,
        first.dtype,
        numbers,
        partial(joined, numbers, ids.size),
        chosen.note,
        chosen.ids,
        columns=tuple(chosen.embeddings),
        between=between,
    )


class _Part:
    """Some rows of a table, which know where in it they stand."""

    def __init__(
        self, batch: Any, start: int, ids: np.ndarray, lenient: bool = False
    ) -> None:
        self.batch, self.ids, self.lenient = batch, ids, lenient
        self.rows = start + np.arange(batch.num_rows)

    def where(self, k: int, column: str) -> str:
        """The place of row `k` in messages: its number and id."""
        return f"row {self.rows[k]} of column {column!r}{self.name(k)}"

    def name(self, k: int) -> str:
        """The id of row `k`, in brackets."""
        row = self.rows[k]
        return f" (id {short(self.ids[row])!r})" if row < self.ids.size else ""

    def without(self, null: np.ndarray) -> "_Part":
        """The rows that are not null."""
        part = _Part(self.batch, 0, self.ids, self.lenient)
        part.rows = self.rows[~null]
        return part


def _matrix(part: _Part, columns: list[str], width: int | None) -> np.ndarray | None:
    """(n, D), the rows of a batch; D is `width`, if given.

    None if all are null and no width is known.
    """
    arrays = [_storage(part.batch.column(name)) for name in columns]
    if is_null(arrays[0].type):
        return _nothing(part.batch.num_rows, width)
    if not is_list(arrays[0].type):
        pairs = zip(arrays, columns, strict=True)
        return np.stack([_numbers(x, part, name, 1) for x, name in pairs], axis=1)
    (lists,), (column,) = arrays, columns
    total, start = len(lists), part.rows[0]
    lists, part = _present(lists, part, column)
    while is_list(lists.type.value_type):  # of one list each
        lists, part = _present(_only(lists, part, column), part, column)
    if not len(lists):
        return _nothing(total, width)
    lengths = _lengths(lists)
    width = int(lengths[0]) if width is None else width
    ragged = np.flatnonzero(lengths != width)
    if ragged.size or width == 0:
        k = int(ragged[0] if ragged.size else 0)
        if lengths[k] == 0:
            raise ValueError(
                f"the list is empty in {part.where(k, column)}; {_LEAVE_OUT}"
            )
        raise ValueError(
            f"the list in row {part.rows[k]} of column {column!r} has {lengths[k]} "
            f"numbers and the first {width}{part.name(k)}: all must have the same, one "
            "at least. Correct the row, or leave it out."
        )
    values = lists.flatten()
    if is_bfloat16(lists.type):
        values = _as_float32(values)
    x = _numbers(values, part, column, width).reshape(len(lists), width)
    if len(x) == total:
        return x
    filled = np.full((total, width), np.nan, x.dtype)
    filled[part.rows - start] = x
    return filled


def _nothing(total: int, width: int | None) -> np.ndarray | None:
    """Rows of NaN; None if no width is known."""
    return None if width is None else np.full((total, width), np.nan, np.float32)


def _present(lists: Any, part: _Part, column: str) -> tuple[Any, _Part]:
    """The lists that are not null; if lenient, not empty.

    Raises:
        ValueError: if one is null, unless lenient.
    """
    if part.lenient:
        compute = package("pyarrow.compute", "Parquet")
        sizes = compute.list_value_length(lists).fill_null(0)
        empty = numbers_of(sizes) == 0
        if not empty.any():
            return lists, part
        keep = package("pyarrow", "Parquet").array(~empty)
        return lists.filter(keep), part.without(empty)
    if lists.null_count:
        null = numbers_of(lists.is_null())
        where = part.where(int(np.argmax(null)), column)
        raise ValueError(f"there is nothing in {where}; {_LEAVE_OUT}")
    return lists, part


def _only(nest: Any, part: _Part, column: str) -> Any:
    """The lists in lists that hold one each."""
    lengths = _lengths(nest)
    several = np.flatnonzero(lengths != 1)
    if several.size:
        k = int(several[0])
        raise ValueError(
            f"{part.where(k, column)} holds {lengths[k]} lists of numbers; expected "
            "one, a sample's embedding. Take a mean over them, say."
        )
    return nest.flatten()


def _storage(array: Any) -> Any:
    """The storage of an extension array; any other array itself."""
    arrow = package("pyarrow", "Parquet")
    return array.storage if isinstance(array, arrow.ExtensionArray) else array


def _lengths(lists: Any) -> np.ndarray:
    if hasattr(lists.type, "list_size"):
        return np.full(len(lists), lists.type.list_size)
    return np.diff(numbers_of(lists.offsets))


def _numbers(values: Any, part: _Part, column: str, width: int) -> np.ndarray:
    """The values as floating point numbers that hold them."""
    arrow, types = package("pyarrow", "Parquet"), package("pyarrow.types", "Parquet")
    if not (types.is_floating(values.type) or types.is_integer(values.type)):
        raise ValueError(
            f"the embeddings {column!r} are {values.type}, not floating point; convert "
            "them."
        )
    if values.null_count and not part.lenient:
        k = values.is_null().to_pylist().index(True)
        where = part.where(k // width, column)
        kind = f"there is nothing in {where}"
        if width > 1 or is_list(part.batch.column(column).type):
            kind = f"a number is missing (null) in {where}"
        raise ValueError(f"{kind}; {_LEAVE_OUT}")
    if types.is_integer(values.type):
        narrow = values.type.bit_width <= 16
        values = values.cast(arrow.float32() if narrow else arrow.float64(), safe=False)
    if values.null_count:
        return _with_nan(values)
    return numbers_of(values)


def _as_float32(values: Any) -> Any:
    """Numbers of bfloat16, the upper half of a float32, as float32."""
    arrow = package("pyarrow", "Parquet")
    data = values.buffers()[1]
    raw = np.frombuffer(data, "<u2", count=len(values), offset=2 * values.offset)
    x = (raw.astype(np.uint32) << 16).view(np.float32)
    null = numbers_of(values.is_null()) if values.null_count else None
    return arrow.array(x, mask=null)


def _with_nan(values: Any) -> np.ndarray:
    """Numbers, NaN where they are null."""
    null = numbers_of(values.is_null())
    known = numbers_of(values.drop_null())
    x = np.full(len(values), np.nan, known.dtype)
    x[~null] = known
    return x
