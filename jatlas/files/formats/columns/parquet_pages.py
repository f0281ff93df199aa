"""Checks of the sizes that a Parquet file's pages claim.

A page begins with its header in Thrift's compact protocol; its second and third field
are the sizes of its data, unpacked and as stored. A reader takes the first on trust.
Where pages begin is read from the footer here too: pyarrow's own view of a damaged one
can end the process.

Source: github.com/apache/parquet-format, parquet.thrift (`FileMetaData`, `PageHeader`);
Thrift's compact protocol, thrift-compact-protocol.md.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from jatlas.files.formats.places import Place
from jatlas.files.formats.rows import check_promise

_STOP, _TRUE, _FALSE, _BYTE, _DOUBLE = 0, 1, 2, 3, 7
_WHOLE, _BINARY, _LISTS, _MAP, _STRUCT = (4, 5, 6), 8, (9, 10), 11, 12
_MOST_HEADER, _DEPTH = 2**16, 16
# Old writers left the header of a dictionary out of a column's length (PARQUET-816).
_SLACK = 100
_NO_END = "it is damaged: a header in it has no end. Write the file anew."


class Chunk(NamedTuple):
    """Where the pages of a column lie, in one group of rows."""

    column: str
    start: int
    end: int


def check_pages(path: Place, columns: Sequence[str]) -> None:
    """Raise ValueError if a page claims more than it can hold.

    Args:
        path: of the file.
        columns: the names of columns; what is nested in them is looked at too.
    """
    with path.open("rb") as stream:
        for column, start, end in chunks(stream, set(columns)):
            for unpacked, stored in pages(stream, start, end):
                check_promise(f"a page of {column!r}", unpacked, stored)


def chunks(stream: Any, columns: set[str]) -> Iterator[Chunk]:
    """The chunks of these columns in all row groups, from the footer."""
    size = stream.seek(0, 2)
    stream.seek(max(size - 8, 0))
    tail = stream.read(8)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != b"PAR1" or length > size - 8:
        raise ValueError("it is cut off, or no Parquet file. Write the file anew.")
    stream.seek(size - 8 - length)
    footer = _Compact(stream.read(length)).struct(0)
    for group in _structs(footer, 4):
        for entry in _structs(group, 1):
            about = entry.get(3)
            if not isinstance(about, dict):
                raise ValueError(_NO_END)
            parts = [part for part in about.get(3, []) if isinstance(part, bytes)]
            name = b".".join(parts).decode(errors="replace")
            # A name may have dots in it, as what is nested has.
            if name in columns or any(name.startswith(f"{c}.") for c in columns):
                yield _chunk(name, about, size)


def _chunk(name: str, about: dict[int, Any], size: int) -> Chunk:
    """A chunk's length (field 7) and offsets (9 and 11).

    They are from the metadata of a column.
    """
    offsets = [about.get(field) for field in (9, 11)]
    starts = [offset for offset in offsets if type(offset) is int and offset]
    length = about.get(7)
    start = min(starts, default=0)
    if type(length) is not int or not 0 < start <= start + length <= size:
        raise ValueError(
            f"it is damaged: column {name!r} is said to lie in {length} bytes from "
            f"{start} on, of {size}. Write the file anew."
        )
    return Chunk(name, start, start + length)


def pages(stream: Any, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The sizes that pages promise, unpacked and stored."""
    while start < end:
        stream.seek(start)
        header = _Compact(stream.read(min(_MOST_HEADER, end - start)))
        fields = header.struct(0)
        unpacked, stored = fields.get(2), fields.get(3)
        if type(unpacked) is not int or type(stored) is not int or stored < 0:
            raise ValueError(
                f"it is damaged: there is no page at byte {start}. Write the file anew."
            )
        yield unpacked, stored
        start += header.place + stored
        if start > end + _SLACK:  # a reader would take memory for what it claims
            raise ValueError(
                f"it is damaged: a page claims {stored} bytes, more than its column "
                "has. Write the file anew."
            )


def _structs(fields: dict[int, Any], number: int) -> list[dict[int, Any]]:
    """The structs in a list that is a field."""
    items = fields.get(number, [])
    if not isinstance(items, list) or not all(isinstance(x, dict) for x in items):
        raise ValueError(_NO_END)
    return items


class _Compact:
    """A reader of Thrift's compact protocol."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def take(self, size: int) -> bytes:
        """So many bytes, all of which must be there."""
        if size > len(self.data) - self.place:
            raise ValueError(_NO_END)
        self.place += size
        return self.data[self.place - size : self.place]

    def number(self) -> int:
        """A whole number of any length, seven bits a byte."""
        value = shift = 0
        while True:
            (byte,) = self.take(1)
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128 or shift > 63:
                return value

    def signed(self) -> int:
        """A whole number, its sign in the last bit."""
        value = self.number()
        return (value >> 1) ^ -(value & 1)

    def struct(self, depth: int) -> dict[int, Any]:
        """The fields of a struct by their numbers."""
        fields, last = {}, 0
        while (head := self.take(1)[0]) != _STOP:
            last = last + (head >> 4) if head >> 4 else self.signed()
            kind = head & 15  # a truth in a struct is its kind, and has no bytes
            fields[last] = kind == _TRUE if kind < _BYTE else self.value(kind, depth)
        return fields

    def value(self, kind: int, depth: int) -> Any:
        """A value by kind: a number, bytes, a list or a struct."""
        if depth > _DEPTH:
            raise ValueError(_NO_END)
        if kind in _WHOLE:
            return self.signed()
        if kind in (_TRUE, _FALSE, _BYTE):
            return self.take(1)[0]
        if kind == _DOUBLE:
            return self.take(8)
        if kind == _BINARY:
            return self.take(self.number())
        if kind in _LISTS:
            (head,) = self.take(1)
            size = self.number() if head >> 4 == 15 else head >> 4
            return [self.value(head & 15, depth + 1) for _ in range(size)]
        if kind == _MAP:
            size = self.number()
            kinds = self.take(1)[0] if size else 0
            both = (kinds >> 4, kinds & 15)
            return [self.value(one, depth + 1) for _ in range(size) for one in both]
        if kind == _STRUCT:
            return self.struct(depth + 1)
        raise ValueError(_NO_END)
