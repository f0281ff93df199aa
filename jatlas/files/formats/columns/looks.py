"""Whether a value looks like a vector in another form."""

import re
from typing import Any

import numpy as np

_NUMBER = r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?"
_BEGIN = re.compile(rf"[\s\[(\"']*{_NUMBER}[\s,\"']+[-+\d.]", re.I)
_NUMBERS = re.compile(
    rf"[\s\[(\"']*{_NUMBER}([\s,;|\"']+{_NUMBER})+[\s,;\])\"']*", re.I
)
_ONE = re.compile(rf"\s*{_NUMBER}\s*", re.I)

_SHOWN = 400  # characters of a text that are looked at
_FEW = 16  # bytes: in fewer, chance looks like floats


def begins_with_numbers(value: Any) -> bool:
    """Whether a text begins with two numbers, whatever follows."""
    return value is not None and bool(_BEGIN.match(_text(value)))


def is_number_text(value: Any) -> bool:
    """Whether a text is a number."""
    return isinstance(value, str) and bool(_ONE.fullmatch(value))


def holds_numbers(value: Any) -> bool:
    """Whether text is a list of numbers, or bytes are floats.

    Telephone numbers are no list, which has brackets or points; hashes and images are
    no floats, which are neither huge nor next to nothing.
    """
    if isinstance(value, bytes):
        return len(value) >= _FEW and _floats(value)
    if not isinstance(value, str | list):
        return False
    text = _text(value)
    if len(text) > _SHOWN:  # the last number can be cut
        text = re.split(r"[\s,;|]+\S*$", text[:_SHOWN])[0]
    return ("[" in text or "." in text) and bool(_NUMBERS.fullmatch(text))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


def _floats(value: bytes) -> bool:
    """Whether the bytes are plausible as float32 or float64."""
    for dtype in ("<f4", "<f8"):
        if len(value) % np.dtype(dtype).itemsize == 0:
            with np.errstate(all="ignore"):
                x = np.abs(np.frombuffer(value, dtype).astype(np.float64))
            if np.all((x == 0) | ((x > 1e-12) & (x < 1e12))) and np.any(x):
                return True
    return False
