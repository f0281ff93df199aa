"""Columns of files that are kept beside merged rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from jatlas._src import border
from jatlas._src.ids import find
from jatlas.files.formats import names
from jatlas.files.formats.columns.beside import TAKEN, Beside, id_column
from jatlas.files.formats.columns.kept_values import column_types, column_values
from jatlas.files.formats.faults import BadFile, faults_of, package
from jatlas.files.formats.places import Place, place
from jatlas.files.formats.sources import Source
from jatlas.files.readers import Names, Reading, open_embeddings, with_names
from jatlas.files.reports import Say, quiet
from jatlas.merging.assembly import Ids

_KINDS = "tables (Parquet, Arrow, Feather, folders of these) and .npz"


@border.short
def read_beside(
    paths: Sequence[str | Path],
    samples: Ids,
    keep: Sequence[str] = (),
    *,
    ids: Names = None,
    embeddings: Names = None,
    reading: Reading | None = None,
) -> Beside:
    """Read columns of files for the samples of an atlas.

    A value is from the first chart that has the sample and the column, by a row that is
    not left out; null if none has. The column of ids is named as in the first file.

    Args:
        paths: of the files, in order. Columns are kept from tables (Parquet, Arrow,
            Feather, folders of these) and from .npz.
        samples: (N,), the ids of the atlas, integers or text; a list is taken too.
        keep: the names of columns.
        ids: the name of the ids in the files, as in `merge_files`.
        embeddings: that of the embeddings.
        reading: a `Reading`, as in `merge_files`.

    Returns:
        A `Beside`, which `save` takes.

    Raises:
        ValueError: if samples are no vector of integers or of text, keep is one name
            and no list, no file has such a column, its name
            is one of the atlas's, it is of types in two files that do not go together,
            or is an array that has not one value a row.
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
    each = with_names(paths, ids, embeddings)
    sources = [
        open_embeddings(path, ids=of_ids, embeddings=of_rows, reading=reading)
        for path, of_ids, of_rows in (each if keep else each[:1])
    ]
    return beside_of(sources, names.given_ids("samples", samples), keep)


def beside_of(
    sources: Sequence[Source],
    samples: np.ndarray,
    keep: Sequence[str] = (),
    taken: Sequence[str] = TAKEN,
) -> Beside:
    """`read_beside` of files that are open, for a table with columns `taken`."""
    id_name = check_keep(sources, keep, values=False, taken=taken)
    whose = [("the atlas", samples), *((str(s.path), s.ids) for s in sources)]
    names.check_one_kind([(name, names.kind_of(ids)) for name, ids in whose])
    charts = [_chart_values(source, samples, keep) for source in sources if keep]
    return Beside(
        id_name,
        {name: _first([c[name] for c in charts if name in c], name) for name in keep},
    )


def check_keep(
    sources: Sequence[Source],
    keep: Sequence[str],
    say: Say = quiet,
    *,
    values: bool = True,
    taken: Sequence[str] = TAKEN,
) -> str:
    """The name of the ids, once all columns can be kept.

    The types of the files' columns are looked at; values too where files have a column
    in several types, unless `values` is False. The table has columns named as `taken`.

    Raises:
        ValueError: as `read_beside`.
    """
    if isinstance(keep, str):
        raise ValueError(f"keep is a list of columns; for one give [{keep!r}].")
    whose = "the atlas" if taken is TAKEN else "the table"
    if clash := [name for name in keep if name in taken]:
        raise ValueError(f"--keep {clash[0]}: {whose} has a column of that name.")
    of_file = sources[0].rows.id_name
    id_name = id_column(of_file, taken)
    if of_file in keep:
        raise ValueError(
            f"--keep {of_file}: it is the column of ids, which the table has anyway."
        )
    if id_name in keep:
        raise ValueError(
            f"--keep {id_name}: the table has its ids under that name, as {of_file!r} "
            f"is a column of {whose}. Rename one of the two in the file."
        )
    if keep:
        _check_columns(sources, keep, say, values)
    return id_name


def _check_columns(
    sources: Sequence[Source], keep: Sequence[str], say: Say, values: bool
) -> None:
    """Raise ValueError unless files have each column in one type."""
    seen: set[str] = set()
    types: dict[str, list[tuple[Place, Any]]] = {name: [] for name in keep}
    without: list[str] = []
    for source in sources:
        for path, start, end in _pieces(source):
            with faults_of(path):
                there, of_file = column_types(path, keep, end - start)
            seen.update(there)
            for name, kind in of_file.items():
                types[name].append((path, kind))
        if not there:
            without.append(str(source.path))
    for name, kinds in types.items():
        if not kinds:
            raise ValueError(_no_column(name, seen, without))
        common = _common_type(name, kinds)
        for path in [path for path, kind in kinds if values and kind != common]:
            with faults_of(path):
                column = column_values(path, [name]).column(name)
            _in_type(column, common, name, path)
    if without:
        say(
            f"warning: --keep takes columns from {_KINDS} only: samples that no other "
            f"file has get none from {', '.join(without)}."
        )


def _no_column(name: str, seen: set[str], without: Sequence[str]) -> str:
    """The message about a column that no file has."""
    only = f"columns are kept from {_KINDS} only, not from {', '.join(without)}."
    if not seen:
        return f"--keep {name}: {only} Save one of them so, with the column."
    return (
        f"--keep {name}: no file has such a column; they have {sorted(seen)[:20]}."
        + (f" And {only}" if without else "")
    )


def _common_type(name: str, kinds: Sequence[tuple[Place, Any]]) -> Any:
    """The type that takes a column's values from all files.

    Raises:
        ValueError: if there is none.
    """
    arrow, types = package("pyarrow", "--keep"), package("pyarrow.types", "--keep")
    _, common = kinds[0]
    if any(kind != common for _, kind in kinds):  # of categories the values
        kinds = [
            (path, kind.value_type if types.is_dictionary(kind) else kind)
            for path, kind in kinds
        ]
    _, common = kinds[0]
    for path, kind in kinds:
        fields = [arrow.schema([(name, one)]) for one in (common, kind)]
        try:
            both = arrow.unify_schemas(fields, promote_options="permissive")
        except (arrow.ArrowInvalid, arrow.ArrowTypeError):
            raise BadFile(
                f"--keep {name}: the files have it in types that do not go together: "
                f"{common} in {kinds[0][0]}, and {kind} in {path}. Convert it in one."
            ) from None
        common = both.field(0).type
    return common


def _pieces(source: Source) -> list[tuple[Place, int, int]]:
    """The files of a chart, each with its first and next row."""
    size = source.ids.size if source.kept is None else source.kept.size
    if not source.rows.parts:
        return [(source.path, 0, size)]
    files, starts = zip(*source.rows.parts, strict=True)
    ends = (*starts[1:], size)
    return list(zip(map(place, files), starts, ends, strict=True))


class _Values(NamedTuple):
    """A column of a chart's files, and N samples' places or -1."""

    pieces: list[tuple[Place, Any]]
    rows: Int[np.ndarray, " N"]


def _chart_values(
    source: Source, samples: np.ndarray, keep: Sequence[str]
) -> dict[str, _Values]:
    """A chart's columns to keep, by name."""
    rows = source.in_file(find(source.ids, samples))
    values: dict[str, _Values] = {}
    for path, start, end in _pieces(source):
        with faults_of(path):
            there = list(column_types(path, keep, end - start).types)
            if not there:
                continue
            table = column_values(path, there)
            if table.num_rows != end - start:
                raise ValueError(
                    f"it has {table.num_rows} values of {there[0]!r}, and "
                    f"{end - start} rows: it was changed, or is damaged."
                )
        here = (rows >= start) & (rows < end)
        for name in there:
            if name not in values:
                values[name] = _Values([], np.full(samples.size, -1))
            before = sum(len(column) for _, column in values[name].pieces)
            values[name].rows[here] = rows[here] - start + before
            values[name].pieces.append((path, table.column(name)))
    return values


def _first(charts: Sequence[_Values], name: str) -> Any:
    """A column's values, each from the first chart that has the sample."""
    arrow = package("pyarrow", "--keep")
    pieces = [piece for chart in charts for piece in chart.pieces]
    kind = _common_type(name, [(path, column.type) for path, column in pieces])
    column = arrow.chunked_array(
        [
            chunk
            for path, one in pieces
            for chunk in _in_type(one, kind, name, path).chunks
        ],
        kind,
    )
    rows, start = np.full(charts[0].rows.size, -1), 0
    for chart in charts:
        new = (rows < 0) & (chart.rows >= 0)
        rows[new] = start + chart.rows[new]
        start += sum(len(one) for _, one in chart.pieces)
    return column.take(arrow.array(rows, mask=rows < 0)).combine_chunks()


def _in_type(column: Any, kind: Any, name: str, path: Place) -> Any:
    """The column as this type; ValueError where a value does not fit."""
    if column.type == kind:
        return column
    arrow = package("pyarrow", "--keep")
    try:
        return column.cast(kind)
    except arrow.ArrowInvalid as error:
        raise BadFile(
            f"{path}: --keep {name}: a value of {column.type} does not fit {kind}, the "
            f"type that takes this column from all files ({str(error)[:200]}). "
            "Convert it in one."
        ) from None
