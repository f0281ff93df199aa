"""Safetensors files by NumPy alone: a JSON header, then arrays."""

import json
from collections.abc import Mapping
from math import prod
from typing import IO, Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jatlas.files.formats.places import Place, Remote, Streamed, file_size

_DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(jnp.bfloat16),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_ANEW = "Write the file anew, or fetch it again."
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


class Tensors(NamedTuple):
    """What a file holds.

    Attributes:
        arrays: by name, mapped from the file and read when they are looked at; those of
            dtypes that NumPy knows.
        metadata: text by name.
        shapes: of all arrays, by name.
        others: the dtypes of those that are not among the arrays, by name.
    """

    arrays: dict[str, Any]
    metadata: dict[str, str]
    shapes: dict[str, tuple[int, ...]]
    others: dict[str, str]

    def array(self, name: str) -> Any:
        """The array of that name; ValueError for an unsupported dtype."""
        if name in self.others:
            raise ValueError(
                f"{name} is {self.others[name]}, which is not read here; known are "
                f"{', '.join(_DTYPES)}. Convert it, to F32 say."
            )
        return self.arrays[name]


def write_tensors(
    stream: IO[bytes], arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Write arrays in the safetensors format.

    That is 8 bytes of length, JSON, then the numbers.

    Raises:
        ValueError: if an array is of a dtype that the format does not have.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    # Wide numbers first, as the format's own writer does: all are then aligned.
    order = sorted(arrays, key=lambda name: -arrays[name].dtype.itemsize)
    end = 0
    for name in order:
        x = arrays[name]
        dtype = _NAMES.get(x.dtype.newbyteorder("<"))
        if dtype is None:
            raise ValueError(f"{name} is {x.dtype}; known are {', '.join(_DTYPES)}.")
        begin, end = end, end + x.nbytes
        header[name] = {
            "dtype": dtype,
            "shape": list(x.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    stream.write(len(text).to_bytes(8, "little") + text)
    for name in order:
        x = arrays[name]
        x = np.ascontiguousarray(x, x.dtype.newbyteorder("<")).reshape(-1)
        stream.write(x.view(np.uint8).data)


def read_tensors(path: Place) -> Tensors:
    """The arrays of a safetensors file; their numbers are mapped, not read.

    Raises:
        ValueError: if it is cut off, or is no such file.
        OSError: if it cannot be read.
    """
    size = file_size(path)
    with path.open("rb") as stream:
        start = stream.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or not 2 <= length <= size - 8:
            raise ValueError(f"it is cut off, or no safetensors file. {_ANEW}")
        text = stream.read(length)
    try:
        header = dict(json.loads(text))
        metadata = dict(header.pop("__metadata__", {}))
        places = {name: _place(name, entry) for name, entry in header.items()}
    except (TypeError, KeyError, RecursionError, ValueError) as error:
        raise ValueError(f"its header is damaged: {error}. {_ANEW}") from None
    _check_places(places, size - 8 - length)
    numbers: Any = np.zeros(0, np.uint8)
    if size > 8 + length and not isinstance(path, Remote):
        numbers = np.memmap(path, np.uint8, "r", offset=8 + length)
    arrays: dict[str, Any] = {}
    shapes, others = {}, {}
    for name, (dtype, shape, begin, end) in places.items():
        shapes[name] = shape
        if isinstance(dtype, str):
            others[name] = dtype
        elif isinstance(path, Remote):
            arrays[name] = Streamed(path, dtype, 8 + length + begin, shape)
        else:
            arrays[name] = numbers[begin:end].view(dtype).reshape(shape)
    return Tensors(arrays, metadata, shapes, others)


# Dtype (text for one that NumPy does not know), shape, and where its bytes stand.
_Place = tuple[np.dtype | str, tuple[int, ...], int, int]


def _place(name: str, entry: dict[str, Any]) -> _Place:
    """The place of an array's numbers, from its header entry."""
    begin, end = entry["data_offsets"]
    sizes = [*entry["shape"], begin, end]
    if not all(type(n) is int and n >= 0 for n in sizes):
        raise ValueError(f"{name} has a shape or place {sizes}")
    dtype = _DTYPES.get(entry["dtype"], str(entry["dtype"]))
    known = not isinstance(dtype, str)
    if begin > end or (known and end - begin != prod(entry["shape"]) * dtype.itemsize):
        raise ValueError(f"{name} has another shape than length")
    return dtype, tuple(entry["shape"]), begin, end


def _check_places(places: Mapping[str, _Place], size: int) -> None:
    """Raise ValueError unless the arrays fill the numbers, one after another."""
    last = 0
    for _, _, begin, end in sorted(places.values(), key=lambda place: place[2:]):
        if begin != last:
            raise ValueError(f"its arrays overlap or leave holes. {_ANEW}")
        last = end
    if last != size:
        raise ValueError(
            f"it is cut off or changed: {last} bytes of numbers are promised, {size} "
            f"are there. {_ANEW}"
        )
