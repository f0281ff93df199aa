"""Embeddings in tables: Parquet, Arrow, Feather, and folders of `datasets`."""

import contextlib
import json
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from jatlas.files.formats import names
from jatlas.files.formats.columns import looks
from jatlas.files.formats.columns.choice import choose_columns
from jatlas.files.formats.columns.ipc import ipc_batches
from jatlas.files.formats.columns.ipc_buffers import check_buffers
from jatlas.files.formats.columns.kinds import is_number, is_text
from jatlas.files.formats.columns.matrices import rows_of_batches as _rows
from jatlas.files.formats.columns.parquet_pages import check_pages
from jatlas.files.formats.columns.plain import numbers_of
from jatlas.files.formats.faults import NoRows, faults_of, package
from jatlas.files.formats.places import Place, Remote, opened
from jatlas.files.formats.rows import Rows, Wanted

_BUFFER = 2**20
_GROUP = 2**26  # bytes of rows in a group of Parquet, of which some can be read alone
_LOOKED_AT = 1024  # values of a column, for one that is not empty


def open_parquet(path: Place, wanted: Wanted) -> tuple[np.ndarray, Rows]:
    """Ids and rows of a Parquet file; rows are read on access.

    The embeddings are a column of lists, or columns of numbers if there is none.
    """
    parquet = package("pyarrow.parquet", "Parquet")

    def parquet_file() -> Any:
        # Left to itself it would read the whole file before the first row.
        options = {"pre_buffer": False, "buffer_size": _BUFFER}
        return parquet.ParquetFile(opened(path), **options)

    def first(column: str) -> Any:
        try:
            check_pages(path, [column])
        except ValueError:  # it is not worth the memory to look at it
            return None
        batches = islice(file.iter_batches(batch_size=64, columns=[column]), 16)
        return _first(value for batch in batches for value in batch.column(column))

    with parquet_file() as file:
        schema, ids = file.schema_arrow, wanted.ids
        of_atlas = (schema.metadata or {}).get(b"jatlas.id", b"")
        if ids is None and of_atlas.decode(errors="replace") in schema.names:
            ids = of_atlas.decode()
        chosen = choose_columns(schema, wanted._replace(ids=ids), first)
        check_pages(path, [chosen.ids, *chosen.embeddings])
        its_ids = _ids(file.read([chosen.ids]).column(chosen.ids), chosen.ids)
        groups = [file.metadata.row_group(k) for k in range(file.num_row_groups)]
        most = max((group.num_rows for group in groups), default=0)

    def batches(start: int, stop: int, size: int) -> Iterator[Any]:
        with parquet_file() as file:
            groups, first = _groups(file.metadata, start, stop)
            some = file.iter_batches(
                batch_size=size, row_groups=groups, columns=chosen.embeddings
            )
            yield from _within(some, first, start, stop)

    rows = _rows(its_ids, chosen, batches, wanted.lenient)
    if most * rows.shape[1] * rows.dtype.itemsize > _GROUP:
        rows = rows._replace(between=None)  # each reading takes a group from its start
    return its_ids, rows


def _groups(metadata: Any, start: int, stop: int) -> tuple[list[int], int]:
    """The Parquet groups with these rows, and their first row."""
    sizes = [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)]
    ends = np.cumsum([0, *sizes])
    some = np.flatnonzero((ends[1:] > start) & (ends[:-1] < stop))
    return some.tolist(), int(ends[some[0]]) if some.size else 0


def _within(batches: Iterable[Any], first: int, start: int, stop: int) -> Iterator[Any]:
    """The rows of batches, from row `first` on, that lie within bounds."""
    for batch in batches:
        a, b = max(start - first, 0), min(stop - first, batch.num_rows)
        if a < b:
            yield batch.slice(a, b - a)
        first += batch.num_rows
        if first >= stop:
            return


def open_ipc(path: Place, wanted: Wanted) -> tuple[np.ndarray, Rows]:
    """Ids and rows of an Arrow IPC file, stream or Feather."""
    check_buffers(path)
    with contextlib.closing(ipc_batches(path)) as all_of_it:
        first = next(all_of_it, None)
        if first is None or first.num_columns == 0:
            raise NoRows("it has no rows; expected one at least.")
        chosen = choose_columns(
            first.schema,
            wanted,
            lambda column: _first(first.column(column)),
        )
    arrow = package("pyarrow", "Arrow")
    pieces = [batch.column(chosen.ids) for batch in ipc_batches(path)]
    its_ids = _ids(arrow.chunked_array(pieces), chosen.ids)

    def batches(start: int, stop: int, size: int) -> Iterator[Any]:
        for batch in ipc_batches(path, start, stop):
            some = batch.select(chosen.embeddings)
            for k in range(0, some.num_rows, size):
                yield some.slice(k, size)

    return its_ids, _rows(its_ids, chosen, batches, wanted.lenient)


def open_dataset(folder: Place, wanted: Wanted) -> tuple[np.ndarray, Rows]:
    """Ids and rows of a folder that Hugging Face's `Dataset.save_to_disk` wrote.

    The folder holds Arrow streams, which are mapped; `datasets` itself is not needed.
    """
    if isinstance(folder, Remote):
        raise ValueError(
            "a folder of `datasets` is read from this machine only; copy it here, or "
            "save it as Parquet."
        )
    arrow = package("pyarrow", "a folder of datasets")
    tables = [_stream(file) for file in dataset_files(folder)]

    def first(column: str) -> Any:
        tables[0].select([column]).validate(full=True)
        return _first(tables[0].column(column))

    chosen = choose_columns(tables[0].schema, wanted, first)
    columns = chosen.embeddings
    table = arrow.concat_tables(
        table.select([chosen.ids, *columns]) for table in tables
    )
    # Arrow takes on trust what is mapped; a wrong offset would end the process.
    table.validate(full=True)
    its_ids = _ids(table.column(chosen.ids), chosen.ids)

    def batches(start: int, stop: int, size: int) -> Iterator[Any]:
        some = table.select(columns).slice(start, stop - start)
        return iter(some.to_reader(max_chunksize=size))

    return its_ids, _rows(its_ids, chosen, batches, wanted.lenient)


def dataset_files(folder: Path) -> list[Path]:
    """The files with the rows of a `datasets` folder, in order.

    Raises:
        ValueError: if the folder is not one data set in the order of its files.
    """
    if (folder / "dataset_dict.json").is_file():
        splits = json.loads((folder / "dataset_dict.json").read_text("utf-8"))["splits"]
        raise ValueError(f"it holds several splits; give one: {folder}/{splits[0]}.")
    if not (folder / "state.json").is_file():
        raise ValueError(
            "a folder, but not of `datasets`: there is no state.json in it. Give one "
            "that `Dataset.save_to_disk` wrote."
        )
    state = json.loads((folder / "state.json").read_text("utf-8"))
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
        check_buffers(file)
        mapped = arrow.memory_map(str(file))
        return (
            package("pyarrow.ipc", "a folder of datasets")
            .open_stream(mapped)
            .read_all()
        )


def _first(column: Iterable[Any]) -> Any:
    """The first value that is not empty; else one not null."""
    there = (value.as_py() for value in column if value.is_valid)
    values = islice(there, _LOOKED_AT)
    some = next(values, None)
    return next((x for x in chain([some], values) if not looks.is_empty(x)), some)


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
    if is_number(column.type):
        return numbers_of(column)
    if is_text(column.type):
        if not types.is_string_view(column.type):
            lengths = numbers_of(compute.utf8_length(column)).astype(np.int64)
            names.check_lengths(lengths, column)
        return names.text_array(column.to_pylist())
    raise ValueError(
        f"the ids {name!r} are {column.type}; expected integers or text. Convert them, "
        "or name another column with ids=... (--ids)."
    )
