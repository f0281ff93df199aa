"""Embeddings in the text form of word2vec, GloVe and fastText, also gzipped.

A line has a word and its numbers, with blanks between them; of word2vec and fastText
the first line has the number of words and of dimensions.
"""

import gzip
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from jatlas.files.formats import names
from jatlas.files.formats.places import Place
from jatlas.files.formats.rows import Rows, Wanted, joined

_MOST_LINE = 2**24
_ANEW = "Write the file anew, or fetch it again."


def open_word2vec(path: Place, wanted: Wanted) -> tuple[np.ndarray, Rows]:
    """Words and their vectors; the file is streamed, twice."""
    if wanted.ids is not None or wanted.embeddings is not None:
        raise ValueError(
            "a file of word2vec has words and numbers without names: leave out ids=... "
            "and embeddings=... (--ids, --embeddings), or give one name a file, None "
            "(-) for this one."
        )
    with _lines(path) as stream:
        first = _line(stream)
        count, width = _head(first)
        words = [] if count is not None else [_word(first, width, 0)]
        while line := _line(stream):
            words.append(_word(line, width, len(words)))
    if count not in (None, len(words)):
        raise ValueError(
            f"its first line says {count} words, and {len(words)} are there: it is cut "
            f"off. {_ANEW}"
        )

    def batches(size: int) -> Iterator[np.ndarray]:
        with _lines(path) as stream:
            if count is not None:
                _line(stream)
            for start in range(0, len(words), size):
                lines = [_line(stream) for _ in range(min(size, len(words) - start))]
                yield _numbers(lines, width, start, words)

    size, dtype = (len(words), width), np.dtype(np.float32)
    ids = names.text_array(words)
    return ids, Rows(size, dtype, batches, partial(joined, batches, ids.size))


def _lines(path: Place) -> Any:
    """A stream of its text, unpacked if its name ends in .gz."""
    if path.suffix.lower() != ".gz":
        return path.open("rb")
    return gzip.GzipFile(fileobj=path.open("rb"), mode="rb")


def _line(stream: Any) -> bytes:
    """The next line that is not blank; nothing at the end."""
    while line := stream.readline(_MOST_LINE):
        if len(line) == _MOST_LINE:
            raise ValueError(f"a line has more than {_MOST_LINE:,} bytes. {_ANEW}")
        if line.strip():
            return bytes(line).removeprefix(b"\xef\xbb\xbf")  # the mark of UTF-8
    return b""


def _head(line: bytes) -> tuple[int | None, int]:
    """How many words it has, if it says so, and their dimension."""
    fields = line.split()
    if len(fields) == 2 and all(field.isdigit() for field in fields):
        if int(fields[1]) == 0:
            raise ValueError(f"its first line says 0 numbers a vector. {_ANEW}")
        return int(fields[0]), int(fields[1])
    if len(fields) < 2:
        raise ValueError(
            f"its first line is {line[:40]!r}; expected a word and its numbers, or the "
            "number of words and of dimensions."
        )
    return None, len(fields) - 1


def _word(line: bytes, width: int, row: int) -> str:
    """The word before the last `width` fields, blanks and all."""
    word, *numbers = line.rstrip().rsplit(None, width)
    if len(numbers) != width:
        raise ValueError(
            f"row {row} has {len(numbers)} numbers behind {word[:40]!r}, and the first "
            f"{width}: all must have the same. Correct the row, or leave it out."
        )
    last = word.split()[-1]
    if last != word.strip() and _is_number(last):
        raise ValueError(
            f"row {row} has more than {width} numbers behind {word[:40]!r}: all must "
            "have the same. Correct the row or the first line; if the word ends in a "
            "number, write the file in another format."
        )
    try:
        return word.decode()
    except UnicodeDecodeError:
        raise ValueError(
            f"the word in row {row} is not text in UTF-8: {word[:40]!r}. Decode the "
            "file from the encoding that it is in, and save it in UTF-8."
        ) from None


def _numbers(
    lines: list[bytes], width: int, start: int, words: list[str]
) -> np.ndarray:
    """(n, width), the numbers of some lines."""
    fields = [line.rstrip().rsplit(None, width)[1:] for line in lines]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy warns of text that is no number
            text = b" ".join(b" ".join(row) for row in fields).decode("ascii")
            x = np.fromstring(text, np.float32, sep=" ")
        if x.size == len(lines) * width:
            return x.reshape(len(lines), width)
    except (ValueError, DeprecationWarning):
        pass
    for k, row in enumerate(fields):
        for number in row:
            if not _is_number(number):
                raise ValueError(
                    f"{number[:40]!r} in row {start + k} (id {words[start + k]!r}) is "
                    "no number. Correct the row, or leave it out."
                )
    return np.array([[float(number) for number in row] for row in fields], np.float32)


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
