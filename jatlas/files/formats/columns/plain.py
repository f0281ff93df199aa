"""NumPy's arrays as Arrow's and back, without pandas.

What pyarrow offers for it imports pandas, where that is installed: 50 MB of memory, and
a second, of which a table of numbers and text needs nothing.
"""

from typing import Any

import numpy as np

from jatlas.files.formats.faults import package

_AT_ONCE = 2**16  # texts that are coded at once


def numbers_of(array: Any) -> np.ndarray:
    """The numbers or truth values of an Arrow array; null is NaN.

    They are not copied where they lie in one piece.
    """
    arrow, types = package("pyarrow", "Arrow"), package("pyarrow.types", "Arrow")
    if array.null_count:
        return np.asarray(array.to_numpy(zero_copy_only=False))
    pieces = array.chunks if isinstance(array, arrow.ChunkedArray) else [array]
    if types.is_boolean(array.type):
        return numbers_of(array.cast(arrow.uint8())).astype(bool)
    if len(pieces) == 1:
        return _flat(pieces[0])
    empty = np.zeros(0, array.type.to_pandas_dtype())
    return np.concatenate([empty, *map(_flat, pieces)])


def _flat(piece: Any) -> np.ndarray:
    """The numbers of one piece, where they lie."""
    dtype = np.dtype(piece.type.to_pandas_dtype())
    data = piece.buffers()[1]
    if data is None or not len(piece):
        return np.zeros(0, dtype)
    start = piece.offset * dtype.itemsize
    return np.frombuffer(data, dtype, len(piece), start)


def array_of(x: np.ndarray) -> Any:
    """Numbers, or text, as an Arrow array; numbers are not copied."""
    arrow = package("pyarrow", "Arrow")
    if x.dtype.kind == "U":
        parts = [_text(x[k : k + _AT_ONCE]) for k in range(0, len(x), _AT_ONCE)]
        return arrow.chunked_array(parts, arrow.string())
    if x.dtype.kind not in "iuf":
        return arrow.array(x)
    plain = np.ascontiguousarray(x)
    kind = arrow.from_numpy_dtype(plain.dtype)
    return arrow.Array.from_buffers(kind, len(x), [None, arrow.py_buffer(plain)])


def _text(texts: np.ndarray) -> Any:
    """Some texts as an Arrow array."""
    arrow = package("pyarrow", "Arrow")
    coded = np.strings.encode(texts, "utf-8")
    lengths = np.strings.str_len(coded)
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    wide = np.ascontiguousarray(coded).view(np.uint8).reshape(len(coded), -1)
    letters = wide[np.arange(wide.shape[1]) < lengths[:, None]]
    buffers = [None, arrow.py_buffer(ends), arrow.py_buffer(letters)]
    return arrow.Array.from_buffers(arrow.string(), len(texts), buffers)
