"""Torch weights files, read without torch and without running code.

A pickle is a program that can call anything. This reader knows tensors by name, and
refuses every other name: it builds dictionaries of arrays and nothing else.
"""

import io
import math
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# Of the files that torch wrote before 1.6: three numbers, pickled, stand first.
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001

_DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}


class Refused(ValueError):
    """A file that holds something other than tensors.

    Nothing of it was run.
    """


class _Storage(NamedTuple):
    """A row of numbers somewhere in the file."""

    key: str
    dtype: np.dtype
    length: int


class _Tensor(NamedTuple):
    """Which numbers of a storage are a tensor, in what order."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of a file that `torch.save(model.state_dict(), path)` wrote.

    Of any version: the pickles that torch wrote before 1.6, and the zip archives since.

    Args:
        path: of the file.

    Returns:
        Arrays by the names of the tensors, in the order of the file.

    Raises:
        Refused: (a ValueError) if the file names anything but tensors, code for one.
            It is not run.
        ValueError: if the file is cut off, damaged, or not one of torch's, or if what
            it holds is not a dictionary of tensors.
        OSError: if it cannot be read.
    """
    data = Path(path).read_bytes()
    try:
        if zipfile.is_zipfile(io.BytesIO(data)):
            return _read_archive(data)
        return _read_pickles(data)
    except Refused as error:
        raise Refused(f"{path} is refused: {error}") from None
    except Exception as error:  # a damaged pickle can fail in any way
        raise ValueError(
            f"{path} is damaged, or not a dictionary of tensors that torch saved: "
            f"{error or type(error).__name__}. Fetch it anew; of a model, save the "
            "state_dict()."
        ) from error


class _TensorsOnly(pickle.Unpickler):
    """Knows dictionaries, numbers, strings and, by name, tensors."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _parameter
        if module == "torch" and name in _DTYPES:
            return np.dtype(_DTYPES[name])
        raise Refused(
            f"it names {module}.{name}, and only tensors are read, lest code be run. "
            "Save a state_dict() of plain tensors."
        )

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, length, *view = pid
        if kind != "storage" or not isinstance(dtype, np.dtype) or any(view):
            raise ValueError("a tensor's numbers are not where they should be")
        return _Storage(str(key), dtype, int(length))


def _load(stream: io.BytesIO) -> Any:
    """The next pickle of a stream, after a check of its opcodes.

    The unpickler takes memory for what an opcode says before it reads it: a place in
    its memory of 2^31, or an array of so many bytes, is a length of file to it.
    """
    start, most = stream.tell(), len(stream.getbuffer())
    for opcode, argument, _ in pickletools.genops(stream):
        places = "PUT" in opcode.name or opcode.name == "BYTEARRAY8"
        if places and (not isinstance(argument, int) or argument > most):
            raise ValueError(f"its pickle says {opcode.name} {argument!r:.40}")
    stream.seek(start)
    return _TensorsOnly(stream).load()


def _tensor(
    storage: _Storage, offset: int, shape: Any, strides: Any, *_: Any
) -> _Tensor:
    if not isinstance(storage, _Storage):
        raise ValueError("a tensor has no numbers")
    return _Tensor(storage, int(offset), tuple(shape), tuple(strides))


def _parameter(tensor: _Tensor, *_: Any) -> _Tensor:
    return tensor


def _read_archive(data: bytes) -> dict[str, np.ndarray]:
    """Read a file of torch 1.6 or later.

    It has a pickle, and a file for each storage.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        (pickled,) = (name for name in names if name.split("/")[1:] == ["data.pkl"])
        folder = pickled.split("/")[0]
        order = f"{folder}/byteorder"
        if order in names and archive.read(order).strip() != b"little":
            raise ValueError("its numbers are big-endian")
        tensors = _named(_load(io.BytesIO(archive.read(pickled))), len(data))
        storages: dict[tuple[str, np.dtype], np.ndarray] = {}
        for _, tensor in tensors:
            key, dtype, length = tensor.storage
            if (key, dtype) in storages:
                continue
            info = archive.getinfo(f"{folder}/data/{key}")
            if info.file_size != length * dtype.itemsize:
                raise ValueError(f"storage {key} has another length")
            storages[key, dtype] = np.frombuffer(archive.read(info), dtype)
        return {name: _array(t, storages[t.storage[:2]]) for name, t in tensors}


def _read_pickles(data: bytes) -> dict[str, np.ndarray]:
    """Of torch before 1.6: five pickles in a row, then the storages."""
    stream = io.BytesIO(data)
    magic, protocol, system = (_load(stream) for _ in range(3))
    if (magic, protocol) != (_MAGIC, _PROTOCOL) or not system["little_endian"]:
        raise ValueError("it does not begin as torch's files do")
    tensors = _named(_load(stream), len(data))
    dtypes = {t.storage.key: t.storage.dtype for _, t in tensors}
    storages = {}
    for key in _load(stream):
        length = int.from_bytes(stream.read(8), "little")
        size = length * dtypes[key].itemsize
        content = stream.read(size)
        if len(content) != size:
            raise ValueError("it is cut off")
        storages[key] = np.frombuffer(content, dtypes[key])
    return {name: _array(t, storages[t.storage.key]) for name, t in tensors}


def _named(content: Any, size: int) -> list[tuple[str, _Tensor]]:
    """The tensors of a dictionary, from a file of so many bytes.

    Raises:
        ValueError: if it is none, holds something else, or so many tensors of the same
            numbers that they would take far more memory than the file.
    """
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}")
    total = 0
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, _Tensor):
            raise ValueError(f"{name!r} is no tensor")
        whole = all(isinstance(n, int) and n >= 0 for n in tensor.shape)
        length = math.prod(tensor.shape) if whole else 0
        # One larger than its numbers is refused as such, where they are read.
        total += min(length, tensor.storage.length) * tensor.storage.dtype.itemsize
    if total > 2**25 + 64 * size:
        raise ValueError(f"its tensors would take {total:,} bytes, from {size:,}")
    return list(content.items())


def _array(tensor: _Tensor, numbers: np.ndarray) -> np.ndarray:
    """The tensor, from its storage's numbers only."""
    _, offset, shape, strides = tensor
    whole = all(isinstance(n, int) and n >= 0 for n in (offset, *shape, *strides))
    if not whole or len(shape) != len(strides) or len(numbers) != tensor.storage.length:
        raise ValueError("a tensor does not fit its numbers")
    size = int(np.prod(shape, dtype=object))
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if size > len(numbers) or (size and last >= len(numbers)):
        raise ValueError("a tensor is larger than its numbers")
    if not size:
        return np.zeros(shape, numbers.dtype)
    steps = [step * numbers.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(numbers[offset:], shape, steps).copy()
