"""Readers of embedding files of any framework: ids and embeddings."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from jatlas._src import border
from jatlas.files.formats import array_files, hdf5_files, names
from jatlas.files.formats.columns import tables
from jatlas.files.formats.faults import faults_of
from jatlas.files.formats.rows import Rows
from jatlas.files.reports import Say, quiet

_Opener = Callable[[Path, str | None, str | None], tuple[np.ndarray, Rows]]

OPENERS: dict[str, _Opener] = {
    ".npz": array_files.open_npz,
    ".npy": array_files.open_npy,
    ".safetensors": array_files.open_safetensors,
    ".h5": hdf5_files.open_hdf5,
    ".hdf5": hdf5_files.open_hdf5,
    ".parquet": tables.open_parquet,
}

AT_ONCE = 8192


class Source(NamedTuple):
    """A file of embeddings that was opened, its rows not yet read.

    Attributes:
        path: of the file or folder.
        ids: (N,), int64 or text, all different.
        rows: its (N, D) numbers.
    """

    path: Path
    ids: np.ndarray
    rows: Rows


@border.short
def read_embeddings(
    path: str | Path,
    *,
    ids: str | None = None,
    embeddings: str | None = None,
    id_type: str | None = None,
    say: Say = quiet,
) -> tuple[np.ndarray, np.ndarray]:
    """Read the ids and the embeddings in a file.

    Nothing in a file is ever run.

    ============== ==================================================================
    .npz           arrays by name; never a pickle
    .npy           the embeddings; ids in a file beside it, x.id.npy or x.id.txt
    .safetensors   tensors by name; ids integers, or (N, W) bytes of text in UTF-8
    .h5, .hdf5     datasets by name (`pip install 'jatlas[files]'`)
    .parquet       a column of lists of numbers, or columns of numbers (the same)
    a folder       that `Dataset.save_to_disk` of Hugging Face wrote (the same)
    ============== ==================================================================

    Of the columns of a table, one of lists is taken: of floating point numbers, or of
    integers if there is no other. Columns of numbers, one a feature, are only taken if
    no column could be meant otherwise; of those that are numbered (dim_0, dim_1, ...)
    in the order of their numbers, and not those beside them. The index of a pandas
    frame is never taken.

    Args:
        path: of the file or folder.
        ids: the name of the array or column of ids; "id" or "ids" if None. For .npy it
            may be the path of their file.
        embeddings: the name of that of embeddings, or what numbered columns begin with;
            the only matrix, or column of lists, or one named "embeddings", "embedding"
            or "merged", if None.
        id_type: "text" or "integers", to have them converted; as they are if None.
        say: gets a line that names the columns that were taken, if they are columns of
            numbers, or lists of integers, or there were others.

    Returns:
        Ids (N,), int64 or text, and embeddings (N, D) in the dtype of the file: mapped
        from it, not yet in memory, if it is an .npy, .safetensors, or .npz that was not
        compressed. A pair as `assemble` takes them: integers of a table become floats,
        numbers in another order of bytes are brought into the machine's. Bytes that
        have changed since are seen in an .npz, which has a CRC-32 of each array; other
        formats need have none.

    Raises:
        ValueError: if anything in the file is not so: it is cut off, has no rows, a
            pickle, rows of different lengths, NaN or infinity, or ids that repeat; a
            column that could be the embeddings is of a type that is not read, or there
            are several; or a text id is so long that all would take its room. The
            message begins with the path and names the row, counted from 0, and its id.
        OSError: if it is not there, or may not be read.
        ImportError: if its format takes a package that is not installed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(folder + "/a.npz", id=["owl", "kea"], x=np.eye(2))
        ...     ids, embeddings = read_embeddings(folder + "/a.npz")
        >>> ids.tolist(), embeddings.shape
        (['owl', 'kea'], (2, 2))
    """
    source = open_embeddings(path, ids=ids, embeddings=embeddings, id_type=id_type)
    if source.rows.note:
        say(f"{source.path}: {source.rows.note}")
    with faults_of(source.path):
        rows = source.rows.whole()
    for start in range(0, len(rows), AT_ONCE):
        check_finite(source, start, rows[start : start + AT_ONCE])
    return source.ids, rows


def open_embeddings(
    path: str | Path,
    *,
    ids: str | None = None,
    embeddings: str | None = None,
    id_type: str | None = None,
) -> Source:
    """`read_embeddings` up to the numbers, which are then read with `batches`."""
    path = Path(path)
    opener = tables.open_dataset if path.is_dir() else OPENERS.get(path.suffix.lower())
    with faults_of(path):
        if not path.exists():
            raise FileNotFoundError(2, "No such file or directory", str(path))
        if opener is None:
            raise ValueError(
                f"unknown kind of file {path.suffix!r}; known are {', '.join(OPENERS)} "
                "and folders of `datasets`. Convert it to one of these."
            )
        if not path.is_dir():
            with path.open("rb") as stream:
                if not stream.read(1):
                    raise ValueError("it is empty, 0 bytes; write it anew.")
        its_ids, rows = opener(path, ids, embeddings)
        its_ids = names.as_kind(names.plain_ids(its_ids), id_type)
        names.check_ids("its ids", its_ids)
        if its_ids.size != rows.shape[0]:
            raise ValueError(
                f"it has {its_ids.size} ids and {rows.shape[0]} embeddings; expected "
                "one id a row."
            )
        if 0 in rows.shape:
            raise ValueError(
                f"it has no rows: its embeddings are {rows.shape}; expected one row "
                "and one number at least."
            )
    return Source(path, its_ids, rows)


def batches(
    source: Source, size: int, dtype: DTypeLike = np.float32
) -> Iterator[tuple[int, np.ndarray]]:
    """Its embeddings in float32, in batches, each with its start.

    A batch has at most `size` rows. In another dtype, if that is given; they must lie
    in the range of float32 anyway.

    Raises:
        ValueError: if there is NaN or infinity in a row, or the file is damaged.
    """
    start = 0
    with faults_of(source.path):
        for rows in source.rows.batches(size):
            with np.errstate(over="ignore"):
                x = np.asarray(rows, np.float32)
            check_finite(source, start, x)
            yield start, x if dtype == np.float32 else np.asarray(rows, dtype)
            start += len(x)
        if start != source.ids.size:
            raise ValueError(
                f"it has {source.ids.size} ids and {start} embeddings: it is damaged. "
                "Write it anew."
            )


def check_finite(source: Source, start: int, rows: np.ndarray) -> None:
    """Raise ValueError for a row that is not finite.

    The first row has the number `start`.
    """
    bad = start + np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if bad.size:
        with faults_of(source.path):
            raise ValueError(
                f"NaN, infinity or more than float32 holds in row {bad[0]}; rows "
                f"{bad[:10].tolist()}, ids {source.ids[bad[:10]].tolist()}. Leave them "
                "out: the samples are then absent."
            )


def file_hash(path: Path) -> str:
    """The SHA-256 of a file or of a `datasets` folder, in hexadecimal."""
    digest = hashlib.sha256()
    for file in tables.dataset_files(path) if path.is_dir() else [path]:
        with file.open("rb") as stream:
            while block := stream.read(2**20):
                digest.update(block)
    return digest.hexdigest()
