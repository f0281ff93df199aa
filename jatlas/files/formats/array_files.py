"""Embeddings in files of arrays: .npz, .npy, safetensors. No pickle is loaded."""

import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jatlas.files.formats import names
from jatlas.files.formats.arrays.heads import ANEW, Head, npy_head, read_array, read_npy
from jatlas.files.formats.arrays.unread import Array, first_values, unread_arrays
from jatlas.files.formats.places import (
    Place,
    Remote,
    Streamed,
    file_size,
    opened,
    place,
)
from jatlas.files.formats.rows import (
    USUAL,
    Rows,
    Wanted,
    check_promise,
    joined,
    native,
    pick,
    pick_ids,
    release,
    released,
    rows_of,
)
from jatlas.files.formats.tensorfile import read_tensors

_ID_FILES = (".npy", ".txt")
_PART = 2**18  # numbers that are looked at once


def open_npz(path: Place, wanted: Wanted) -> tuple[np.ndarray, Rows]:
    """Ids and rows of an .npz; uncompressed rows are mapped.

    That bytes changed since is seen by the archive's CRC-32, once all are read.
    """
    with zipfile.ZipFile(opened(path)) as archive:
        members, heads = _members(archive)
        named = pick_ids(list(members), wanted.ids)
        its_ids = _read_member(archive, members[named], heads[named], 256)
        arrays = {
            key: Array(shape, dtype)
            for key, (shape, _, dtype) in heads.items()
            if key != named
        }
        shapes = {key: x.shape for key, x in arrays.items()}

        def first(key: str) -> list[Any]:
            _check_length(members[key], heads[key][0], heads[key][2])
            with archive.open(members[key]) as stream:
                npy_head(stream, key)
                return first_values(stream, arrays[key])

        unread = partial(unread_arrays, arrays, its_ids, first)
        name = pick(shapes, wanted.embeddings, USUAL, unread)
        if members[name].compress_type != zipfile.ZIP_STORED:
            rows = rows_of(_read_member(archive, members[name], heads[name]))
            rows = rows._replace(between=None)  # each reading is of all of it
        elif isinstance(path, Remote):
            rows = _streamed_rows(path, members[name], heads[name])
        else:
            rows = _mapped_rows(path, members[name])
        return its_ids, rows._replace(id_name=named)


def _members(
    archive: zipfile.ZipFile,
) -> tuple[dict[str, zipfile.ZipInfo], dict[str, Head]]:
    """The places and heads of the arrays in an .npz."""
    members = {
        info.filename.removesuffix(".npy"): info
        for info in archive.infolist()
        if info.filename.endswith(".npy")
    }
    heads = {}
    for name, info in members.items():
        with archive.open(info) as stream:
            heads[name] = npy_head(stream, name)
    return members, heads


def npz_shapes(path: Place) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """The shape and dtype of each array in an .npz."""
    with zipfile.ZipFile(opened(path)) as archive:
        _, heads = _members(archive)
        return {name: (shape, dtype) for name, (shape, _, dtype) in heads.items()}


def npz_arrays(path: Place, wanted: Collection[str]) -> dict[str, np.ndarray]:
    """Those of the wanted arrays that an .npz has."""
    with zipfile.ZipFile(opened(path)) as archive:
        members, heads = _members(archive)
        return {
            name: native(_read_member(archive, members[name], heads[name]))
            for name in wanted
            if name in members
        }


def _streamed_rows(path: Remote, info: zipfile.ZipInfo, head: Head) -> Rows:
    """The rows of an array that is not compressed, from a stream.

    `zipfile` compares its CRC-32 at the end.
    """
    shape, turned, dtype = head
    _check_length(info, shape, dtype)
    if turned and len(shape) > 1:
        raise ValueError(
            f"{info.filename} stands column by column, which is read from this machine "
            "only: copy the file here, or save it with `np.ascontiguousarray`."
        )
    rows = rows_of(np.zeros((0, *shape[1:]), dtype))

    def batches(size: int) -> Iterator[np.ndarray]:
        with zipfile.ZipFile(opened(path)) as archive, archive.open(info) as stream:
            npy_head(stream, info.filename)
            for start in range(0, shape[0], size):
                count = min(size, shape[0] - start)
                data = stream.read(count * rows.shape[1] * dtype.itemsize)
                yield native(np.frombuffer(data, dtype).reshape(count, rows.shape[1]))
            stream.read()

    size = shape[0], rows.shape[1]
    return Rows(size, rows.dtype, batches, partial(joined, batches, size[0]))


def _check_length(
    info: zipfile.ZipInfo, shape: tuple[int, ...], dtype: np.dtype
) -> int:
    """How many bytes an array has; ValueError unless they are there."""
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if not 0 <= info.file_size - size <= 2**16:
        raise ValueError(f"{info.filename} has another shape than length. {ANEW}")
    return size


def _read_member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, head: Head, most: int = 1032
) -> np.ndarray:
    """An array of an .npz, once its claimed size is checked."""
    shape, _, dtype = head
    size = _check_length(info, shape, dtype)
    check_promise(info.filename, size, info.compress_size, most)
    with archive.open(info) as stream:
        return read_array(stream)


def open_npy(path: Place, wanted: Wanted) -> tuple[np.ndarray, Rows]:
    """Ids and mapped rows of an .npy; another file has the ids.

    That file is `ids` itself, or, of x.npy and the name id, x.id.npy or x.id.txt.
    """
    ids = wanted.ids
    tried = [place(ids)] if ids is not None else []
    for name in ["id", "ids"] if ids is None else [ids]:
        tried += [path.parent / f"{path.stem}.{name}{end}" for end in _ID_FILES]
    file = next((file for file in tried if file.is_file() and file != path), None)
    if file is None:
        raise ValueError(
            "an .npy has no room for ids; put them into one of "
            f"{', '.join(map(str, tried))}, one a row."
        )
    with path.open("rb") as stream:
        shape, turned, dtype = npy_head(stream, "it")
        offset = stream.tell()
    if 0 in shape:
        return read_ids(file), rows_of(np.zeros(shape, dtype))
    if isinstance(path, Remote):
        if turned and len(shape) > 1:
            raise ValueError(
                "it stands column by column, which is read from this machine only: "
                "copy it here, or save it with `np.ascontiguousarray`."
            )
        return read_ids(file), rows_of(Streamed(path, dtype, offset, shape))
    return read_ids(file), rows_of(read_npy(path, mapped=True))


def read_ids(file: Place) -> np.ndarray:
    """The ids in an .npy, or in a text file by line."""
    if file.suffix == ".npy":
        with file.open("rb") as stream:
            shape, _, dtype = npy_head(stream, str(file))
        size = int(np.prod(shape, dtype=object)) * dtype.itemsize
        if size > file_size(file):
            raise ValueError(f"{file} is cut off: its shape is {shape}. {ANEW}")
        with file.open("rb") as stream:
            return read_array(stream)
    # Some editors put a mark before the first line, which is no part of its id. Only
    # \n, \r\n and \r end a line: other marks that `splitlines` takes are in ids.
    with file.open("rb") as stream:
        text = stream.read().decode("utf-8-sig")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return names.text_array(lines[:-1] if lines[-1] == "" else lines)


def open_safetensors(path: Place, wanted: Wanted) -> tuple[np.ndarray, Rows]:
    """Ids and rows of a safetensors file, mapped.

    The format has no text: ids are integers, or (N, W) bytes in UTF-8, zero-filled.
    """
    tensors = read_tensors(path)
    named = pick_ids(list(tensors.shapes), wanted.ids)
    its_ids = np.array(tensors.array(named))
    if its_ids.dtype == np.uint8 and its_ids.ndim == 2:
        its_ids = names.decode_text(its_ids)
    shapes = {key: shape for key, shape in tensors.shapes.items() if key != named}
    arrays = {  # others are floats that NumPy does not have
        key: Array(
            shape,
            np.dtype("f4") if key in tensors.others else tensors.arrays[key].dtype,
        )
        for key, shape in shapes.items()
    }
    unread = partial(unread_arrays, arrays, its_ids, lambda _: [])
    rows = rows_of(tensors.array(pick(shapes, wanted.embeddings, USUAL, unread)))
    return its_ids, rows._replace(id_name=named)


def _mapped_rows(path: Path, info: zipfile.ZipInfo) -> Rows:
    """The rows of such an array, with its CRC-32 checked on reading."""
    head, array = _mapped_member(path, info)
    rows = rows_of(array)

    def checked() -> np.ndarray:
        _looked_over(array if array.flags.c_contiguous else array.T, head, info)
        return rows.whole()

    def batches(size: int) -> Iterator[np.ndarray]:
        if array.flags.c_contiguous:
            parts = (array[k : k + size] for k in range(0, len(array), size))
            for part in released(array, _unchanged(parts, head, info)):
                yield native(part.reshape(len(part), rows.shape[1]))
            return
        # Its numbers stand column by column, and rows are read across: another pass.
        _looked_over(array.T, head, info)
        release(array)
        yield from rows.batches(size)

    return rows._replace(batches=batches, whole=checked)


def _looked_over(stored: np.ndarray, head: bytes, info: zipfile.ZipInfo) -> None:
    """Raise ValueError if numbers were changed, in the file's order."""
    numbers = stored.reshape(-1)
    parts = (numbers[k : k + _PART] for k in range(0, numbers.size, _PART))
    for _ in _unchanged(parts, head, info):
        pass


def _unchanged(
    parts: Iterable[np.ndarray], head: bytes, info: zipfile.ZipInfo
) -> Iterator[np.ndarray]:
    """The parts; at the end, ValueError for another CRC-32."""
    crc = zlib.crc32(head)
    for part in parts:
        crc = zlib.crc32(np.ascontiguousarray(part).view(np.uint8).data, crc)
        yield part
    if crc != info.CRC:
        raise ValueError(
            f"{info.filename} was changed after it was written: its CRC-32 differs. "
            f"{ANEW}"
        )


def _mapped_member(path: Path, info: zipfile.ZipInfo) -> tuple[bytes, np.ndarray]:
    """The head and the mapped array of an uncompressed .npz member."""
    with path.open("rb") as stream:
        stream.seek(info.header_offset)
        local = stream.read(30)
        if local[:4] != b"PK\x03\x04":
            raise ValueError(
                f"it is damaged: {info.filename} is not where it should be. {ANEW}"
            )
        name, extra = (int.from_bytes(local[i : i + 2], "little") for i in (26, 28))
        stream.seek(name + extra, 1)
        begin = stream.tell()
        shape, turned, dtype = npy_head(stream, info.filename)
        offset = stream.tell()
        stream.seek(begin)
        head = stream.read(offset - begin)
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if offset - begin + size != info.file_size:
        raise ValueError(f"{info.filename} has another shape than length. {ANEW}")
    if 0 in shape:
        return head, np.zeros(shape, dtype)
    return head, np.memmap(path, dtype, "r", offset, shape, "F" if turned else "C")
