"""Columns of files that are kept beside merged rows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from jatlas._src import border
from jatlas.files.formats import names, parts
from jatlas.files.formats.columns import tables
from jatlas.files.formats.columns.ipc import ipc_batches
from jatlas.files.formats.columns.ipc_buffers import check_buffers
from jatlas.files.formats.columns.parquet_pages import check_pages
from jatlas.files.formats.faults import BadFile, faults_of, package
from jatlas.files.formats.places import Place, Remote, opened
from jatlas.files.readers import (
    OPENERS,
    Names,
    Reading,
    open_embeddings,
    with_names,
)

# What an atlas's table has of its own.
_TAKEN = ("atlas", "charts", "disagreement", "members")


class Beside(NamedTuple):
    """What stands in an atlas's table beside its rows.

    Attributes:
        id_name: the name of the column of ids.
        columns: Arrow arrays (N,) by name.
    """

    id_name: str = "id"
    columns: Mapping[str, Any] = MappingProxyType({})


@border.short
def read_beside(
    paths: Sequence[str | Path],
    samples: np.ndarray,
    keep: Sequence[str] = (),
    *,
    ids: Names = None,
    embeddings: Names = None,
    reading: Reading | None = None,
) -> Beside:
    """Read columns of files for the samples of an atlas.

    A value is from the first chart that has the sample and the column; null if none
    has. The column of ids is named as in the first file.

    Args:
        paths: of the files, in order.
        samples: (N,), the ids of the atlas.
        keep: the names of columns.
        ids: the name of the ids in the files, as in `merge_files`.
        embeddings: that of the embeddings.
        reading: a `Reading`, as in `merge_files`.

    Returns:
        A `Beside`, which `save` takes.

    Raises:
        ValueError: if no file has such a column, its name is one of the atlas's, or it
            is of types in two files that do not go together.
        OSError: if a file cannot be read.
        ImportError: if pyarrow is not installed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = folder + "/a.npz"
        ...     np.savez(path, key=[1, 2], x=np.eye(2), title=["owl", "kea"])
        ...     beside = read_beside([path], np.array([2, 1]), ["title"], ids="key")
        >>> beside.id_name, beside.columns["title"].to_pylist()
        ('key', ['kea', 'owl'])
    """
    if clash := [name for name in keep if name in _TAKEN]:
        raise ValueError(f"--keep {clash[0]}: the atlas has a column of that name.")
    values: dict[str, list[tuple[Any, np.ndarray]]] = {name: [] for name in keep}
    first = "id"
    seen: set[str] = set()
    plain = (reading or Reading())._replace(drop_invalid=False)
    each = with_names(paths, ids, embeddings)
    for m, (path, of_ids, of_rows) in enumerate(each):
        if m and not keep:
            break
        # With rows that are invalid: the order is that of the columns.
        source = open_embeddings(
            path, ids=of_ids, embeddings=of_rows, reading=plain, check=False
        )
        first = source.rows.id_name if m == 0 else first
        with faults_of(path):
            for name, column in _columns(path, keep, seen).items():
                if len(column) == source.ids.size:
                    values[name].append((column, names.find(source.ids, samples)))
    for name, charts in values.items():
        if not charts:
            raise ValueError(
                f"--keep {name}: no file has such a column; they have "
                f"{sorted(seen)[:20]}."
            )
    if first in keep:
        raise ValueError(
            f"--keep {first}: it is the column of ids, which the table has anyway."
        )
    if first in _TAKEN:
        first = "id"
    return Beside(first, {name: _first(name, values[name], paths) for name in keep})


def _first(
    name: str, charts: list[tuple[Any, np.ndarray]], paths: Sequence[str | Path]
) -> Any:
    """A column's values, each from the first chart that has the sample."""
    arrow = package("pyarrow", "--keep")
    tables = [arrow.table({name: column}) for column, _ in charts]
    try:
        column = arrow.concat_tables(tables, promote_options="permissive").column(name)
    except (arrow.ArrowInvalid, arrow.ArrowTypeError) as error:
        raise BadFile(
            f"--keep {name}: the files have it in types that do not go together: "
            f"{error}. Convert it in one of {[str(path) for path in paths]}."
        ) from None
    rows, start = np.full(charts[0][1].size, -1), 0
    for part, places in charts:
        new = (rows < 0) & (places >= 0)
        rows[new] = start + places[new]
        start += len(part)
    return column.take(arrow.array(rows, mask=rows < 0)).combine_chunks()


def _columns(path: Place, keep: Sequence[str], seen: set[str]) -> dict[str, Any]:
    """The columns of a file to keep, in its order."""
    arrow = package("pyarrow", "--keep")
    if parts.is_many(path):
        pieces = [_columns(f, keep, seen) for f in parts.part_files(path, OPENERS)]
        shared = [name for name in keep if all(name in piece for piece in pieces)]
        return {
            name: arrow.concat_tables(
                [arrow.table({name: piece[name]}) for piece in pieces],
                promote_options="permissive",
            ).column(name)
            for name in shared
        }
    suffix = path.suffix.lower()
    if path.is_dir():
        table = _of_ipc(tables.dataset_files(Path(str(path))), keep, seen)
    elif suffix == ".parquet":
        parquet = package("pyarrow.parquet", "Parquet")
        with parquet.ParquetFile(opened(path)) as file:
            has = file.schema_arrow.names
            check_pages(path, [name for name in keep if name in has])
            seen.update(has)
            table = file.read([name for name in keep if name in has])
    elif suffix in (".arrow", ".ipc", ".feather"):
        table = _of_ipc([path], keep, seen)
    elif suffix == ".npz" and not isinstance(path, Remote):
        with np.load(path, allow_pickle=False) as arrays:
            seen.update(arrays.files)
            some = {name: arrays[name] for name in keep if name in arrays.files}
        return {name: arrow.array(x) for name, x in some.items() if x.ndim == 1}
    else:
        return {}
    return {name: table.column(name) for name in keep if name in table.column_names}


def _of_ipc(paths: Sequence[Place], keep: Sequence[str], seen: set[str]) -> Any:
    """The kept columns of Arrow's files, without the embeddings in memory."""
    arrow, pieces = package("pyarrow", "--keep"), []
    for path in paths:
        check_buffers(path)
        for batch in ipc_batches(path):
            seen.update(batch.schema.names)
            kept = [name for name in keep if name in batch.schema.names]
            pieces.append(batch.select(kept))
    return arrow.Table.from_batches(pieces)
