"""Translated rows on disk."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import Float

from jatlas.files.formats.atlas_table import check_package, group_size
from jatlas.files.formats.columns.beside import Beside
from jatlas.files.formats.faults import package
from jatlas.files.formats.places import check_local
from jatlas.files.formats.whole import check_folder, check_inputs, write_whole
from jatlas.merging.transforms import Transform

# The name of the rows in the file; `read_embeddings` knows it.
ROWS = "embeddings"
# What columns beside the rows cannot be named.
TAKEN = (ROWS, *Transform._fields)
_SUFFIXES = (".parquet", ".npz")


def check_rows_output(path: str | Path, inputs: Sequence[str | Path]) -> None:
    """Raise ValueError or OSError if rows cannot be written there."""
    check_local(path)
    path = Path(path)
    if path.suffix.lower() not in _SUFFIXES:
        raise ValueError(f"{path} must end in {' or '.join(_SUFFIXES)}.")
    check_inputs([path], inputs)
    if path.suffix.lower() == ".parquet":
        check_package()
    check_folder(path)


def write_rows(
    path: str | Path,
    ids: np.ndarray,
    rows: Float[np.ndarray, "N K"],
    transform: Transform,
    beside: Beside | None = None,
) -> list[Path]:
    """Write ids and rows in full, or nothing.

    Args:
        path: ends in .parquet, or in .npz: that has the map too.
        ids: (N,).
        rows: (N, K).
        transform: that made them.
        beside: the name of the ids in the file, and further columns, which only a
            table has.

    Returns:
        The paths that were written.
    """
    path = Path(path)
    beside = Beside() if beside is None else beside
    if path.suffix.lower() == ".parquet":
        fill = partial(_write_table, ids=ids, rows=rows, beside=beside)
    else:
        arrays = {beside.id_name: ids, ROWS: rows, **transform._asdict()}
        fill = partial(_write_arrays, arrays=arrays)
    write_whole({path: fill})
    return [path]


def _write_arrays(stream: IO[bytes], arrays: dict[str, np.ndarray]) -> None:
    np.savez(stream, **arrays)  # type: ignore[arg-type]  # names are the user's


def _write_table(
    stream: IO[bytes], ids: np.ndarray, rows: np.ndarray, beside: Beside
) -> None:
    arrow = package("pyarrow", "Parquet")
    parquet = package("pyarrow.parquet", "Parquet")
    values: Any = arrow.array(np.ascontiguousarray(rows).reshape(-1))
    lists = arrow.FixedSizeListArray.from_arrays(values, rows.shape[1])
    table = arrow.table({beside.id_name: ids, ROWS: lists, **beside.columns})
    size = group_size(rows.shape[1])
    parquet.write_table(
        table, stream, row_group_size=size, use_dictionary=[beside.id_name]
    )
