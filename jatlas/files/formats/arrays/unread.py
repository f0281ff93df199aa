"""Arrays that can hold vectors in a form that is unread."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jatlas.files.formats.columns import looks
from jatlas.files.formats.columns.families import FEATURES, families_of

_LOOKED_AT = 64  # values of an array of texts
_MOST = 2**22  # bytes of them
_SHOWN = 80  # characters of a type


class Array(NamedTuple):
    """An array in a file; its dtype, None if unknown."""

    shape: tuple[int, ...]
    dtype: np.dtype | None


def unread_arrays(
    arrays: Mapping[str, Array],
    ids: np.ndarray,
    first: Callable[[str], Iterable[Any]],
    among: Collection[str] | None = None,
) -> dict[str, str]:
    """What is not read and can hold vectors, in words.

    Args:
        arrays: of a file, by name.
        ids: of the samples.
        first: gives the first values of an array, to see if they are numbers.
        among: the only ones that are looked at, if given.
    """
    unread = {}
    of_samples = {name: x for name, x in arrays.items() if x.shape == (ids.size,)}
    for name, (_, dtype) in of_samples.items():
        if among is None or name in among:
            kind = "of a type that NumPy does not have"
            if dtype is not None:
                kind = _in_words(dtype) or _by_values(dtype, name, first)
            if kind:
                unread[name] = kind
    if among is None:
        unread |= _arrays_of_samples(arrays, ids)
        floats = {
            name: None
            for name, (_, dtype) in of_samples.items()
            if dtype is not None and dtype.kind == "f"
        }
        for family in families_of(floats, lambda _: True):
            if (count := len(family.columns)) >= FEATURES:
                unread[f"{family.prefix}*"] = f"{count} arrays, one number a sample"
    return unread


def _arrays_of_samples(arrays: Mapping[str, Array], ids: np.ndarray) -> dict[str, str]:
    """Vectors in arrays of one sample each.

    They are called "emb/*" or "*/emb": in a group, or each in a group.
    """
    patterns: dict[str, dict[str, int]] = {}
    for name, (shape, dtype) in arrays.items():
        if len(shape) == 1 and shape[0] > 1 and dtype is not None and dtype.kind == "f":
            parts = name.split("/")
            for k, part in enumerate(parts):
                pattern = "/".join([*parts[:k], "*", *parts[k + 1 :]])
                patterns.setdefault(pattern, {})[part] = shape[0]
    if all(len(lengths) < 2 for lengths in patterns.values()):
        return {}
    names = set(map(str, ids.tolist()))
    return {
        pattern: f"{len(lengths)} arrays, one a sample"
        for pattern, lengths in patterns.items()
        if _are_samples(lengths, names)
    }


def _are_samples(lengths: Mapping[str, int], ids: Collection[str]) -> bool:
    """Whether arrays of such names and lengths are of one sample each."""
    if len(lengths) < 2:
        return False
    named = sum(name in ids for name in lengths)
    # Columns of a table have a number a sample.
    counted = len(lengths) == len(ids) and set(lengths.values()) != {len(ids)}
    return named >= max(2, len(lengths) / 2) or counted


def _in_words(dtype: np.dtype) -> str:
    """A type whose values are several floats each; or empty."""
    several = _floats(dtype) > 1
    vlen = _vlen(dtype)
    if isinstance(vlen, np.dtype):
        return f"{vlen} of any length" if several else ""
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return f"{base}{shape} a value" if several or base.kind == "i" else ""
    return str(np.dtype(dtype))[:_SHOWN] if several else ""


def _vlen(dtype: np.dtype) -> Any:
    """What values of any length consist of in HDF5; None for others."""
    return dict(dtype.metadata or {}).get("vlen")


def _floats(dtype: np.dtype) -> int:
    """How many floats a value has: 0, 1, or 2 for several."""
    vlen = _vlen(dtype)
    if isinstance(vlen, np.dtype):
        return 2 * min(_floats(vlen), 1)
    if dtype.subdtype is not None:
        return 2 * min(_floats(dtype.subdtype[0]), 1)
    if dtype.names is not None:
        return min(2, sum(_floats(dtype[name]) for name in dtype.names))
    return int(dtype.kind == "f")


def _by_values(
    dtype: np.dtype, name: str, first: Callable[[str], Iterable[Any]]
) -> str:
    """The type of texts or bytes that are numbers."""
    if is_looked_at(dtype):
        for value in first(name):
            if not looks.is_empty(value := _value(value, dtype)):
                kind = "text" if isinstance(value, str) else f"bytes ({dtype})"
                return f"{kind} of numbers" if looks.holds_numbers(value) else ""
    return ""


def is_looked_at(dtype: np.dtype) -> bool:
    """Whether values are texts or bytes, which can be anything."""
    if dtype.kind == "O":
        return _vlen(dtype) in (str, bytes)
    return dtype.kind in "SUV" and dtype.names is None and dtype.subdtype is None


def _value(value: Any, dtype: np.dtype) -> Any:
    """Text, or else bytes of the width of their type."""
    if isinstance(value, np.void):
        return value.tobytes()
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            width = dtype.itemsize if dtype.kind == "S" else 0
            return bytes(value).ljust(width, b"\0")
    return value


def first_values(stream: Any, array: Array) -> list[Any]:
    """The first values of an array of texts, whose bytes come next."""
    shape, dtype = array
    if dtype is None or dtype.itemsize == 0:
        return []
    count = most_values(shape[0], dtype.itemsize)
    data = stream.read(count * dtype.itemsize)
    whole = len(data) // dtype.itemsize
    return list(np.frombuffer(data, dtype, whole))


def most_values(size: int, width: int) -> int:
    """How many of so many values are looked at, by their width."""
    return min(size, _LOOKED_AT, _MOST // max(width, 1))
