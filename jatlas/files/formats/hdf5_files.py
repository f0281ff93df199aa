"""Embeddings in HDF5 files, with checks that its library omits."""

import mmap
from pathlib import Path
from typing import Any

import numpy as np

from jatlas.files.formats import names
from jatlas.files.formats.faults import package
from jatlas.files.formats.rows import (
    USUAL,
    Rows,
    check_promise,
    pick,
    pick_ids,
    rows_of,
)

# Texts of any length lie in "global heaps": a head of 16 bytes, with the length of
# the whole, then objects: number (2), references (2), reserved (4), length of the data
# (8), and the data, in steps of 8. Object 0 is what is free, its head included.
# Source: HDF5 File Format Specification 3.0, section III.E.
_HEAP = b"GCOL\x01\x00\x00\x00"
_HEAD = 16


def open_hdf5(
    path: Path, ids: str | None, embeddings: str | None
) -> tuple[np.ndarray, Rows]:
    """Ids and rows of an HDF5 file, read on access."""
    h5py = package("h5py", "HDF5")
    file = h5py.File(path, "r")
    arrays = {name: x for name, x in file.items() if isinstance(x, h5py.Dataset)}
    name = pick_ids(list(arrays), ids)
    its_ids = arrays[name]
    _check_stored(name, its_ids)
    if h5py.check_string_dtype(its_ids.dtype) is not None:
        _check_heaps(path, file.id.get_create_plist().get_sizes()[1])
        its_ids = names.text_array(its_ids.asstr()[:].ravel().tolist())
    else:
        its_ids = its_ids[:]
    shapes = {key: x.shape or () for key, x in arrays.items() if key != name}
    name = pick(shapes, embeddings, USUAL)
    _check_stored(name, arrays[name])
    return its_ids, rows_of(arrays[name])


def _check_stored(name: str, dataset: Any) -> None:
    """Raise ValueError if it claims far more than the file holds."""
    if not dataset.shape:
        raise ValueError(f"{name} has no rows: its shape is {dataset.shape}.")
    check_promise(name, dataset.nbytes, dataset.id.get_storage_size())


def _check_heaps(path: Path, width: int) -> None:
    """Raise ValueError for a text heap with a dangling object.

    The library would go round in it for ever, and no signal stops that.
    """
    if width != 8:  # of files that other widths were asked for
        return
    with (
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        place = data.find(_HEAP)
        while place >= 0:
            if place % 8 == 0:
                _check_heap(data, place)
            place = data.find(_HEAP, place + 1)


def _check_heap(data: mmap.mmap, place: int) -> None:
    end = min(place + _number(data, place + 8, 8), len(data))
    at = place + _HEAD
    while at + _HEAD <= end:
        size = _number(data, at + 8, 8)
        if _number(data, at, 2) == 0 and size < _HEAD:
            raise ValueError(
                f"it is damaged: what lies at byte {at} leads nowhere. Write the file "
                "anew."
            )
        free = _number(data, at, 2) == 0
        at += size if free else _HEAD + -(-size // 8) * 8


def _number(data: mmap.mmap, place: int, width: int) -> int:
    return int.from_bytes(data[place : place + width], "little")
