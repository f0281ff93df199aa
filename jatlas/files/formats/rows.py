"""Rows of embeddings in a file, read in batches."""

import ctypes
import mmap
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

# The names that embeddings have, if there are other arrays or columns beside them.
USUAL = ("embeddings", "embedding", "merged")

# Boxes, places and scores have fewer numbers a sample: what has so many is meant,
# whatever stands beside it in a form that is not read.
WIDE = 16

# Rows that are read at once where nobody says how many.
AT_ONCE = 8192

_LOOKED_AT = 2**22  # numbers at once
_MAPPED = 2**24  # bytes of a mapped file that are in this process's memory at once
_SHOWN = 800  # characters of what is not read
_NAME_THEM = "Name them with embeddings=... (--embeddings)."


class Wanted(NamedTuple):
    """How a file is to be read.

    Attributes:
        ids: the name of the array or column of ids; that of a usual name if None.
        embeddings: that of the embeddings; the only ones if None.
        lenient: whether rows that are null come as NaN, and are not refused.
    """

    ids: str | None = None
    embeddings: str | None = None
    lenient: bool = False


class Rows(NamedTuple):
    """(N, D) numbers that need not be in memory.

    Attributes:
        shape: (N, D); D is 0 where rows that are null were let through, and all are.
        dtype: as the file has them, in the machine's order of bytes.
        batches: of a size n, gives the rows in order, n at a time; fewer in the last,
            and wherever the file's own pieces end.
        whole: gives them all; mapped from the file where its format allows.
        note: which columns of the file they are, if a reader must know; or empty.
        id_name: the name of the ids in the file.
        parts: the files that they are in and their first rows, if there are several.
        columns: the columns of a table that they are, in order.
        between: of a first row, the row after the last and a size, gives these rows in
            batches without reading those before; None where the format does not allow.
    """

    shape: tuple[int, int]
    dtype: np.dtype
    batches: Callable[[int], Iterator[np.ndarray]]
    whole: Callable[[], np.ndarray]
    note: str = ""
    id_name: str = "id"
    parts: tuple[tuple[str, int], ...] = ()
    columns: tuple[str, ...] = ()
    between: Callable[[int, int, int], Iterator[np.ndarray]] | None = None


def joined(batches: Callable[[int], Iterator[np.ndarray]], size: int) -> np.ndarray:
    """All rows that a function of batches gives, in memory once.

    Raises:
        ValueError: if they are not so many, or of two widths.
    """
    rows, start = None, 0
    for x in batches(AT_ONCE):
        if rows is None:
            rows = np.empty((size, x.shape[1]), x.dtype)
        if rows.dtype != x.dtype:
            rows = rows.astype(np.result_type(rows, x), copy=False)
        rows[start : start + len(x)] = x.reshape(len(x), rows.shape[1])
        start += len(x)
    if rows is None or start < size:
        raise ValueError(f"it has {size} ids and {start} embeddings: it is damaged.")
    return rows


def rows_of(array: Any) -> Rows:
    """The rows of an array (N, D) or (N, 1, D).

    What slices like an array will do.

    Raises:
        ValueError: if it is something else, or not of floating point numbers.
    """
    shape = tuple(map(int, array.shape))
    if len(shape) == 3 and shape[1] == 1:
        shape = shape[0], shape[2]
    _check_floating(array.dtype, tuple(array.shape), len(shape))
    dtype = array.dtype.newbyteorder("=")

    def part(where: slice) -> np.ndarray:
        x = np.asanyarray(array[where])
        return native(x.reshape(len(x), shape[1]))

    def between(start: int, stop: int, size: int) -> Iterator[np.ndarray]:
        ends = ((k, min(k + size, stop)) for k in range(start, stop, size))
        return released(array, (part(slice(*some)) for some in ends))

    return Rows(
        (shape[0], shape[1]),
        dtype,
        lambda size: between(0, shape[0], size),
        lambda: part(slice(None)),
        between=between,
    )


def released(array: Any, parts: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Parts of an array, few megabytes of a mapped one in memory."""
    size = 0
    for part in parts:
        yield part
        size += part.nbytes
        if size >= _MAPPED:
            release(array)
            size = 0
    release(array)


def release(array: Any) -> None:
    """Take a mapped file out of this process's memory.

    It is mapped again where it is looked at, or written to, again.
    """
    mapped = getattr(array, "_mmap", array)  # of `numpy.memmap`
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def give_back() -> None:
    """Give the system what the C library keeps of freed memory.

    Before an atlas takes its room: of the many arrays of a fit and its score glibc
    keeps the pages, a hundred megabytes or more, and a large array takes none of them.
    """
    if _C is not None:
        _C.malloc_trim(0)


def _c_library() -> Any:
    """The C library of this process, where it can give memory back."""
    try:
        library = ctypes.CDLL(None)
    except (OSError, TypeError):  # a system without `dlopen`
        return None
    return library if hasattr(library, "malloc_trim") else None


_C = _c_library()


def not_finite(x: np.ndarray) -> np.ndarray:
    """The rows with NaN or infinity, looked for in pieces."""
    bad = np.zeros(len(x), bool)
    size = max(_LOOKED_AT * len(x) // max(x.size, 1), 1)
    for start in range(0, len(x), size):
        finite = np.isfinite(x[start : start + size])
        if not finite.all():  # faster than row by row
            bad[start : start + size] = ~finite.all(axis=tuple(range(1, x.ndim)))
    return bad


def native(x: np.ndarray) -> np.ndarray:
    """The array in the machine's byte order, without a needless copy."""
    return x.astype(x.dtype.newbyteorder("="), copy=False)


def _check_floating(dtype: np.dtype, shape: tuple[int, ...], axes: int) -> None:
    if dtype.type is np.void and dtype.names is None and dtype.itemsize <= 2:
        kind = "bfloat16" if dtype.itemsize == 2 else "an 8-bit float"
        raise ValueError(
            f"the embeddings are of {dtype.itemsize} bytes a number without a dtype "
            f"({dtype.str}), most likely {kind}: NumPy and HDF5 do not store its name. "
            "Save them with `.astype(np.float32)`, or as safetensors."
        )
    name = getattr(dtype, "name", str(dtype))
    if axes != 2 or "float" not in name:
        raise ValueError(
            f"the embeddings are {name}{shape}; expected a matrix of floating point "
            "numbers, one row a sample. Convert them, with `.astype(np.float32)` or a "
            "mean over the other axes."
        )


def _none_unread(among: Collection[str] | None = None) -> dict[str, str]:
    return {}


def pick(
    shapes: Mapping[str, tuple[int, ...]],
    wanted: str | None,
    usual: tuple[str, ...],
    unread: Callable[..., Mapping[str, str]] = _none_unread,
) -> str:
    """The name of the array that holds the embeddings, by shape.

    It is the one that is wanted; or else the one with a usual name, or the only matrix,
    (N, D) or (N, 1, D), if no other array has as many axes: vectors of tokens beside
    two coordinates may be what is meant.

    Beside a matrix that is as wide as only embeddings are, nothing else is a question.

    `unread` gives what is none, but can hold vectors: the types in words, by name, of
    all or of the names that it is called with. Nothing takes the place of these.

    Raises:
        ValueError: if there is none, or more than one.
    """
    if wanted is not None:
        _check_read(unread([wanted]))
        if wanted in shapes:
            return wanted
        raise ValueError(
            f"there is no {wanted!r} in it, but {list(shapes)[:20]}; give one of these "
            "as embeddings=... (--embeddings)."
        )
    # One with a usual name is meant, even if it cannot be read: that is then said.
    named = [name for name in usual if len(shapes.get(name, ())) >= 2]
    _check_read(unread(usual[: usual.index(named[0])] if named else usual))
    several = [name for name, shape in shapes.items() if len(shape) >= 2]
    matrices = [name for name in several if _is_matrix(shapes[name])]
    if named:
        return named[0]
    wide = len(matrices) == 1 and shapes[matrices[0]][-1] >= WIDE
    if len(several) < 2 and not wide:  # several are a question by themselves
        _check_read(unread(), several)
    if several == matrices and len(matrices) == 1:
        return matrices[0]
    raise ValueError(
        f"which of {list(shapes)[:20]} are the embeddings, a matrix? {_NAME_THEM}"
    )


def _check_read(unread: Mapping[str, str], beside: Sequence[str] = ()) -> None:
    """Raise ValueError for arrays that can be meant, and are not read."""
    if unread:
        which = ", ".join(f"{name!r} is {kind}" for name, kind in unread.items())
        several = f"which of {[*beside, *unread][:20]} are the embeddings? Of these, "
        raise ValueError(
            f"{several if beside else ''}the array {which[:_SHOWN]}: it could be the "
            "embeddings, and is not read; a matrix of floating point numbers, one row "
            "a sample, is. Convert it, or name another array with embeddings=... "
            "(--embeddings)."
        )


def _is_matrix(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 or (len(shape) == 3 and shape[1] == 1)


def pick_ids(names: list[str], wanted: str | None) -> str:
    """The name of the ids: the wanted one, or "id" or "ids".

    Raises:
        ValueError: if it is not among the names.
    """
    for name in [wanted] if wanted is not None else ["id", "ids"]:
        if name in names:
            return name
    raise ValueError(
        f"there are no ids {wanted or 'id or ids'!r} in it, but {names[:20]}; name "
        "them with ids=... (--ids). If it has none, store them beside the rows: they "
        "say which rows of two files are of one sample."
    )


def check_promise(what: str, size: int, stored: int, most: int = 1032) -> None:
    """Raise ValueError if the stored bytes cannot hold the claimed size.

    Deflate makes 1,032 bytes of one at most; no data of numbers comes near.

    Raises:
        ValueError: before any memory is taken for them.
    """
    if not is_promised(size, stored, most):
        raise ValueError(
            f"{what} would take {size:,} bytes, and {stored:,} are stored: it is "
            "damaged, or made to fill the memory. Write the file anew."
        )


def is_promised(size: int, stored: int, most: int = 1032) -> bool:
    """Whether stored bytes can hold the claimed size."""
    return size <= 2**25 + most * stored
