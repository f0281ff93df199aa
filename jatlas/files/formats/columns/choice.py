"""Choice of a table's embedding columns, by types and names."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

from jatlas.files.formats.columns import looks
from jatlas.files.formats.columns.families import (
    FEATURES,
    Family,
    check_plain,
    check_types,
    families_of,
    in_words,
)
from jatlas.files.formats.columns.kinds import (
    NESTED,
    NUMBER,
    TEXT,
    UNSEEN,
    VECTOR,
    is_decimal,
    is_encoded_float,
    is_float,
    is_null,
    is_number,
    is_wide_bytes,
    kind_of,
)
from jatlas.files.formats.rows import USUAL, WIDE, Wanted, pick_ids

_INDEX = re.compile(r"__index_level_\d+__")
_NAME_IT = "Name the column with embeddings=... (--embeddings)."
_READ = (
    "a list of numbers a row is read (list, large_list, fixed_size_list, (1, D) lists "
    "of lists, fixed_shape_tensor)"
)


class Chosen(NamedTuple):
    """The columns of a table that are read.

    Attributes:
        ids: the name of the column of ids.
        embeddings: the name of the column of vectors, or those of columns of numbers.
        note: what was taken and what was not, if that is not plain; or empty.
    """

    ids: str
    embeddings: list[str]
    note: str


def choose_columns(schema: Any, wanted: Wanted, first: Callable[[str], Any]) -> Chosen:
    """The columns of ids and of embeddings in an Arrow schema.

    Columns of numbers, one a feature, are only taken if nothing else can be meant, and
    columns of an index never. If null rows are let through, the embeddings can be a
    column without any value.

    Args:
        schema: of the table.
        wanted: the names of the ids and of the embeddings, or what numbered columns
            begin with.
        first: gives the first value of a column, to see if it holds numbers.

    Raises:
        ValueError: if they are not there, are of a type that is not read, or could be
            several.
    """
    if len(set(schema.names)) < len(schema.names):
        twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
        raise ValueError(f"two of its columns have one name, {twice[:20]}; rename one.")
    name = pick_ids(schema.names, wanted.ids)
    types = {field.name: field.type for field in schema if field.name != name}
    usual = [column for column in USUAL if column in types]
    meant = usual[0] if usual and wanted.embeddings is None else wanted.embeddings
    if meant is not None and meant in types and is_null(types[meant]):
        return Chosen(name, _without_values([meant], wanted.lenient), "")
    if wanted.embeddings is not None:
        return Chosen(name, *_named(schema, types, wanted.embeddings))
    for index in _index_columns(schema):
        types.pop(index, None)
    kinds = {column: kind_of(kind) for column, kind in types.items()}
    first = cache(first)  # which reads the file
    vector = _vector(types, kinds, first)
    if vector is not None:
        integers = kinds[vector] == VECTOR and not is_float(types[vector])
        others = [
            c
            for c, kind in kinds.items()
            if kind in (VECTOR, NESTED, UNSEEN) and c != vector
        ]
        note = _note([vector], others) if integers or others else ""
        return Chosen(name, [vector], note)
    _check_unseen(types, kinds, first)
    columns = _scalars(types, kinds)
    encoded = [column for column, kind in types.items() if is_encoded_float(kind)]
    if encoded and not families_of(dict.fromkeys(columns), lambda _: True):
        raise ValueError(_unread(encoded, types))  # one of two columns of scores, say
    nulls = [column for column, kind in types.items() if is_null(kind)]
    if not columns and len(nulls) == 1:
        return Chosen(name, _without_values(nulls, wanted.lenient), "")
    if not columns:
        raise ValueError(
            f"no column of {schema.names[:20]} holds lists or floats; {_READ}."
        )
    floats = [c for c, kind in types.items() if is_float(kind) and c not in columns]
    numbers = floats + encoded
    return Chosen(name, columns, _note(columns, numbers))


def _without_values(columns: list[str], lenient: bool) -> list[str]:
    """The columns; ValueError unless rows that are null are let through."""
    if lenient:
        return columns
    raise ValueError(
        f"the column {columns[0]!r} has no value in any row: leave these rows out "
        "(Reading(drop_invalid=True), --drop-invalid), or name another column with "
        "embeddings=... (--embeddings)."
    )


def _named(schema: Any, types: dict[str, Any], wanted: str) -> tuple[list[str], str]:
    """The column of that name, or numbered ones; and a note."""
    if wanted in types:
        kind = types[wanted]
        if kind_of(kind) != VECTOR and not is_float(kind):
            raise ValueError(
                f"the column {wanted!r} is {kind}, and {_READ}, or a column of floats. "
                "Convert it, or name another."
            )
        return [wanted], ""
    for family in families_of(types, is_number, wanted):
        check_types(family, types)
        columns = family.columns
        about = f"{_note(columns, [])}; {in_words(family)}"
        return columns, "" if family.is_plain else about
    raise ValueError(f"no column {wanted!r} in it, but {schema.names[:20]}.")


def _index_columns(schema: Any) -> set[str]:
    """The index columns of a pandas frame, by its metadata."""
    indices = {name for name in schema.names if _INDEX.fullmatch(name)}
    try:
        about = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))
        entries = about.get("index_columns", [])
        return indices | {entry for entry in entries if isinstance(entry, str)}
    except (ValueError, AttributeError, TypeError, RecursionError):
        return indices  # what is not pandas' own says nothing


def _vector(
    types: dict[str, Any],
    kinds: dict[str, str],
    first: Callable[[str], Any],
) -> str | None:
    """The column of vectors; None if no column could be one.

    Raises:
        ValueError: if there are several, or what is meant is of a type that is not
            read.
    """
    named = [name for name in USUAL if kinds.get(name) in (VECTOR, NESTED, UNSEEN)]
    named += [
        name
        for name in USUAL
        if kinds.get(name) == TEXT and looks.begins_with_numbers(first(name))
    ]
    if named:
        (column, *_) = named
        if kinds[column] != VECTOR:
            raise ValueError(_unread([column], types))
        return column
    unread = [column for column, kind in kinds.items() if kind == NESTED]
    vectors = [column for column, kind in kinds.items() if kind == VECTOR]
    doubtful = [column for column, kind in kinds.items() if kind in (TEXT, UNSEEN)]
    if vectors and doubtful and min(looks.length(first(c)) for c in vectors) < WIDE:
        unread += [
            column
            for column in doubtful
            if is_wide_bytes(types[column]) or looks.holds_numbers(first(column))
        ]
    floats = [column for column in vectors if is_float(types[column])]
    if len(meant := floats or vectors) > 1 or (meant and unread):
        which = f"which of {[*meant, *unread][:20]} are the embeddings?"
        more = f"Of these, {_unread(unread, types)}" if unread else _NAME_IT
        raise ValueError(f"{which} {more}")
    if unread:
        raise ValueError(_unread(unread, types))
    wide = [
        family
        for family in families_of(types, is_number)
        if sum(is_float(types[column]) for column in family.columns) >= FEATURES
    ]
    if meant and wide:
        raise ValueError(
            f"which of {[*meant, *map(_of, wide)][:20]} are the embeddings? Name the "
            "column, or what numbered columns begin with, with "
            f"embeddings={wide[0].prefix!r} (--embeddings)."
        )
    return meant[0] if meant else None


def _unread(columns: Sequence[str], types: dict[str, Any]) -> str:
    which = ", ".join(f"{column!r} is {types[column]}" for column in columns[:20])
    return (
        f"the column {which}: it could be the embeddings, and is not read; {_READ}. "
        "Convert it, or name another column with embeddings=... (--embeddings)."
    )


def _check_unseen(
    types: dict[str, Any],
    kinds: dict[str, str],
    first: Callable[[str], Any],
) -> None:
    """Raise ValueError for a column of vectors in an unread form."""
    unseen = [
        column
        for column, kind in kinds.items()
        if kind == UNSEEN or (kind == TEXT and looks.begins_with_numbers(first(column)))
    ]
    unseen += _numbered_unread(types, kinds, first)
    # By its name it is meant: other columns of numbers must not take its place.
    unseen += [
        column
        for column in USUAL
        if column in types and column not in unseen and not is_float(types[column])
    ]
    if unseen:
        raise ValueError(_unread(unseen, types))


def _numbered_unread(
    types: dict[str, Any], kinds: dict[str, str], first: Callable[[str], Any]
) -> list[str]:
    """Numbered columns of decimals, or of numbers as text."""
    numbered = {
        column: kind
        for column, kind in types.items()
        if is_decimal(kind) or kinds[column] == TEXT
    }
    numbers = families_of(types, is_number)
    most = max((len(family.columns) for family in numbers), default=0)
    return [
        column
        for family in families_of(numbered, lambda _: True)
        if len(family.columns) >= most
        for column in family.columns
        if is_decimal(types[column]) or looks.is_number_text(first(column))
    ]


def _scalars(types: dict[str, Any], kinds: dict[str, str]) -> list[str]:
    """The numeric columns that are the embeddings, one a feature, or none.

    Raises:
        ValueError: if they could be several.
    """
    floats = [c for c, kind in kinds.items() if kind == NUMBER and is_float(types[c])]
    families = families_of(types, is_number)
    mixed = [family for family in families if set(family.columns) & set(floats)]
    families = mixed or families
    if not families:
        return floats
    family, *others = families
    members = {column for family in families for column in family.columns}
    apart = [column for column in floats if column not in members]
    if others or 2 * len(apart) > len(floats):
        raise ValueError(
            f"which of {[*map(_of, families), *apart][:20]} are the embeddings? Of "
            "numbered columns name what they begin with, "
            f"embeddings={family.prefix!r} (--embeddings)."
        )
    check_plain(family, types)
    return family.columns


def _of(family: Family) -> str:
    """A family in messages."""
    return f"{family.prefix}* ({len(family.columns)} columns)"


def _note(taken: Sequence[str], left: Iterable[str]) -> str:
    """A line about the choice."""
    if len(taken) == 1:
        which = f"the column {taken[0]!r}"
    else:
        shown = taken if len(taken) <= 4 else [taken[0], "...", taken[-1]]
        which = f"the {len(taken)} columns {', '.join(shown)}"
    left = list(left)
    beside = f"; not taken: {', '.join(left[:10])}" if left else ""
    more = f" and {len(left) - 10} more" if len(left) > 10 else ""
    return f"its embeddings are {which}{beside}{more}"
