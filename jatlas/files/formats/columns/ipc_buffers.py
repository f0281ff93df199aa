"""The sizes that buffers in Arrow's IPC files and streams promise.

A compressed buffer begins with its size once unpacked. Arrow takes that much memory
before it unpacks a byte, so that a few changed bytes would take all memory of the
machine.

Sources: Arrow's columnar format, "Serialization and Interprocess Communication", with
Message.fbs (`Message`, `RecordBatch`, `DictionaryBatch`, `BodyCompression`) and
File.fbs (`Footer`, `Block`); FlatBuffers internals.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from jatlas.files.formats.places import Place
from jatlas.files.formats.rows import check_promise

_FILE = b"ARROW1"
_MARK = b"\xff\xff\xff\xff"
_DICTIONARY, _BATCH = 2, 3  # kinds of a Message's header
_BLOCK, _BUFFER = 24, 16  # bytes of these structs
_NOWHERE = "it is damaged: a part of it leads nowhere. Write the file anew."


class Message(NamedTuple):
    """A message: what it says of its body, and where that lies."""

    head: bytes
    body: int


def check_buffers(path: Place) -> None:
    """Raise ValueError if a batch claims more than it can hold."""
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        for message in messages(stream, size):
            unpacked, stored = promised(stream, message, size)
            check_promise("a batch of its rows", unpacked, stored)


def messages(stream: Any, size: int) -> Iterator[Message]:
    """The messages that Arrow reads: by the footer, or one after another."""
    stream.seek(0)
    if stream.read(6) == _FILE:
        for place in _blocks(stream, size):
            message = _message(stream, place, size)
            if message is None:
                raise ValueError(_NOWHERE)
            yield message
        return
    place = 0
    while (message := _message(stream, place, size)) is not None:
        yield message
        place = message.body + _body_length(message)


def _message(stream: Any, place: int, size: int) -> Message | None:
    """The message that begins at a byte; None at the end."""
    stream.seek(place)
    start = stream.read(8)
    # Before version 0.15 the length came first, without a mark.
    before = 8 if start[:4] == _MARK else 4
    length = int.from_bytes(start[before - 4 : before], "little", signed=True)
    if len(start) < before or length == 0:
        return None
    if not 0 < length <= size - place - before:
        raise ValueError(_NOWHERE)
    stream.seek(place + before)
    return Message(stream.read(length), place + before + length)


def _blocks(stream: Any, size: int) -> Iterator[int]:
    """Where the footer of a file says that dictionaries and batches begin."""
    stream.seek(max(size - 10, 0))
    tail = stream.read(10)
    length = int.from_bytes(tail[:4], "little", signed=True)
    if tail[4:] != _FILE or not 0 < length <= size - 10:
        raise ValueError("it is cut off, or no Arrow file. Write the file anew.")
    stream.seek(size - 10 - length)
    footer = _Table.root(stream.read(length))
    for field in (2, 3):
        for place in footer.structs(field, _BLOCK):
            start = _number(footer.data, place, 8)
            if not 0 < start < size:
                raise ValueError(_NOWHERE)
            yield start


def promised(stream: Any, message: Message, size: int) -> tuple[int, int]:
    """The bytes of a batch, unpacked and stored; 0 of another message."""
    top = _Table.root(message.head)
    kind = top.field(1)
    kind = None if kind is None else top.data[kind]
    end = message.body + _body_length(message)
    if end > size:
        raise ValueError("it is cut off, or damaged. Write the file anew.")
    if kind not in (_DICTIONARY, _BATCH):
        return 0, 0
    batch = top.table(2)
    if batch is not None and kind == _DICTIONARY:
        batch = batch.table(1)
    if batch is None:
        raise ValueError(_NOWHERE)
    unpacked = stored = 0
    packed = batch.field(3) is not None
    for place in batch.structs(2, _BUFFER):
        start, length = (_number(batch.data, place + k, 8) for k in (0, 8))
        if min(start, length) < 0 or message.body + start + length > end:
            raise ValueError(_NOWHERE)
        stored += length
        unpacked += length
        if packed and length >= 8:
            stream.seek(message.body + start)
            claim = int.from_bytes(stream.read(8), "little", signed=True)
            if claim < -1:
                raise ValueError(_NOWHERE)
            # -1 marks a buffer that stands as it is.
            unpacked += claim - length if claim >= 0 else -8
    return unpacked, stored


def _body_length(message: Message) -> int:
    """How many bytes the body of a message has."""
    top = _Table.root(message.head)
    place = top.field(3)
    length = 0 if place is None else _number(top.data, place, 8)
    if length < 0:
        raise ValueError(_NOWHERE)
    return length


def _number(data: bytes, place: int, width: int, signed: bool = True) -> int:
    """A whole number, all of whose bytes must be there."""
    if not 0 <= place <= len(data) - width:
        raise ValueError(_NOWHERE)
    return int.from_bytes(data[place : place + width], "little", signed=signed)


class _Table(NamedTuple):
    """A table of FlatBuffers: bytes, and where in them it begins."""

    data: bytes
    place: int

    @classmethod
    def root(cls, data: bytes) -> "_Table":
        """The table that all others hang on."""
        return cls(data, _number(data, 0, 4, False))

    def field(self, number: int) -> int | None:
        """Where a field lies; None if it has its default."""
        entries = self.place - _number(self.data, self.place, 4)
        place = 4 + 2 * number
        if place + 2 > _number(self.data, entries, 2, False):
            return None
        offset = _number(self.data, entries + place, 2, False)
        return self._inside(self.place + offset) if offset else None

    def table(self, number: int) -> "_Table | None":
        """The table that a field leads to."""
        place = self.field(number)
        return None if place is None else _Table(self.data, self._target(place))

    def structs(self, number: int, width: int) -> range:
        """Where the structs in a field's list begin."""
        place = self.field(number)
        if place is None:
            return range(0)
        start = self._target(place)
        end = start + 4 + _number(self.data, start, 4, False) * width
        if end > len(self.data):
            raise ValueError(_NOWHERE)
        return range(start + 4, end, width)

    def _target(self, place: int) -> int:
        return self._inside(place + _number(self.data, place, 4, False))

    def _inside(self, place: int) -> int:
        if not 0 <= place < len(self.data):
            raise ValueError(_NOWHERE)
        return place
