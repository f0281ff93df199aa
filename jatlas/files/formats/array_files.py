"""Embeddings in files of arrays: .npz, .npy, safetensors, HDF5. No pickle is loaded."""

import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jatlas.files.formats import names
from jatlas.files.formats.faults import package
from jatlas.files.formats.rows import Rows, pick, pick_ids, rows_of
from jatlas.files.formats.tensorfile import read_tensors

_ID_FILES = (".npy", ".txt")
_PART = 2**18  # numbers that are looked at once
USUAL = ("embeddings", "embedding", "merged")
_PICKLE = (
    "{} holds Python objects, a pickle, which could run code: it is not loaded. Save "
    "ids as integers or text, `ids.astype(str)`, and embeddings as numbers."
)


def open_npz(
    path: Path, ids: str | None, embeddings: str | None
) -> tuple[np.ndarray, Rows]:
    """Ids and rows of an .npz; rows that were not compressed are mapped.

    That bytes changed since is seen by the archive's CRC-32, once all are read.
    """
    with zipfile.ZipFile(path) as archive:
        files = {
            info.filename.removesuffix(".npy"): info for info in archive.infolist()
        }
        heads = {}
        for name, info in files.items():
            with archive.open(info) as stream:
                heads[name] = _npy_head(stream, name)
        name = pick_ids(list(files), ids)
        with archive.open(files[name]) as stream:
            found = np.lib.format.read_array(stream, allow_pickle=False)
        sizes = {key: len(shape) for key, (shape, _, _) in heads.items() if key != name}
        name = pick(sizes, embeddings, USUAL)
        if files[name].compress_type == zipfile.ZIP_STORED:
            return found, _mapped_rows(path, files[name])
        with archive.open(files[name]) as stream:
            return found, rows_of(np.lib.format.read_array(stream, allow_pickle=False))


def open_npy(
    path: Path, ids: str | None, embeddings: str | None
) -> tuple[np.ndarray, Rows]:
    """Ids and rows of an .npy, mapped; the ids are in a file of their own.

    That file is `ids` itself, or, of x.npy and the name id, x.id.npy or x.id.txt.
    """
    del embeddings
    tried = [Path(ids)] if ids is not None else []
    for name in ["id", "ids"] if ids is None else [ids]:
        tried += [path.parent / f"{path.stem}.{name}{end}" for end in _ID_FILES]
    file = next((file for file in tried if file.is_file() and file != path), None)
    if file is None:
        raise ValueError(
            "an .npy has no room for ids; put them into one of "
            f"{', '.join(map(str, tried))}, one a row."
        )
    with path.open("rb") as stream:
        _npy_head(stream, "it")
    return read_ids(file), rows_of(np.load(path, mmap_mode="r", allow_pickle=False))


def read_ids(file: Path) -> np.ndarray:
    """The ids in an .npy, or in a text file: text, one a line."""
    if file.suffix == ".npy":
        with file.open("rb") as stream:
            _npy_head(stream, str(file))
        return np.load(file, allow_pickle=False)
    # Some editors put a mark before the first line, which is no part of its id.
    lines = file.read_text(encoding="utf-8-sig").splitlines()
    return np.array(lines, str)


def open_safetensors(
    path: Path, ids: str | None, embeddings: str | None
) -> tuple[np.ndarray, Rows]:
    """Ids and rows of a safetensors file, mapped.

    The format has no text: ids are integers, or (N, W) bytes in UTF-8, zero-filled.
    """
    arrays, _ = read_tensors(path)
    name = pick_ids(list(arrays), ids)
    found = np.array(arrays[name])
    if found.dtype == np.uint8 and found.ndim == 2:
        found = names.decode_text(found)
    sizes = {key: x.ndim for key, x in arrays.items() if key != name}
    return found, rows_of(arrays[pick(sizes, embeddings, USUAL)])


def open_hdf5(
    path: Path, ids: str | None, embeddings: str | None
) -> tuple[np.ndarray, Rows]:
    """Ids and rows of an HDF5 file, read when they are looked at."""
    h5py = package("h5py", "HDF5")
    file = h5py.File(path, "r")
    arrays = {name: x for name, x in file.items() if isinstance(x, h5py.Dataset)}
    name = pick_ids(list(arrays), ids)
    found = arrays[name]
    text = h5py.check_string_dtype(found.dtype) is not None
    found = np.array(found.asstr()[:].tolist(), str) if text else found[:]
    sizes = {key: x.ndim for key, x in arrays.items() if key != name}
    return found, rows_of(arrays[pick(sizes, embeddings, USUAL)])


def _npy_head(stream: Any, name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, order and dtype that the head of an .npy gives; ValueError for objects."""
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        head = np.lib.format.read_array_header_1_0(stream)
    else:
        head = np.lib.format.read_array_header_2_0(stream)
    if head[2].hasobject:
        raise ValueError(_PICKLE.format(name))
    return head


def _mapped_rows(path: Path, info: zipfile.ZipInfo) -> Rows:
    """The rows of such an array, with its CRC-32 looked at in the pass over them."""
    head, array = _mapped_member(path, info)
    rows = rows_of(array)
    if array.flags.c_contiguous:
        return rows._replace(
            batches=lambda size: _unchanged(rows.batches(size), head, info),
            whole=lambda: _looked_over(array, array, head, info),
        )

    # Its numbers stand column by column, and rows are read across: a pass of its own.
    def batches(size: int) -> Iterator[np.ndarray]:
        _looked_over(array, array.T, head, info)
        yield from rows.batches(size)

    return rows._replace(
        batches=batches, whole=lambda: _looked_over(array, array.T, head, info)
    )


def _looked_over(
    array: np.ndarray, stored: np.ndarray, head: bytes, info: zipfile.ZipInfo
) -> np.ndarray:
    """The array, once its numbers, in the order of the file, proved unchanged."""
    numbers = stored.reshape(-1)
    parts = (numbers[k : k + _PART] for k in range(0, numbers.size, _PART))
    for _ in _unchanged(parts, head, info):
        pass
    return array


def _unchanged(
    parts: Iterable[np.ndarray], head: bytes, info: zipfile.ZipInfo
) -> Iterator[np.ndarray]:
    """The parts; after the last, ValueError if head and parts have another CRC-32."""
    crc = zlib.crc32(head)
    for part in parts:
        crc = zlib.crc32(np.ascontiguousarray(part).view(np.uint8).data, crc)
        yield part
    if crc != info.CRC:
        raise ValueError(
            f"{info.filename} was changed after it was written: its CRC-32 differs."
        )


def _mapped_member(path: Path, info: zipfile.ZipInfo) -> tuple[bytes, np.ndarray]:
    """Of an array of an .npz that is stored as it is: its head, and itself, mapped."""
    with path.open("rb") as stream:
        stream.seek(info.header_offset)
        local = stream.read(30)
        if local[:4] != b"PK\x03\x04":
            raise ValueError(
                f"it is damaged: {info.filename} is not where it should be."
            )
        name, extra = (int.from_bytes(local[i : i + 2], "little") for i in (26, 28))
        stream.seek(name + extra, 1)
        begin = stream.tell()
        shape, turned, dtype = _npy_head(stream, info.filename)
        offset = stream.tell()
        stream.seek(begin)
        head = stream.read(offset - begin)
    if (
        offset - begin + int(np.prod(shape, dtype=object)) * dtype.itemsize
        != info.file_size
    ):
        raise ValueError(f"{info.filename} has another shape than length.")
    if 0 in shape:
        return head, np.zeros(shape, dtype)
    return head, np.memmap(path, dtype, "r", offset, shape, "F" if turned else "C")
