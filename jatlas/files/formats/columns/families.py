"""Families of a table's columns: numbered ones, one a feature."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, NamedTuple

NUMBERED = re.compile(r"(.*?)(\d+)", re.S)
# So many numbered columns of floats can be embeddings beside a column of lists.
FEATURES = 3
_SHOWN = 10
_HEAD = 4  # so many columns are a family, whatever numbers others have


class Family(NamedTuple):
    """Numbered columns of a common beginning.

    Attributes:
        prefix: what they begin with, as most of them spell it.
        columns: those that can be features, in the order of their numbers.
        odd: those of another type, in that order.
        missing: the first numbers that no column has, from 0 or 1 to the last.
        spelled: the columns that differ by case or by leading zeros only.
    """

    prefix: str
    columns: list[str]
    odd: list[str]
    missing: list[int]
    spelled: list[str]

    @property
    def is_plain(self) -> bool:
        """Whether no feature can be missing."""
        return not (self.odd or self.missing or self.spelled)


def families_of(
    types: Mapping[str, Any],
    is_member: Callable[[Any], bool],
    prefix: str | None = None,
) -> list[Family]:
    """The families of at least two members, by their beginning.

    Unless it is given, what is counted in another way (years, ranks) is left out.

    >>> names = dict.fromkeys(["d1", "year2019", "year2020", "d0"], 4.0)
    >>> [family.columns for family in families_of(names, bool)]
    [['d0', 'd1']]
    >>> families_of({"d0": 1, "d1": 1, "d3": 1, "D4": 0}, bool)[0][2:]
    (['D4'], [2], ['D4'])
    """
    groups: dict[str, list[_Entry]] = {}
    for column in types:
        parts = NUMBERED.fullmatch(column)
        if parts:
            entry = _Entry(int(parts[2]), parts[1], column)
            groups.setdefault(parts[1].casefold(), []).append(entry)
    families = []
    for group in groups.values():
        members = [entry for entry in group if is_member(types[entry.column])]
        if prefix is not None:
            if any(entry.prefix == prefix for entry in group):
                families.append(_family(members, group))
        elif _is_dense(group):
            family = _family(members, group)
            # A gap alone makes no family of two columns.
            if family.odd or not family.missing or len(members) > 2:
                families.append(family)
        elif _is_dense(members) or _dense_head(members) >= _HEAD:
            families.append(_family(members, members))
    return [family for family in families if len(family.columns) > 1]


class _Entry(NamedTuple):
    number: int
    prefix: str
    column: str


def _family(members: list[_Entry], among: list[_Entry]) -> Family:
    """The family of these members, among columns that begin so."""
    spellings = [entry.prefix for entry in among]
    ((prefix, _),) = Counter(spellings).most_common(1)
    ordered, numbers, spelled = sorted(among), set[int](), []
    for entry in ordered:
        if entry.prefix != prefix or entry.number in numbers:
            spelled.append(entry.column)
        numbers.add(entry.number)
    features = {entry.column for entry in members}
    first = min(min(numbers), 1) if _is_dense(among) else min(numbers)
    steps = range(first, max(numbers))
    missing = (number for number in steps if number not in numbers)
    return Family(
        prefix,
        [entry.column for entry in ordered if entry.column in features],
        [entry.column for entry in ordered if entry.column not in features],
        list(islice(missing, _SHOWN)),
        spelled,
    )


def _is_dense(group: list[_Entry]) -> bool:
    """Whether half of the numbers from 0 are there; not so years."""
    return 0 < _dense_head(group) == len({entry.number for entry in group})


def _dense_head(group: list[_Entry]) -> int:
    """How many first numbers are there, of half at least."""
    numbers = sorted({entry.number for entry in group})
    dense = [k for k, number in enumerate(numbers, 1) if number < 2 * k]
    return max(dense, default=0)


def check_types(family: Family, types: Mapping[str, Any]) -> None:
    """Raise ValueError if one of its columns is of another type."""
    if family.odd:
        which = ", ".join(f"{c!r} is {types[c]}" for c in family.odd[:_SHOWN])
        raise ValueError(
            f"the columns {family.prefix}* could be the embeddings, one a feature, and "
            f"of them {which}: a feature would be missing. Convert it to numbers, or "
            "rename it if it is none of them."
        )


def check_plain(family: Family, types: Mapping[str, Any]) -> None:
    """Raise ValueError if one of its columns can be missing."""
    check_types(family, types)
    if not family.is_plain:
        raise ValueError(
            f"the columns {family.prefix}* could be the embeddings, one a feature, and "
            f"{in_words(family)}. If these {len(family.columns)} are all, say so with "
            f"embeddings={family.prefix!r} (--embeddings); or name another column."
        )


def in_words(family: Family) -> str:
    """What of a family is not plain; or empty."""
    missing = f"no column has number {', '.join(map(str, family.missing))}"
    spelled = f"{', '.join(family.spelled[:_SHOWN])} are spelled otherwise"
    texts = [missing] * bool(family.missing) + [spelled] * bool(family.spelled)
    return ", and ".join(texts)
