"""Ids of several sources in one array, and ids in messages.

A vector of text is as wide as its longest: one long id beside many short ones takes far
more memory than both sources do.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np
from jaxtyping import Int, UInt64

# Names an id in messages, from the number of its source and of its row.
Whose = Callable[[int, int], str]

_AT_ONCE = 2**16  # texts that are looked at at once
_BEGIN, _END = 37, 20  # of long ids in messages; files of a folder differ at the end


def short(value: Any) -> Any:
    """An id for a message, its middle left out if long.

    >>> short("x" * 50 + "y" * 50)
    'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...yyyyyyyyyyyyyyyyyyyy'
    """
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, str | bytes) or len(value) <= _BEGIN + 3 + _END:
        return value
    if isinstance(value, str):
        return f"{value[:_BEGIN]}...{value[-_END:]}"
    return value[:_BEGIN] + b"..." + value[-_END:]


def few(ids: Iterable[Any], most: int = 10) -> list[Any]:
    """The first of some ids, for a message.

    >>> few(np.array([3, 1, 2]), 2)
    [3, 1]
    """
    return [short(name) for name in islice(ids, most)]


def of_chart(chart: int, row: int) -> str:
    """What an id is called that is of no file."""
    return f"the id in row {row} of chart {chart}"


def in_proportion(lengths: Int[np.ndarray, " N"], each: int, given: int = 0) -> bool:
    """Whether an array of such texts is in proportion to them.

    Args:
        lengths: of the texts.
        each: bytes a character.
        given: bytes that they may take anyway.
    """
    size = each * lengths.size * int(lengths.max(initial=0))
    return size <= max(2**25 + 256 * int(lengths.sum()), given)


def out_of_proportion(
    whose: str, name: str | bytes, lengths: Int[np.ndarray, " N"], each: int
) -> str:
    """The message about the longest of such texts."""
    longest = int(lengths.max())
    return (
        f"{whose} has {longest:,} characters ({name[:40]!r}...), and each of the "
        f"{lengths.size:,} ids takes the room of the longest: "
        f"{each * lengths.size * longest:,} bytes for {int(lengths.sum()):,} "
        "characters. Give the sample a shorter id, the same in all files."
    )


def joined(ids: Sequence[np.ndarray], whose: Whose = of_chart) -> np.ndarray:
    """The ids of several sources, one after another.

    Raises:
        ValueError: before the memory is taken, if one long id would take far more of it
            than all ids do.
    """
    lengths = _lengths(ids)
    if lengths is not None and not in_proportion(lengths, _each(ids)):
        row = int(np.argmax(lengths))
        raise ValueError(_refusal(ids, whose, row, lengths))
    return np.concatenate(ids)


def union(
    ids: Sequence[np.ndarray], whose: Whose = of_chart, given: int = 0
) -> tuple[np.ndarray, tuple[Int[np.ndarray, " _"], ...]]:
    """All ids by first appearance, and each source's positions among them.

    `given` is how many bytes they may take however long one of them is.

    Raises:
        ValueError: as `joined`.
    """
    lengths = _lengths(ids)
    if lengths is None or in_proportion(lengths, _each(ids), given):
        every = np.concatenate(ids)
        values, first, which = _unique(every)
    else:
        values, first, which = _by_length(ids, lengths, whose, given)
    order = np.argsort(first)
    ranks = np.empty_like(order)
    ranks[order] = np.arange(order.size)
    ends = np.cumsum([some.size for some in ids])[:-1]
    return values[order], tuple(np.split(ranks[which], ends))


def find(ids: np.ndarray, wanted: np.ndarray) -> Int[np.ndarray, " _"]:
    """The positions of the wanted ids among the ids, or -1.

    >>> find(np.array(["owl", "kea"]), np.array(["kea", "kestrel"]))
    array([ 1, -1])
    """
    if ids.dtype.kind == wanted.dtype.kind == "U" and ids.dtype != wanted.dtype:
        return _find_text(ids, wanted)
    if ids.size == 0:
        return np.full(wanted.shape, -1)
    keys, sought = ids, wanted
    if ids.dtype == wanted.dtype and ids.dtype.kind == "U":
        numbers = _keys(ids)
        if _differ(numbers):
            keys, sought = numbers, _keys(wanted)
    order = np.argsort(keys)
    after = np.searchsorted(keys, sought, sorter=order)
    places = order[np.minimum(after, ids.size - 1)]
    return np.where(ids[places] == wanted, places, -1)


def _find_text(ids: np.ndarray, wanted: np.ndarray) -> Int[np.ndarray, " _"]:
    """`find` in texts of two widths; NumPy would widen the narrow ones.

    Only those that both have the width for can be the same.
    """
    width = min(ids.dtype.itemsize, wanted.dtype.itemsize) // 4
    held, asked = (
        np.flatnonzero(np.strings.str_len(texts) <= width) for texts in (ids, wanted)
    )
    places = np.full(wanted.size, -1)
    if held.size and asked.size:
        narrow = f"U{max(width, 1)}"
        within = find(ids[held].astype(narrow), wanted[asked].astype(narrow))
        places[asked] = np.where(within < 0, -1, held[within])
    return places


def all_differ(ids: np.ndarray) -> bool:
    """Whether no number or text is there twice.

    >>> all_differ(np.array(["owl", "kea"])), all_differ(np.array([1, 2, 1]))
    (True, False)
    """
    if ids.dtype.kind == "U" and _differ(_keys(ids)):
        return True
    return _differ(ids)


def _differ(values: np.ndarray) -> bool:
    ordered = np.sort(values)
    return bool((ordered[1:] != ordered[:-1]).all())


def _keys(texts: np.ndarray) -> UInt64[np.ndarray, " N"]:
    """A number for each text, hardly ever the same for two.

    Numbers are sorted twenty times as fast as texts. A sum of a text's characters, each
    times a random number: what a text is filled up with adds nothing.
    """
    width = texts.dtype.itemsize // 4
    random = np.random.default_rng(0)
    weights = random.integers(2**63, size=width, dtype=np.uint64) * np.uint64(2)
    keys = np.empty(texts.size, np.uint64)
    for start in range(0, texts.size, _AT_ONCE):
        some = np.ascontiguousarray(texts[start : start + _AT_ONCE])
        letters = some.view(np.uint32).reshape(some.size, width)
        keys[start : start + some.size] = letters @ (weights + np.uint64(1))
    return keys


def _unique(
    ids: np.ndarray,
) -> tuple[np.ndarray, Int[np.ndarray, " n"], Int[np.ndarray, " N"]]:
    """As `np.unique`, but texts are in an order of their own.

    Texts are told apart by their keys, and these are checked.
    """
    if ids.dtype.kind == "U":
        _, first, which = np.unique(_keys(ids), return_index=True, return_inverse=True)
        values = ids[first]
        pieces = (slice(k, k + _AT_ONCE) for k in range(0, ids.size, _AT_ONCE))
        if all((values[which[some]] == ids[some]).all() for some in pieces):
            return values, first, which
    values, first, which = np.unique(ids, return_index=True, return_inverse=True)
    return values, first, which


def _by_length(
    ids: Sequence[np.ndarray], lengths: Int[np.ndarray, " N"], whose: Whose, given: int
) -> tuple[np.ndarray, Int[np.ndarray, " n"], Int[np.ndarray, " N"]]:
    """As `_unique`.

    Texts of about one length are looked at together, so that none takes much more room
    than it has characters.
    """
    kinds = np.frexp(lengths)[1]
    ends = np.cumsum([some.size for some in ids])[:-1]
    texts, firsts = [], []
    which, start = np.empty(lengths.size, int), 0
    for kind in np.unique(kinds):
        rows = np.flatnonzero(kinds == kind)
        dtype = f"{ids[0].dtype.kind}{max(int(lengths[rows].max()), 1)}"
        parts = zip(ids, np.split(kinds == kind, ends), strict=True)
        some = np.concatenate([part[here].astype(dtype) for part, here in parts])
        values, first, places = _unique(some)
        which[rows] = start + places
        texts.append(values)
        firsts.append(rows[first])
        start += values.size
    first = np.concatenate(firsts)
    if not in_proportion(lengths[first], _each(ids), given):
        row = int(np.argmax(lengths))
        raise ValueError(_refusal(ids, whose, row, lengths[first]))
    return np.concatenate(texts), first, which


def _lengths(ids: Sequence[np.ndarray]) -> Int[np.ndarray, " N"] | None:
    """The lengths of all texts; None of integers."""
    if any(some.dtype.kind not in "US" for some in ids):
        return None
    return np.concatenate([np.strings.str_len(some) for some in ids])


def _each(ids: Sequence[np.ndarray]) -> int:
    """How many bytes a character takes."""
    return 4 if ids[0].dtype.kind == "U" else 1


def _refusal(
    ids: Sequence[np.ndarray],
    whose: Whose,
    place: int,
    lengths: Int[np.ndarray, " n"],
) -> str:
    """The message about the longest id, `place` among those of all sources."""
    ends = np.cumsum([some.size for some in ids])
    source = int(np.searchsorted(ends, place, "right"))
    row = place - int(ends[source] - ids[source].size)
    name = ids[source][row].item()
    return out_of_proportion(whose(source, row), name, lengths, _each(ids))
