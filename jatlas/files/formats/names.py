"""Ids of samples: integers or text, and text as bytes."""

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from jatlas._src.ids import all_differ, few, in_proportion, out_of_proportion, short

INTEGERS, TEXT = "integers", "text"


def given_ids(whose: str, ids: Any) -> np.ndarray:
    """Ids as they are given, also in a list, as a vector.

    Raises:
        ValueError: if they are no vector of integers or of text, or are masked.
    """
    if isinstance(ids, Sequence) and not isinstance(ids, str | bytes):
        # NumPy would make a list of 1 and "1" into twice the text "1".
        if all(isinstance(name, str) for name in ids):
            ids = text_array(ids)
        elif all(isinstance(name, int | np.integer) for name in ids):
            ids = np.array(ids)
    elif hasattr(ids, "dtype") and not isinstance(ids, np.ndarray):
        ids = np.asarray(ids)
    _vector_kind(whose, ids)
    return np.asarray(ids)


def check_ids(whose: str, ids: np.ndarray, row_text: Callable[[int], str] = str) -> str:
    """What the ids are, `INTEGERS` or `TEXT`.

    `row_text` says in messages which row one is.

    Raises:
        ValueError: if they are no vector of either, are masked, or some repeat.
    """
    kind = _vector_kind(whose, ids)
    if all_differ(ids):
        return kind
    _, first, count = np.unique(ids, return_index=True, return_counts=True)
    if ids.size > first.size:
        twice = ids[np.sort(first[count > 1])[:10]]
        where = map(row_text, np.flatnonzero(ids == twice[0])[:2].tolist())
        raise ValueError(
            f"{whose} must differ; {np.sum(count > 1)} occur more than once: "
            f"{few(twice)} (the first in rows {' and '.join(where)}). Keep one row of "
            "each."
        )
    return kind


def _vector_kind(whose: str, ids: Any) -> str:
    """What the ids are; ValueError unless a vector of integers or text."""
    check_unmasked(whose, ids)
    dtype = getattr(ids, "dtype", None)
    kind = {"i": INTEGERS, "u": INTEGERS, "U": TEXT}.get(getattr(dtype, "kind", ""))
    if kind is None or ids.ndim != 1:
        given = type(ids).__name__ if dtype is None else f"{dtype}{ids.shape}"
        convert = "Convert them, with `.astype(str)` say."
        if getattr(dtype, "kind", "") == "f":
            convert = (
                "Whole numbers in floats are converted by "
                'id_type="integers" or "text" (--id-type).'
            )
        raise ValueError(
            f"{whose} must be a vector of integers or of text, got {given}. {convert}"
        )
    return kind


def check_unmasked(name: str, x: object) -> None:
    """Raise ValueError for a masked array: `np.asarray` would drop the mask."""
    if isinstance(x, np.ma.MaskedArray):
        raise ValueError(
            f"{name}: a masked array, with {int(np.ma.count_masked(x))} masked values, "
            "is not taken: its mask would be lost. Leave out the rows that are masked "
            "(the samples are then absent), or fill them with `.filled(...)`."
        )


def kind_of(ids: np.ndarray) -> str:
    """What ids that were checked are, `INTEGERS` or `TEXT`."""
    return INTEGERS if ids.dtype.kind in "iu" else TEXT


def check_one_kind(kinds: Sequence[tuple[str, str]]) -> None:
    """Raise ValueError unless all ids are of one kind."""
    for whose, kind in kinds[1:]:
        if kind != kinds[0][1]:
            raise ValueError(
                f"the ids of {kinds[0][0]} are {kinds[0][1]}, those of {whose} {kind}: "
                '1 and "1" are different ids. Store them alike, or have all converted '
                'with id_type="text" or "integers" (--id-type).'
            )


# Ids that are Python's texts at once: these take far more memory than NumPy's.
_AT_ONCE = 65_536


def _texts(ids: Sequence[np.ndarray]) -> Iterator[str]:
    """All ids, as Python's texts."""
    for some in ids:
        for start in range(0, some.size, _AT_ONCE):
            yield from some[start : start + _AT_ONCE].tolist()


def near_ids(*ids: np.ndarray) -> list[str]:
    """A warning about ids that differ by Unicode form or blanks only.

    Those of several sources are looked at as they are, without an array of all.

    >>> near_ids(np.array(["owl", "owl ", "kea"]))[0][:58]
    '2 ids differ by blanks at their ends or by the Unicode for'
    """
    ids = tuple(some for some in ids if some.dtype.kind == "U")
    near: dict[str, dict[str, None]] = {}  # which are sets in order
    for text in _texts(ids):
        normal = unicodedata.normalize("NFC", text).strip()
        if normal != text:
            near.setdefault(normal, {})[text] = None
    if not near:
        return []
    there = {text for text in _texts(ids) if text in near}
    groups = [
        [normal] * (normal in there) + list(others) for normal, others in near.items()
    ]
    groups = [group for group in groups if len(group) > 1]
    if not groups:
        return []
    return [
        f"{sum(map(len, groups))} ids differ by blanks at their ends or by the Unicode "
        f"form of their letters only, as {', '.join(map(ascii, few(groups[0])))} do: "
        "they count as different samples. If they are the same, write them alike in "
        "all files, as `unicodedata.normalize('NFC', id).strip()`."
    ]


def as_kind(ids: np.ndarray, kind: str | None) -> np.ndarray:
    """The ids as `INTEGERS` or `TEXT`; as they are if None.

    Whole numbers in floats, as tables with a gap have them, become integers first: 7.0
    is 7 and "7".

    Raises:
        ValueError: if some text is no integer as Python writes it, a float is no whole
            number, or the kind is unknown.
    """
    if kind not in (None, INTEGERS, TEXT):
        raise ValueError(f'unknown id_type {kind!r}; "{INTEGERS}" or "{TEXT}".')
    if kind is not None and ids.dtype.kind == "f":
        ids = _whole(ids)
    if kind == TEXT and ids.dtype.kind not in "bc":
        return ids.astype(str)
    if kind == INTEGERS and ids.dtype.kind == "U":
        try:
            numbers = ids.astype(np.int64)
        except (ValueError, OverflowError):
            row = _not_whole(ids)
            raise ValueError(
                f"some ids are no integers: {short(ids[row])!r} is none of 64 bits "
                f"(the first in row {row}). Correct them, or have all ids "
                'converted with id_type="text" (--id-type).'
            ) from None
        other = np.flatnonzero(numbers.astype(str) != ids)
        if other.size:
            raise ValueError(
                f"the ids {few(ids[other[:10]])} would not be the same integers "
                f"again as text (rows {other[:10].tolist()}); keep them as text."
            )
        return numbers
    return ids


def _whole(ids: np.ndarray) -> np.ndarray:
    """Floats as integers; ValueError unless all are whole, and told apart."""
    most = 2.0 ** (min(np.finfo(ids.dtype).nmant, 52) + 1)
    whole = (np.trunc(ids) == ids) & (np.abs(ids) <= most)
    if not whole.all():
        row = int(np.argmin(whole))
        raise ValueError(
            f"the id in row {row} is {ids.flat[row]}, in {ids.dtype}: expected a whole "
            f"number of at most {most:.0f}, above which {ids.dtype} does not hold all. "
            "Store the ids as integers or text."
        )
    return ids.astype(np.int64)


def _not_whole(ids: np.ndarray) -> int:
    """The first row whose text is no integer of 64 bits."""
    for row, text in enumerate(ids.tolist()):
        try:
            np.int64(int(text))
        except (ValueError, OverflowError):
            return row
    return 0


def text_array(texts: Sequence[str]) -> np.ndarray:
    """Texts as a vector, unless one of them is out of proportion.

    Raises:
        ValueError: before the memory is taken, if that is far more than the texts are.
    """
    check_lengths(np.fromiter(map(len, texts), np.int64, len(texts)), texts)
    return np.array(texts, str)


def check_lengths(lengths: Int[np.ndarray, " N"], texts: Any) -> None:
    """Raise ValueError if one long text would enlarge the whole array.

    A vector of N texts takes 4 N bytes a character of the longest.
    """
    if not lengths.size:
        return
    if not in_proportion(lengths, 4):
        row = int(np.argmax(lengths))
        whose, name = f"the id in row {row}", str(texts[row])
        raise ValueError(out_of_proportion(whose, name, lengths, 4))


def plain_ids(ids: np.ndarray) -> np.ndarray:
    """Ids as int64 or text, as files hold them; bytes are UTF-8.

    Raises:
        ValueError: if they are something else; bytes that are not UTF-8, by their row.
    """
    if ids.dtype.kind == "S":
        return decode_text(ids)
    if ids.dtype.kind == "u" and ids.size and ids.max() > np.iinfo(np.int64).max:
        row = int(np.argmax(ids > np.iinfo(np.int64).max))
        raise ValueError(
            "ids above 2^63 - 1 are not known here, and that in row "
            f"{row} is {ids.flat[row]}; store them as text."
        )
    if ids.dtype.kind in "iu":
        return ids.astype(np.int64)
    return ids.astype(ids.dtype.newbyteorder("="), copy=False)


def encode_text(ids: np.ndarray) -> np.ndarray:
    """(N,) text to (N, W) bytes: UTF-8, padded with zeros."""
    coded = np.strings.encode(ids, "utf-8")
    width = max(coded.dtype.itemsize, 1)
    return np.ascontiguousarray(coded).view(np.uint8).reshape(ids.size, width)


def decode_text(coded: np.ndarray) -> np.ndarray:
    """(N, W) bytes of `encode_text`, or (N,) byte strings, to text.

    Raises:
        ValueError: if a row is not UTF-8.
    """
    if coded.dtype == np.uint8:
        coded = np.ascontiguousarray(coded).view(f"S{coded.shape[1]}")[:, 0]
    try:
        return np.strings.decode(coded, "utf-8")
    except UnicodeDecodeError:
        rows = enumerate(coded.tolist())
        bad, name = next((k, name) for k, name in rows if not _is_utf8(name))
        raise ValueError(
            f"the id in row {bad} is not text in UTF-8: {name[:40]!r}. Decode the ids "
            "from the encoding that they are in, and save them as text."
        ) from None


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True
