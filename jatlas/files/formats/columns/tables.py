"""Embeddings in files of columns: Parquet, and folders that `datasets` saved."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jatlas.files.formats import names
from jatlas.files.formats.columns.choice import Chosen, choose_columns
from jatlas.files.formats.columns.kinds import TEXT, is_list, kind_of
from jatlas.files.formats.columns.parquet_pages import check_pages
from jatlas.files.formats.faults import faults_of, package
from jatlas.files.formats.rows import Rows

_AT_ONCE, _BUFFER = 8192, 2**20
_LEAVE_OUT = "leave the row out: the sample is then absent."


def open_parquet(
    path: Path, ids: str | None, embeddings: str | None
) -> tuple[np.ndarray, Rows]:
    """Ids and rows of a Parquet file; rows are read on access.

    The embeddings are a column of lists, or columns of numbers if there is none.
    """
    parquet = package("pyarrow.parquet", "Parquet")
    # Left to itself it would read the whole file before the first row.
    file = parquet.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER)

    def first_text(column: str) -> str | None:
        check_pages(path, [column])
        batch = next(file.iter_batches(batch_size=1, columns=[column]), None)
        return None if batch is None else _first_text(batch.column(column))

    chosen = choose_columns(file.schema_arrow, ids, embeddings, first_text)
    columns = chosen.embeddings
    check_pages(path, [chosen.ids, *columns])
    its_ids = _ids(file.read([chosen.ids]).column(chosen.ids), chosen.ids)

    def batches(size: int) -> Iterator[Any]:
        return file.iter_batches(batch_size=size, columns=columns)

    return its_ids, _rows(its_ids, chosen, batches)


def open_dataset(
    folder: Path, ids: str | None, embeddings: str | None
) -> tuple[np.ndarray, Rows]:
    """Ids and rows of a folder that Hugging Face's `Dataset.save_to_disk` wrote.

    The folder holds Arrow streams, which are mapped; `datasets` itself is not needed.
    """
    arrow = package("pyarrow", "a folder of datasets")
    tables = [_stream(file) for file in dataset_files(folder)]

    def first_text(column: str) -> str | None:
        tables[0].select([column]).validate(full=True)
        return _first_text(tables[0].column(column))

    chosen = choose_columns(tables[0].schema, ids, embeddings, first_text)
    columns = chosen.embeddings
    table = arrow.concat_tables(
        table.select([chosen.ids, *columns]) for table in tables
    )
    # Arrow takes on trust what is mapped; a wrong offset would end the process.
    table.validate(full=True)
    its_ids = _ids(table.column(chosen.ids), chosen.ids)

    def batches(size: int) -> Iterator[Any]:
        return iter(table.select(columns).to_reader(max_chunksize=size))

    return its_ids, _rows(its_ids, chosen, batches)


def dataset_files(folder: Path) -> list[Path]:
    """The files with the rows of a `datasets` folder, in order.

    Raises:
        ValueError: if the folder is not one data set in the order of its files.
    """
    if (folder / "dataset_dict.json").is_file():
        splits = json.loads((folder / "dataset_dict.json").read_text())["splits"]
        raise ValueError(f"it holds several splits; give one: {folder}/{splits[0]}.")
    if not (folder / "state.json").is_file():
        raise ValueError(
            "a folder, but not of `datasets`: there is no state.json in it. Give one "
            "that `Dataset.save_to_disk` wrote."
        )
    state = json.loads((folder / "state.json").read_text())
    if state.get("_indices_data_files"):
        raise ValueError("its rows are out of order; save `.flatten_indices()`.")
    # Only names in the folder: what a file says leads nowhere else.
    files = [folder / Path(entry["filename"]).name for entry in state["_data_files"]]
    if not files:
        raise ValueError("it has no data files; save the data set anew.")
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


def _first_text(column: Any) -> str | None:
    text = column[0].as_py() if len(column) else None
    return None if text is None else str(text)[:200]


def _ids(column: Any, name: str) -> np.ndarray:
    """A column of integers or text as a vector."""
    types = package("pyarrow.types", "Parquet")
    compute = package("pyarrow.compute", "Parquet")
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        raise ValueError(
            f"there is no id in row {row} of column {name!r}; give it one, or leave "
            "the row out."
        )
    if types.is_integer(column.type):
        return column.to_numpy()
    if kind_of(column.type) == TEXT:
        if not types.is_string_view(column.type):
            lengths = compute.utf8_length(column).to_numpy().astype(np.int64)
            names.check_lengths(lengths, column)
        return names.text_array(column.to_pylist())
    raise ValueError(
        f"the ids {name!r} are {column.type}; expected integers or text. Convert them, "
        "or name another column with ids=... (--ids)."
    )


def _rows(
    ids: np.ndarray, chosen: Chosen, batches: Callable[[int], Iterator[Any]]
) -> Rows:
    """Rows from a function that gives batches of Arrow's, with these columns."""

    def numbers(size: int) -> Iterator[np.ndarray]:
        start, width = 0, None
        for batch in batches(size):
            if batch.num_rows == 0:
                continue
            part = _Part(batch, start, ids)
            x = _matrix(part, chosen.embeddings, width)
            start, width = start + len(x), x.shape[1]
            yield x

    def whole() -> np.ndarray:
        return np.concatenate(list(numbers(_AT_ONCE)))

    first = next(numbers(1), None)
    if first is None:
        raise ValueError("it has no rows; expected one at least.")
    shape = (ids.size, first.shape[1])
    return Rows(shape, first.dtype, numbers, whole, chosen.note)


class _Part:
    """Some rows of a table, which know where in it they stand."""

    def __init__(self, batch: Any, start: int, ids: np.ndarray) -> None:
        self.batch, self.start, self.ids = batch, start, ids

    def where(self, k: int, column: str) -> str:
        """The place of row `k` in messages: its number and id."""
        return f"row {self.start + k} of column {column!r}{self.name(k)}"

    def name(self, k: int) -> str:
        """The id of row `k`, in brackets."""
        row = self.start + k
        return f" (id {self.ids[row].item()!r})" if row < self.ids.size else ""


def _matrix(part: _Part, columns: list[str], width: int | None) -> np.ndarray:
    """(n, D), the rows of a batch; D is `width`, if given."""
    arrays = [_storage(part.batch.column(name)) for name in columns]
    for name, array in zip(columns, arrays, strict=True):
        if array.null_count:
            where = part.where(_first_null(array), name)
            raise ValueError(f"there is nothing in {where}; {_LEAVE_OUT}")
    if not is_list(arrays[0].type):
        pairs = zip(arrays, columns, strict=True)
        return np.stack([_numbers(x, part, name, 1) for x, name in pairs], axis=1)
    (lists,), (column,) = arrays, columns
    while is_list(lists.type.value_type):  # of one list each
        lists = _only(lists, part, column)
    lengths = _lengths(lists)
    width = int(lengths[0]) if width is None else width
    ragged = np.flatnonzero(lengths != width)
    if ragged.size or width == 0:
        k = int(ragged[0] if ragged.size else 0)
        raise ValueError(
            f"the list in row {part.start + k} of column {column!r} has {lengths[k]} "
            f"numbers and the first {width}{part.name(k)}: all must have the same, one "
            "at least. Correct the row, or leave it out."
        )
    return _numbers(lists.flatten(), part, column, width).reshape(len(lists), width)


def _only(nest: Any, part: _Part, column: str) -> Any:
    """The lists in lists that hold one each."""
    lengths = _lengths(nest)
    several = np.flatnonzero(lengths != 1)
    if several.size:
        k = int(several[0])
        raise ValueError(
            f"{part.where(k, column)} holds {lengths[k]} lists of numbers; expected "
            "one, a sample's embedding. Take a mean over them, say."
        )
    inner = nest.flatten()
    if inner.null_count:
        where = part.where(_first_null(inner), column)
        raise ValueError(f"there is nothing in {where}; {_LEAVE_OUT}")
    return inner


def _storage(array: Any) -> Any:
    """The storage of an extension array; any other array itself."""
    arrow = package("pyarrow", "Parquet")
    return array.storage if isinstance(array, arrow.ExtensionArray) else array


def _first_null(array: Any) -> int:
    return array.is_null().to_pylist().index(True)


def _lengths(lists: Any) -> np.ndarray:
    if hasattr(lists.type, "list_size"):
        return np.full(len(lists), lists.type.list_size)
    return np.diff(lists.offsets.to_numpy())


def _numbers(values: Any, part: _Part, column: str, width: int) -> np.ndarray:
    """The values as floating point numbers that hold them."""
    types = package("pyarrow.types", "Parquet")
    if not (types.is_floating(values.type) or types.is_integer(values.type)):
        raise ValueError(
            f"the embeddings {column!r} are {values.type}, not floating point; convert "
            "them."
        )
    if values.null_count:
        where = part.where(_first_null(values) // width, column)
        raise ValueError(f"a number is missing (null) in {where}; {_LEAVE_OUT}")
    x = values.to_numpy(zero_copy_only=False)
    if x.dtype.kind in "iu":
        return x.astype(np.float32 if x.dtype.itemsize <= 2 else np.float64)
    return x
