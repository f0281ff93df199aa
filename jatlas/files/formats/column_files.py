"""Embeddings in files of columns: Parquet, and folders that `datasets` saved."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jatlas.files.formats.faults import faults_of, package
from jatlas.files.formats.rows import Rows, pick_ids

_AT_ONCE, _BUFFER = 8192, 2**20


def open_parquet(
    path: Path, ids: str | None, embeddings: str | None
) -> tuple[np.ndarray, Rows]:
    """Ids and rows of a Parquet file; the rows are read when they are looked at.

    The embeddings are a column of lists, or all floating point columns in their order.
    """
    parquet = package("pyarrow.parquet", "Parquet")
    # Left to itself it would read the whole file before the first row.
    file = parquet.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER)
    name, columns = _columns(file.schema_arrow, ids, embeddings)
    found = _ids(file.read([name]).column(0), name)

    def batches(size: int) -> Iterator[Any]:
        return file.iter_batches(batch_size=size, columns=columns)

    return found, _rows(found.size, columns, batches)


def open_dataset(
    folder: Path, ids: str | None, embeddings: str | None
) -> tuple[np.ndarray, Rows]:
    """Ids and rows of a folder that Hugging Face's `Dataset.save_to_disk` wrote.

    The folder holds Arrow streams, which are mapped; `datasets` itself is not needed.
    """
    arrow = package("pyarrow", "a folder of datasets")
    tables = [_stream(file) for file in dataset_files(folder)]
    name, columns = _columns(tables[0].schema, ids, embeddings)
    table = arrow.concat_tables(table.select([name, *columns]) for table in tables)
    found = _ids(table.column(name), name)

    def batches(size: int) -> Iterator[Any]:
        return iter(table.select(columns).to_batches(max_chunksize=size))

    return found, _rows(found.size, columns, batches)


def dataset_files(folder: Path) -> list[Path]:
    """The files of a folder of `datasets` that hold its rows, in order.

    Raises:
        ValueError: if the folder is not one data set in the order of its files.
    """
    if (folder / "dataset_dict.json").is_file():
        splits = json.loads((folder / "dataset_dict.json").read_text())["splits"]
        raise ValueError(f"it holds several splits; give one: {folder}/{splits[0]}.")
    if not (folder / "state.json").is_file():
        raise ValueError(
            "a folder, but not of `datasets`: there is no state.json in it."
        )
    state = json.loads((folder / "state.json").read_text())
    if state.get("_indices_data_files"):
        raise ValueError("its rows are out of order; save `.flatten_indices()`.")
    # Only names in the folder: what a file says leads nowhere else.
    files = [folder / Path(entry["filename"]).name for entry in state["_data_files"]]
    if not files:
        raise ValueError("it has no data files.")
    return files


def _stream(file: Path) -> Any:
    arrow = package("pyarrow", "a folder of datasets")
    with faults_of(file):
        mapped = arrow.memory_map(str(file))
        return (
            package("pyarrow.ipc", "a folder of datasets")
            .open_stream(mapped)
            .read_all()
        )


def _columns(
    schema: Any, ids: str | None, embeddings: str | None
) -> tuple[str, list[str]]:
    """The names of the column of ids, and of the one or more of the embeddings."""
    types = package("pyarrow.types", "Parquet")
    if len(set(schema.names)) < len(schema.names):
        raise ValueError("two of its columns have one name.")
    name = pick_ids(schema.names, ids)
    lists = [field.name for field in schema if _is_list(field.type)]
    if embeddings is not None:
        if embeddings not in schema.names:
            raise ValueError(
                f"no column {embeddings!r} in it, but {schema.names[:20]}."
            )
        return name, [embeddings]
    if len(lists) > 1:
        raise ValueError(
            f"which of {lists[:20]} are the embeddings? Name the column with "
            "embeddings=... (--embeddings)."
        )
    columns = lists or [
        field.name
        for field in schema
        if types.is_floating(field.type) and field.name != name
    ]
    if not columns:
        raise ValueError(f"no column of {schema.names[:20]} holds lists or floats.")
    return name, columns


def _is_list(kind: Any) -> bool:
    types = package("pyarrow.types", "Parquet")
    which = (types.is_list, types.is_large_list, types.is_fixed_size_list)
    return any(fits(kind) for fits in which) and types.is_floating(kind.value_type)


def _ids(column: Any, name: str) -> np.ndarray:
    """A column of integers or text as a vector."""
    types = package("pyarrow.types", "Parquet")
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        raise ValueError(f"there is no id in row {row} of column {name!r}.")
    if types.is_integer(column.type):
        return column.to_numpy()
    if _is_text(column.type):
        return np.array(column.to_pylist(), str)
    raise ValueError(f"the ids {name!r} are {column.type}; expected integers or text.")


def _is_text(kind: Any) -> bool:
    types = package("pyarrow.types", "Parquet")
    which = (types.is_string, types.is_large_string, types.is_string_view)
    return any(fits(kind) for fits in which)


def _rows(
    num_rows: int, columns: list[str], batches: Callable[[int], Iterator[Any]]
) -> Rows:
    """Rows from a function that gives batches of Arrow's, with these columns."""

    def numbers(size: int) -> Iterator[np.ndarray]:
        start, width = 0, None
        for batch in batches(size):
            if batch.num_rows == 0:
                continue
            x = _matrix(batch, columns, start, width)
            start, width = start + len(x), x.shape[1]
            yield x

    def whole() -> np.ndarray:
        return np.concatenate(list(numbers(_AT_ONCE)))

    first = next(numbers(1), None)
    if first is None:
        raise ValueError("it has no rows.")
    return Rows((num_rows, first.shape[1]), first.dtype, numbers, whole)


def _matrix(
    batch: Any, columns: list[str], start: int, width: int | None
) -> np.ndarray:
    """(n, D), the batch that begins at row `start`; D is `width`, if that is known."""
    parts = [batch.column(name) for name in columns]
    for name, part in zip(columns, parts, strict=True):
        if part.null_count:
            row = start + part.is_null().to_pylist().index(True)
            raise ValueError(f"there is nothing in row {row} of column {name!r}.")
    if not _is_list(parts[0].type):
        return np.stack([_numbers(part, start, 1) for part in parts], axis=1)
    (lists,) = parts
    if hasattr(lists.type, "list_size"):
        lengths = np.full(len(lists), lists.type.list_size)
    else:
        lengths = np.diff(lists.offsets.to_numpy())
    width = int(lengths[0]) if width is None else width
    ragged = np.flatnonzero(lengths != width)
    if ragged.size or width == 0:
        row = start + int(ragged[0] if ragged.size else 0)
        raise ValueError(
            f"the list in row {row} of column {columns[0]!r} has "
            f"{lengths[row - start]} numbers and the first {width}: all must have the "
            "same, one at least."
        )
    return _numbers(lists.flatten(), start, width).reshape(len(lists), width)


def _numbers(values: Any, start: int, width: int) -> np.ndarray:
    types = package("pyarrow.types", "Parquet")
    if not types.is_floating(values.type):
        raise ValueError(f"the embeddings are {values.type}, not floating point.")
    if values.null_count:
        row = start + values.is_null().to_pylist().index(True) // width
        raise ValueError(f"a number is missing (null) in row {row}.")
    return values.to_numpy(zero_copy_only=False)
