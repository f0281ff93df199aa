"""Columns of a file that can be kept: types and values."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jatlas.files.formats.array_files import npz_arrays, npz_shapes
from jatlas.files.formats.columns import tables
from jatlas.files.formats.columns.ipc import ipc_batches
from jatlas.files.formats.columns.ipc_buffers import check_buffers
from jatlas.files.formats.columns.parquet_pages import check_pages
from jatlas.files.formats.faults import package
from jatlas.files.formats.places import Place, ending, opened

_IPC = (".arrow", ".ipc", ".feather")


class ColumnTypes(NamedTuple):
    """What a file has to keep.

    Attributes:
        names: of all its columns or arrays; none if columns are not kept from its kind.
        types: the Arrow types of those that are wanted.
    """

    names: tuple[str, ...]
    types: dict[str, Any]


def column_types(path: Place, keep: Sequence[str], size: int) -> ColumnTypes:
    """The columns of a file of so many rows.

    Raises:
        ValueError: if an array to keep has not one value a row, or no type of Arrow's.
    """
    end = ending(path)
    if end == ".npz":
        shapes = npz_shapes(path)
        wanted = [name for name in keep if name in shapes]
        types = {name: _type(name, *shapes[name], size) for name in wanted}
        return ColumnTypes(tuple(shapes), types)
    if path.is_dir():
        schema = next(ipc_batches(_dataset_files(path)[0])).schema
    elif end == ".parquet":
        parquet = package("pyarrow.parquet", "Parquet")
        with parquet.ParquetFile(opened(path)) as file:
            schema = file.schema_arrow
    elif end in _IPC:
        check_buffers(path)
        schema = next(ipc_batches(path)).schema
    else:
        return ColumnTypes((), {})
    fields = {field.name: field.type for field in schema}
    return ColumnTypes(
        tuple(fields), {name: fields[name] for name in keep if name in fields}
    )


def column_values(path: Place, names: Sequence[str]) -> Any:
    """An Arrow table of some of a file's columns."""
    arrow, end = package("pyarrow", "--keep"), ending(path)
    if end == ".npz":
        return arrow.table(
            {name: arrow.array(x) for name, x in npz_arrays(path, names).items()}
        )
    if path.is_dir():
        return _of_ipc(_dataset_files(path), names)
    if end in _IPC:
        return _of_ipc([path], names)
    parquet = package("pyarrow.parquet", "Parquet")
    check_pages(path, names)
    with parquet.ParquetFile(opened(path)) as file:
        return file.read(list(names))


def _dataset_files(folder: Place) -> list[Path]:
    return tables.dataset_files(Path(str(folder)))


def _type(name: str, shape: tuple[int, ...], dtype: np.dtype, size: int) -> Any:
    """The Arrow type of an array's values."""
    arrow = package("pyarrow", "--keep")
    if shape != (size,):
        raise ValueError(
            f"--keep {name}: its shape is {shape}, and the file has {size} rows; a "
            "column has one value a row."
        )
    try:
        return arrow.array(np.zeros(0, dtype.newbyteorder("="))).type
    except (arrow.ArrowInvalid, arrow.ArrowNotImplementedError):
        raise ValueError(
            f"--keep {name}: its values are {dtype}, which no column of a table holds. "
            "Convert them, with `.astype(str)` say."
        ) from None


def _of_ipc(paths: Sequence[Place], names: Sequence[str]) -> Any:
    """Columns of Arrow's files, without the embeddings in memory."""
    arrow, pieces = package("pyarrow", "--keep"), []
    for path in paths:
        check_buffers(path)
        pieces += [batch.select(list(names)) for batch in ipc_batches(path)]
    return arrow.Table.from_batches(pieces)
