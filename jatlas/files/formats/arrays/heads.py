"""Heads of NumPy's arrays in files. No pickle is loaded."""

from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

Head = tuple[tuple[int, ...], bool, np.dtype]
ANEW = "Write the file anew, or fetch it again."
_MOST_HEAD = 2**16
# NumPy parses a head as Python, which Python 3.11 cannot do in two threads at once: it
# then raises SystemError, now and again.
_PARSING = Lock()
_PICKLE = (
    "{} holds Python objects, a pickle, which could run code: it is not loaded. Save "
    "ids as integers or text, `ids.astype(str)`, and embeddings as numbers."
)


def read_array(stream: Any) -> np.ndarray:
    """An array in a stream, parsed by one thread at a time."""
    with _PARSING:
        return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))


def read_npy(path: Path, mapped: bool = False) -> np.ndarray:
    """An .npy file, its head parsed by one thread at a time."""
    with _PARSING:
        return np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)


def npy_head(stream: Any, name: str) -> Head:
    """Shape, order and dtype of an .npy; ValueError for objects."""
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"{name} is an array of the unknown version {version}. {ANEW}")
    begin, field = stream.tell(), 2 if version == (1, 0) else 4
    length = int.from_bytes(stream.read(field), "little")
    if length > _MOST_HEAD:  # a stream would take the memory before it reads
        raise ValueError(f"{name} has a head of {length:,} bytes. {ANEW}")
    stream.seek(begin)
    with _PARSING:
        if version == (1, 0):
            head = np.lib.format.read_array_header_1_0(stream)
        else:
            head = np.lib.format.read_array_header_2_0(stream)
    if head[2].hasobject:
        raise ValueError(_PICKLE.format(name))
    if any(size < 0 for size in head[0]):
        raise ValueError(f"{name} has the shape {head[0]}. {ANEW}")
    return head
