"""What the columns of a table are, by their Arrow types."""

from typing import Any

from jatlas.files.formats.faults import package

# What a column is: a list of numbers a row, or lists of one such list; a number; what
# holds lists of numbers in a form that is not read; what may hold them unseen (bytes,
# structs); text, or lists of texts; anything else.
VECTOR, NUMBER, NESTED, UNSEEN, TEXT, OTHER = (
    "vector",
    "number",
    "nested",
    "unseen",
    "text",
    "other",
)

_HASH = 64  # bytes of the longest hash in use
# As Arrow names the types: bytes, and values that are stored once for many rows.
_BYTES = ("binary", "large_binary", "binary_view", "fixed_size_binary")
_ENCODED = ("dictionary", "run_end_encoded")


def kind_of(kind: Any) -> str:
    """What a column of this Arrow type is."""
    arrow, types = package("pyarrow", "Parquet"), package("pyarrow.types", "Parquet")
    if isinstance(kind, arrow.BaseExtensionType):
        shape = getattr(kind, "shape", None)
        flat = shape is None or sum(size != 1 for size in shape) <= 1
        inner = kind_of(kind.storage_type)
        return inner if flat or inner != VECTOR else NESTED
    if is_number(kind):
        return NUMBER
    if is_list(kind):
        if is_bfloat16(kind):
            return VECTOR
        inner = kind_of(kind.value_type)
        return VECTOR if inner in (NUMBER, VECTOR) else _wrapped(inner, kind.value_type)
    if types.is_struct(kind):
        fields = {kind_of(kind.field(k).type) for k in range(kind.num_fields)}
        if fields & {VECTOR, NESTED}:
            return NESTED
        return UNSEEN if fields & {NUMBER, UNSEEN} else OTHER
    if hasattr(kind, "value_type"):  # views, maps by their items, dictionaries
        inner = kind_of(kind.value_type)
        return _wrapped(inner, kind.value_type, scalar=_is_any(kind, *_ENCODED))
    if types.is_map(kind):
        inner = kind_of(kind.item_type)
        return NESTED if inner in (VECTOR, NESTED) else UNSEEN
    if is_text(kind):
        return TEXT
    return UNSEEN if _is_any(kind, *_BYTES, "union") else OTHER


def _wrapped(inner: str, kind: Any, *, scalar: bool = False) -> str:
    """The description of an unread form that holds such values."""
    if scalar:  # one value a row, stored once for many
        of_one = {VECTOR: NESTED, NESTED: NESTED, UNSEEN: UNSEEN, TEXT: TEXT}
        return of_one.get(inner, OTHER)
    if inner in (TEXT, UNSEEN):  # numbers as text, bytes of one each, structs of one
        return inner
    numbers = inner in (VECTOR, NESTED, NUMBER)
    if numbers or _is_any(kind, "boolean", "null", "decimal"):
        return NESTED
    # Dates are numbers to some writers; beside vectors they are an everyday thing.
    return UNSEEN if _is_any(kind, "temporal") else OTHER


def _is_any(kind: Any, *names: str) -> bool:
    """Whether an Arrow type is one of those that Arrow names so."""
    types = package("pyarrow.types", "Parquet")
    return any(getattr(types, f"is_{name}")(kind) for name in names)


def is_list(kind: Any) -> bool:
    """Whether an Arrow type is one of the lists that are read."""
    return _is_any(kind, "list", "large_list", "fixed_size_list")


def is_number(kind: Any) -> bool:
    """Whether a column of an Arrow type has one number a row."""
    return _is_any(kind, "floating", "integer")


def is_text(kind: Any) -> bool:
    """Whether a column of an Arrow type has one text a row."""
    return _is_any(kind, "string", "large_string", "string_view")


def is_encoded_float(kind: Any) -> bool:
    """Whether floats are stored once for many rows, which is unread."""
    if not _is_any(kind, *_ENCODED):
        return False
    inner = kind.value_type
    return _is_any(inner, "floating", "decimal") or is_encoded_float(inner)


def is_null(kind: Any) -> bool:
    """Whether an Arrow type is that of a column without values."""
    return _is_any(kind, "null")


def is_decimal(kind: Any) -> bool:
    """Whether an Arrow type is a decimal, which is not read."""
    return _is_any(kind, "decimal")


def is_wide_bytes(kind: Any) -> bool:
    """Whether values are bytes, more than any hash has."""
    return _is_any(kind, "fixed_size_binary") and kind.byte_width > _HASH


def is_bfloat16(kind: Any) -> bool:
    """Whether a list's values are two bytes that its field calls bfloat16.

    Arrow has no such type; Lance and others name an extension of two bytes.
    """
    types = package("pyarrow.types", "Parquet")
    about = kind.value_field.metadata or {}
    name = about.get(b"ARROW:extension:name", b"").lower()
    pair = (
        types.is_fixed_size_binary(kind.value_type) and kind.value_type.byte_width == 2
    )
    return bool(pair and name.rpartition(b".")[2] == b"bfloat16")


def is_float(kind: Any) -> bool:
    """Whether the innermost values are floating point."""
    arrow, types = package("pyarrow", "Parquet"), package("pyarrow.types", "Parquet")
    while True:
        if isinstance(kind, arrow.BaseExtensionType):
            kind = kind.storage_type
        elif is_list(kind):
            if is_bfloat16(kind):
                return True
            kind = kind.value_type
        else:
            return bool(types.is_floating(kind))
