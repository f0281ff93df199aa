"""Whether a value looks like a vector in another form."""

import base64
import re
from typing import Any

import numpy as np

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?"
_ANY = rf"(?:{_NUMBER}|[-+]?(?:nan|inf(?:inity)?)|null|none)"  # after the first
_BEGIN = re.compile(rf"[\s\[(\"']*{_NUMBER}[\s,;|\"']+[-+\d.]", re.I)
_NUMBERS = re.compile(rf"[\s\[(\"']*{_NUMBER}(?:[\s,;|\"']+{_ANY})+[\s,;\])\"']*", re.I)
_ONE = re.compile(rf"\s*{_NUMBER}\s*", re.I)
# As Python shows arrays, "tensor([0.1, 0.2])", and what follows, "], dtype=float32)".
_CALL = re.compile(r"[\s\"']*[a-z_][\w.]{0,40}\(\s*(?=\[)", re.I)
_AFTER = re.compile(r"\](?:\s*,[^\[\]]*)?\)[\s\"']*\Z")
# A list of two numbers or more under a key of JSON, or of a Python dict.
_UNDER = re.compile(
    rf"[\"']\s*:\s*[\[(][\[\s(]*({_NUMBER}(?:\s*,\s*{_ANY})+)\s*,?([\])\s]*)", re.I
)
_CODED = re.compile(r"(?=[^\s]{22})(?:[A-Za-z0-9+/_-]{4})*(?:[A-Za-z0-9+/_-]{2,3}=*)?")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})+")
_EMPTY = re.compile(
    r"[\s\[\](){}\"',;-]*(?:null|none|nan|n/?a)?[\s\[\](){}\"',;]*", re.I
)

_SHOWN = 400  # characters of a text that are looked at
# Fewer numbers are a place, a price or a date: between brackets, and without.
_LISTED, _BARE = 3, 8
_FEW = 16  # bytes: in fewer, chance looks like floats
_HASHES = (16, 20)  # bytes of short hashes, which by chance look like floats
_CODED_MOST = 2**20  # characters that are decoded


def is_empty(value: Any) -> bool:
    """Whether a value says nothing of what its column holds."""
    if isinstance(value, bytes):
        return not value.strip(b" \0")
    if isinstance(value, list):
        return all(map(is_empty, value))
    if isinstance(value, str):
        return bool(_EMPTY.fullmatch(value[:_SHOWN]))
    return value is None


def length(value: Any) -> int:
    """How many numbers a list has, in lists of lists too."""
    if isinstance(value, list | tuple | np.ndarray):
        return sum(map(length, value))
    return int(value is not None)


def begins_with_numbers(value: Any) -> bool:
    """Whether a text begins with two numbers, or holds a list."""
    if value is None:
        return False
    text = _text(value)[:_SHOWN]
    call = _CALL.match(text)
    begins = _BEGIN.match(text[call.end() :] if call else text)
    return bool(begins) or holds_numbers(value)


def is_number_text(value: Any) -> bool:
    """Whether a text is a number."""
    return isinstance(value, str) and bool(_ONE.fullmatch(value[:_SHOWN]))


def holds_numbers(value: Any) -> bool:
    """Whether text is a list of numbers, or bytes are floats.

    Telephone numbers are no list, which has brackets or many numbers; hashes and images
    are no floats, which are neither huge nor next to nothing.
    """
    if isinstance(value, bytes):
        return len(value) >= _FEW and _floats(value)
    if not isinstance(value, str | list):
        return False
    text = _text(value)
    if text.lstrip()[:1] == "{":
        return _has_list(text[: 10 * _SHOWN])
    if isinstance(value, str) and _is_coded(text):
        return True
    if call := _CALL.match(text):
        text = _AFTER.sub("]", text[call.end() :])
    if len(text) > _SHOWN:  # the last number can be cut
        text = re.split(r"[\s,;|]+\S*$", text[:_SHOWN])[0]
    text = re.sub(r"\.\.\.|…", " ", text)  # what NumPy leaves out
    least = _LISTED if "[" in text or "(" in text else _BARE
    return bool(_NUMBERS.fullmatch(text)) and len(re.findall(_ANY, text, re.I)) >= least


def _has_list(text: str) -> bool:
    """Whether JSON holds a list of floats, or of integers only.

    {"page": [3, 4], "source": "web"} says something of a sample, {"v": [3, 4]} may be
    its vector.
    """
    for match in _UNDER.finditer(text):
        numbers, end = match.groups()
        after = text[match.end() :].strip()
        ends = (
            after in ("", "}") if end.strip() else re.fullmatch("[^\"']{0,30}", after)
        )
        alone = ends and text[: match.start()].count('"') <= 1
        if alone or re.search(r"[.e]", numbers, re.I):
            return len(re.findall(_ANY, numbers, re.I)) >= _LISTED
    return False


def _is_coded(text: str) -> bool:
    """Whether text is floats in base64 or hexadecimal digits."""
    text = text.strip()
    if not 22 <= len(text) <= _CODED_MOST or not _CODED.fullmatch(text):
        return False
    if _HEX.fullmatch(text):
        data = bytes.fromhex(text)
        return len(data) not in _HASHES and _floats(data, 1e-7, 1e5)
    plain = text.rstrip("=").translate({ord("-"): "+", ord("_"): "/"})
    try:
        data = base64.b64decode(plain + "=" * (-len(plain) % 4))
    except ValueError:
        return False
    return len(data) >= _FEW and _floats(data, 1e-7, 1e5)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


def _floats(value: bytes, least: float = 1e-12, most: float = 1e12) -> bool:
    """Whether the bytes are plausible as float32 or float64."""
    for dtype in ("<f4", "<f8"):
        if len(value) % np.dtype(dtype).itemsize == 0:
            with np.errstate(all="ignore"):
                x = np.abs(np.frombuffer(value, dtype).astype(np.float64))
            if np.all((x == 0) | ((x > least) & (x < most))) and np.any(x):
                return True
    return False
