"""What stands in an atlas's table beside its rows."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from jatlas.files.formats import names
from jatlas.files.formats.faults import package

# What an atlas's table has of its own.
TAKEN = ("atlas", "charts", "disagreement", "members")


class Beside(NamedTuple):
    """What stands in an atlas's table beside its rows.

    Attributes:
        id_name: the name of the column of ids.
        columns: Arrow arrays (N,) by name, or what `pyarrow.array` makes one of.
    """

    id_name: str = "id"
    columns: Mapping[str, Any] = MappingProxyType({})


def id_column(name: str, taken: Sequence[str] = TAKEN) -> str:
    """The name of a column of ids beside taken ones.

    >>> id_column("doc_id"), id_column("members")
    ('doc_id', 'id')
    """
    return "id" if name in taken else name


def checked_beside(beside: Beside | None, size: int) -> Beside:
    """A `Beside` of Arrow arrays, for an atlas of so many samples.

    Raises:
        ValueError: if it is something else, a name is taken, or a column has another
            length or values that Arrow does not take.
    """
    if beside is None:
        return Beside()
    if not isinstance(beside, Beside) or not isinstance(beside.columns, Mapping):
        raise ValueError(
            "beside must be a jatlas.files.Beside, a name and columns by name, as "
            f"read_beside gives it; got {type(beside).__name__}."
        )
    for name in (beside.id_name, *beside.columns):
        if not (isinstance(name, str) and name):
            raise ValueError(f"the name of a column must be text, got {name!r}.")
        if name in TAKEN:
            raise ValueError(f"beside: the atlas has a column {name!r}; rename it.")
    if beside.id_name in beside.columns:
        raise ValueError(
            f"beside: the column {beside.id_name!r} has the name of that of the ids; "
            "rename it, or give another id_name."
        )
    columns = {name: _array(name, x, size) for name, x in beside.columns.items()}
    return beside._replace(columns=columns)


def _array(name: str, values: Any, size: int) -> Any:
    """A column as an Arrow array of that size."""
    arrow = package("pyarrow", "beside=...")
    if isinstance(values, np.ndarray):
        names.check_unmasked(f"beside: the column {name!r}", values)
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if not isinstance(values, arrow.Array | arrow.ChunkedArray):
        try:
            values = arrow.array(values)
        except (arrow.ArrowException, TypeError, ValueError) as error:
            raise ValueError(
                f"beside: the column {name!r} must be values that pyarrow.array takes, "
                f"one a sample; of a {type(values).__name__}: {str(error)[:200]}."
            ) from None
    if len(values) != size:
        raise ValueError(
            f"beside: the column {name!r} has {len(values)} values, and the atlas "
            f"{size} samples; expected one a sample, in the order of its ids."
        )
    return values
