"""What the pages of a Parquet file promise, before a reader takes memory for them.

A page begins with its header in Thrift's compact protocol; its second and third field
are the sizes of its data, unpacked and as stored. A reader takes the first on trust.

Source: github.com/apache/parquet-format, parquet.thrift (`PageHeader`); Thrift's
compact protocol, thrift-compact-protocol.md.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from jatlas.files.formats.rows import check_promise

_STOP, _TRUE, _FALSE, _BYTE, _DOUBLE = 0, 1, 2, 3, 7
_WHOLE, _BINARY, _LISTS, _MAP, _STRUCT = (4, 5, 6), 8, (9, 10), 11, 12
_MOST_HEADER, _DEPTH = 2**16, 16


def check_pages(path: Path, metadata: Any, columns: Sequence[str]) -> None:
    """Raise ValueError if a page of these columns promises more than it can hold.

    Args:
        path: of the file.
        metadata: of its footer, as pyarrow gives it.
        columns: the names of columns; what is nested in them is looked at too.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        for chunk in _chunks(metadata, set(columns)):
            offsets = (chunk.dictionary_page_offset, chunk.data_page_offset)
            start = min(offset for offset in offsets if offset)
            end = start + chunk.total_compressed_size
            if not 0 < start <= end <= size:
                raise ValueError(
                    f"it is damaged: column {chunk.path_in_schema!r} is said to lie in "
                    f"bytes {start} to {end} of {size}. Write the file anew."
                )
            for unpacked, stored in _pages(stream, start, end):
                check_promise(f"a page of {chunk.path_in_schema!r}", unpacked, stored)


def _chunks(metadata: Any, columns: set[str]) -> Iterator[Any]:
    """The chunks of these columns, in all groups of rows."""
    for k in range(metadata.num_row_groups):
        group = metadata.row_group(k)
        for j in range(group.num_columns):
            chunk = group.column(j)
            path = chunk.path_in_schema
            # A name may have dots in it, as what is nested has.
            if path in columns or any(path.startswith(f"{c}.") for c in columns):
                yield chunk


def _pages(stream: IO[bytes], start: int, end: int) -> Iterator[tuple[int, int]]:
    """The sizes that pages promise, unpacked and stored."""
    while start < end:
        stream.seek(start)
        header = _Compact(stream.read(min(_MOST_HEADER, end - start)))
        fields = header.struct(0)
        unpacked, stored = fields.get(2, -1), fields.get(3, -1)
        if unpacked < 0 or stored < 0:
            raise ValueError(
                f"it is damaged: there is no page at byte {start}. Write the file anew."
            )
        yield unpacked, stored
        start += header.place + stored


class _Compact:
    """A reader of Thrift's compact protocol that keeps whole numbers only."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def byte(self) -> int:
        self.skip(1)
        return self.data[self.place - 1]

    def skip(self, size: int) -> None:
        if size > len(self.data) - self.place:
            raise ValueError("it is damaged: the header of a page has no end.")
        self.place += size

    def number(self) -> int:
        """A whole number of any length, seven bits a byte."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128 or shift > 63:
                return value

    def signed(self) -> int:
        value = self.number()
        return (value >> 1) ^ -(value & 1)

    def struct(self, depth: int) -> dict[int, int]:
        """The fields of a struct that are whole numbers, by their numbers."""
        fields, last = {}, 0
        while (head := self.byte()) != _STOP:
            last = last + (head >> 4) if head >> 4 else self.signed()
            value = self.value(head & 15, depth)
            if value is not None:
                fields[last] = value
        return fields

    def value(self, kind: int, depth: int) -> int | None:
        """A value that is a whole number, or None for any other, which is skipped."""
        if depth > _DEPTH:
            raise ValueError("it is damaged: the header of a page has no end.")
        if kind in _WHOLE:
            return self.signed()
        if kind == _BYTE:
            self.byte()
        elif kind == _DOUBLE:
            self.skip(8)
        elif kind == _BINARY:
            self.skip(self.number())
        elif kind in _LISTS:
            head = self.byte()
            for _ in range(self.number() if head >> 4 == 15 else head >> 4):
                self.item(head & 15, depth)
        elif kind == _MAP:
            size = self.number()
            kinds = self.byte() if size else 0
            for _ in range(size):
                self.item(kinds >> 4, depth)
                self.item(kinds & 15, depth)
        elif kind == _STRUCT:
            self.struct(depth + 1)
        elif kind not in (_TRUE, _FALSE):  # these two have no bytes of their own
            raise ValueError("it is damaged: the header of a page has no end.")
        return None

    def item(self, kind: int, depth: int) -> None:
        """Skip an item of a list, in which truths have a byte each."""
        if kind in (_TRUE, _FALSE):
            self.byte()
        else:
            self.value(kind, depth + 1)
