"""Marks for tables and figures in a Markdown text.

A table stands between two marks, and is written anew as a whole::

    <!-- table: continual.accuracy -->
    | tasks so far | 1 | 2 |
    ...
    <!-- /table -->

A figure has its mark behind it. The mark names a table, a row by its first cell and a
column by its head; a table need not be shown to be named::

    the atlas has 0.699<!-- = continual.accuracy: atlas, blind: 5 -->

The figure keeps the number of decimals that it was written with, and its ± if it has
one. ``= -NAME`` turns the sign, for "0.4 points below". Marks in code are left alone.
"""

import re
from collections.abc import Callable, Iterator

# From the name of a table to its Markdown.
Make = Callable[[str], str]

_NUMBER = r"[-+]?\d[\d,]*(?:\.\d+)?"
_TABLE = r"<!-- table: (?P<table>\S+) -->\n(?P<lines>.*?)<!-- /table -->"
_FIGURE = (
    rf"(?P<shown>{_NUMBER}(?: ± {_NUMBER})?)"
    r"<!-- = (?P<minus>-?)(?P<address>[^>]+?)\s-->"
)
_EITHER = re.compile(f"{_TABLE}|{_FIGURE}", re.S)
_MARK = re.compile(r"<!-- (?:table:|/table|=).*?-->", re.S)
_CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.S | re.M)
# What only a measurement gives: a spread, or a share with three decimals.
_MEASURED = re.compile(
    rf"{_NUMBER} ± {_NUMBER}|(?<![\w.])[-+]?[01]?\.\d{{3,}}(?![\w.])"
)


class BadMark(ValueError):
    """A mark without a known name, a figure, or an end."""


def renewed(text: str, make: Make) -> str:
    """The text with every marked table and figure as it should be.

    Args:
        text: Markdown.
        make: called with the name of each table that is shown or named.

    Raises:
        BadMark: if a mark names a row or a column that its table does not have, has no
            figure before it, or is not closed; it names all such marks.
    """
    new, faults = renewal(text, make)
    if faults:
        raise BadMark("; ".join(faults))
    return new


def renewal(text: str, make: Make) -> tuple[str, list[str]]:
    """The text with renewed marks, and the faults of the others."""
    hidden = _CODE.sub(_blank, text)
    faults = [
        f"{alone[0]!r} has no figure before it, or no end"
        for alone in _MARK.finditer(_EITHER.sub("", hidden))
    ]
    parts, end = [], 0
    for match in _EITHER.finditer(hidden):
        group = "lines" if match["table"] else "shown"
        try:
            if match["table"]:
                new = f"{make(match['table']).strip()}\n"
            else:
                new = _figure(match, make)
        except BadMark as error:
            faults.append(str(error))
            continue
        parts += [text[end : match.start(group)], new]
        end = match.end(group)
    return "".join([*parts, text[end:]]), faults


def unmarked(text: str) -> list[str]:
    """Measured figures without a mark, with the words around them."""
    bare = _EITHER.sub(_blank, _CODE.sub(_blank, text))
    return [
        " ".join(bare[max(0, m.start() - 40) : m.end() + 20].split())
        for m in _MEASURED.finditer(bare)
    ]


def cell(markdown: str, row: str, column: str) -> str:
    """The cell of a table, without the marks of emphasis and code.

    Args:
        markdown: of the table, and perhaps lines around it.
        row: the first cell of the row.
        column: the head of the column.

    Raises:
        BadMark: if there is no such cell, or there are several.
    """
    cells = _cells(markdown)
    if not cells:
        raise BadMark(markdown.strip())
    head, _, *lines = cells
    rows = [line for line in lines if line[0] == row]
    if len(rows) != 1 or head.count(column) != 1:
        missing, there = (row, [line[0] for line in lines])
        if head.count(column) != 1:
            missing, there = (column, head[1:])
        raise BadMark(f"{missing!r} is not one of {there}")
    return rows[0][head.index(column)]


def _figure(match: re.Match[str], make: Make) -> str:
    """What should stand before a mark."""
    address = " ".join(match["address"].split())
    name, _, place = address.partition(": ")
    row, _, column = place.rpartition(": ")
    if not row:
        raise BadMark(f"{address!r} is not 'table: row: column'")
    try:
        value = cell(make(name), row, column)
    except BadMark as error:
        raise BadMark(f"{name}: {error}") from None
    return _like(match["shown"], value, match["minus"])


def _like(shown: str, value: str, minus: str) -> str:
    """A cell's number in a figure's format: decimals, sign, spread."""
    match = re.match(rf"({_NUMBER})(?: ± ({_NUMBER}))?", value)
    if match is None:
        raise BadMark(f"the cell {value!r} does not begin with a number")
    numbers = [part for part in match.groups() if part is not None]
    written = shown.split(" ± ")
    if len(written) > len(numbers):
        raise BadMark(f"{shown!r} has a spread, the cell {value!r} has none")
    made = []
    for old, new in zip(written, numbers, strict=False):
        number = float(new.replace(",", "")) * (-1 if minus and not made else 1)
        sign = "+" if old[0] == "+" else ""
        comma = "," if "," in new else ""
        decimals = min(_decimals(old), _decimals(new))
        made.append(f"{number:{sign}{comma}.{decimals}f}")
    return " ± ".join(made)


def _decimals(number: str) -> int:
    return len(number.partition(".")[2])


def _cells(markdown: str) -> list[list[str]]:
    """The rows of a table, head and rule among them."""
    lines = (line.strip() for line in markdown.splitlines())
    return list(_rows(line for line in lines if line.startswith("|")))


def _rows(lines: Iterator[str]) -> Iterator[list[str]]:
    for line in lines:
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", line.strip("|"))
        plain = re.sub(r"[`*]", "", words)
        yield [part.strip() for part in plain.split(" | ")]


def _blank(match: re.Match[str]) -> str:
    """As long, with as many lines, and nothing in it."""
    return re.sub(r"[^\n]", " ", match[0])
