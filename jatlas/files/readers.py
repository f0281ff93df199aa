"""Readers of embedding files of any framework: ids and embeddings."""

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jatlas._src import border
from jatlas.files.formats import array_files, hdf5_files, names, parts, word2vec
from jatlas.files.formats.columns import tables
from jatlas.files.formats.faults import NoRows, faults_of
from jatlas.files.formats.places import Place, ending, place
from jatlas.files.formats.rows import AT_ONCE, Rows, Wanted
from jatlas.files.formats.sources import (
    Source,
    check_finite,
    say_notes,
    without_invalid,
)
from jatlas.files.reports import Say, quiet

_Opener = Callable[[Place, Wanted], tuple[np.ndarray, Rows]]

OPENERS: dict[str, _Opener] = {
    ".npz": array_files.open_npz,
    ".npy": array_files.open_npy,
    ".safetensors": array_files.open_safetensors,
    ".h5": hdf5_files.open_hdf5,
    ".hdf5": hdf5_files.open_hdf5,
    ".h5ad": hdf5_files.open_hdf5,
    ".parquet": tables.open_parquet,
    ".arrow": tables.open_ipc,
    ".ipc": tables.open_ipc,
    ".feather": tables.open_ipc,
    ".vec": word2vec.open_word2vec,
    ".vec.gz": word2vec.open_word2vec,
}

_ANY = "Convert it to one of these."
_TABLE = "Read it with pandas, and write it with `to_parquet`."
_PICKLE = (
    "It is a pickle, which could run code: save its arrays as .npz or .safetensors."
)
_TEXT = "If it is GloVe's or word2vec's, a word and its numbers a line: name it .vec."
_CONVERT = {".csv": _TABLE, ".tsv": _TABLE, ".jsonl": _TABLE, ".json": _TABLE}
_CONVERT |= dict.fromkeys((".pt", ".pth", ".pkl", ".pickle", ".joblib"), _PICKLE)
_CONVERT |= dict.fromkeys((".txt", ".gz"), _TEXT)


# A file to read, or one that was opened before.
File = str | Place | Source

# The name of an array or column in files: one for all, or one a file.
Names = str | Sequence[str | None] | None


class Reading(NamedTuple):
    """How files are read, beside the names of what is in them.

    Attributes:
        id_type: "text" or "integers", to have the ids converted, whole numbers in
            floats too; as they are if None.
        drop_invalid: whether rows that are null, an empty list, NaN, infinite or zero
            are left out; their samples are then absent from the chart.
    """

    id_type: str | None = None
    drop_invalid: bool = False


def open_all(
    paths: Sequence[File],
    ids: Names,
    embeddings: Names,
    reading: Reading | None,
) -> list[Source]:
    """Files, opened as `open_embeddings` does, each with its names."""
    return [
        open_embeddings(path, ids=of_ids, embeddings=of_rows, reading=reading)
        for path, of_ids, of_rows in with_names(paths, ids, embeddings)
    ]


def with_names(
    paths: Sequence[File], ids: Names, embeddings: Names
) -> list[tuple[File, str | None, str | None]]:
    """Each file with the names of its ids and of its embeddings."""
    names_of_ids = _by_file("ids", ids, len(paths))
    names_of_rows = _by_file("embeddings", embeddings, len(paths))
    return list(zip(paths, names_of_ids, names_of_rows, strict=True))


def _by_file(option: str, value: Names, number: int) -> list[str | None]:
    """The name for each of so many files.

    >>> _by_file("ids", ["id", "name"], 2), _by_file("ids", "id", 2)
    (['id', 'name'], ['id', 'id'])
    """
    if value is None or isinstance(value, str):
        return [value] * number
    given = list(value)
    if len(given) == 1:
        return given * number
    if len(given) != number:
        raise ValueError(
            f"{option} (--{option}) has {len(given)} names, {given}, for {number} "
            "files; give one for all, or one a file in their order."
        )
    return given


@border.short
def read_embeddings(
    path: str | Path,
    *,
    ids: str | None = None,
    embeddings: str | None = None,
    reading: Reading | None = None,
    say: Say = quiet,
) -> tuple[np.ndarray, np.ndarray]:
    """Read the ids and the embeddings in a file.

    Nothing in a file is ever run. Rows that are zero are given too, where what merges,
    compares or translates files refuses them.

    ============== ==================================================================
    .npz           arrays by name; never a pickle
    .npy           the embeddings; ids in a file beside it, x.id.npy or x.id.txt
    .safetensors   tensors by name; ids integers, or (N, W) bytes of text in UTF-8
    .vec, .vec.gz  text of word2vec, GloVe or fastText: a word and its numbers a line
    .h5, .hdf5     datasets by name, "obsm/X" in a group (`pip install 'jatlas[files]'`)
    .h5ad          of AnnData: a matrix of obsm, by the index of obs (the same)
    .parquet       a column of lists of numbers, or columns of numbers (the same)
    .arrow, .ipc   the same in Arrow's IPC format; .feather too (the same)
    a folder       of Parquet files, parts of one chart, or of files of another kind;
                   or that `Dataset.save_to_disk` of Hugging Face wrote (the same)
    a pattern      ``folder/part-*.parquet``: files that fit are parts of one chart
    an address     s3://bucket/x.parquet, gs://, ...: what fsspec knows, read block by
                   block (`pip install 'jatlas[remote]'` and fsspec's package for it)
    ============== ==================================================================

    Of the columns of a table, one of lists is taken: of floating point numbers, or of
    integers if there is no other. Columns of numbers, one a feature, are only taken if
    no column could be meant otherwise; of those that are numbered (dim_0, dim_1, ...)
    in the order of their numbers, and not those beside them. The index of a pandas
    frame is never taken.

    Args:
        path: of the file or folder; a pattern, or an address as text.
        ids: the name of the array or column of ids; "id" or "ids" if None. For .npy it
            may be the path of their file.
        embeddings: the name of that of embeddings, or what numbered columns begin with;
            the only matrix, or column of lists, or one named "embeddings", "embedding"
            or "merged", if None.
        reading: a `Reading`: whether ids are converted, and invalid rows left out.
        say: gets a line that names the columns that were taken, if they are columns of
            numbers, or lists of integers, or there were others; and how many rows are
            left out.

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
    source = open_embeddings(path, ids=ids, embeddings=embeddings, reading=reading)
    say_notes([source], say)
    with faults_of(source.path):
        rows = source.rows.whole()
    for start in range(0, len(rows), AT_ONCE):
        check_finite(source, start, rows[start : start + AT_ONCE])
    return source.ids, rows


def open_embeddings(
    path: File,
    *,
    ids: str | None = None,
    embeddings: str | None = None,
    reading: Reading | None = None,
) -> Source:
    """`read_embeddings` up to the numbers, which are then read with `batches`.

    A file that was opened before is given back.
    """
    if isinstance(path, Source):
        return path
    path, (id_type, drop_invalid) = place(path), reading or Reading()
    with faults_of(path):
        opened = _opened(path, Wanted(ids, embeddings, drop_invalid), id_type)
        its_ids, rows = _in_kind(*opened, id_type)
        source = Source(path, its_ids, rows)
        if not drop_invalid:
            names.check_ids("its ids", its_ids, source.row_text)
        if its_ids.size != rows.shape[0]:
            raise ValueError(
                f"it has {its_ids.size} ids and {rows.shape[0]} embeddings; expected "
                "one id a row."
            )
        if 0 in rows.shape and not (drop_invalid and rows.shape[0]):
            raise ValueError(
                f"it has no rows: its embeddings are {rows.shape}; expected one row "
                "and one number at least."
            )
    if drop_invalid:
        source = without_invalid(source)
        with faults_of(path):
            names.check_ids("its ids", source.ids, source.row_text)
    return source


def _in_kind(
    ids: np.ndarray, rows: Rows, id_type: str | None
) -> tuple[np.ndarray, Rows]:
    """The ids in their type; that floats were whole is noted."""
    plain = names.plain_ids(ids)
    result = names.as_kind(plain, id_type)
    if plain.dtype.kind == "f" and result.dtype.kind != "f":
        note = f"its ids are whole numbers in {plain.dtype}, and are read as {id_type}"
        rows = rows._replace(note="; ".join(filter(None, (rows.note, note))))
    return result, rows


def _opened(
    path: Place, wanted: Wanted, id_type: str | None
) -> tuple[np.ndarray, Rows]:
    """The ids and rows of a file, folder or pattern."""
    if parts.is_many(path):
        files = parts.part_files(path, OPENERS, wanted.ids)
        opened: dict[Place, tuple[np.ndarray, Rows]] = {}
        for file in files:
            with faults_of(file), contextlib.suppress(NoRows):
                ids, rows = _in_kind(*_opened(file, wanted, id_type), id_type)
                if ids.size or rows.shape[0]:
                    opened[file] = ids, rows
        if not opened:
            raise NoRows(f"none of its {len(files)} parts has a row.")
        return parts.joined(list(opened), list(opened.values()), wanted.lenient)
    if not path.exists():
        raise FileNotFoundError(2, "No such file or directory", str(path))
    if path.is_dir():
        return tables.open_dataset(path, wanted)
    opener = OPENERS.get(ending(path))
    if opener is None:
        raise ValueError(
            f"unknown kind of file {path.suffix!r}; known are {', '.join(OPENERS)} "
            f"and folders of `datasets` or of parts. {_CONVERT.get(ending(path), _ANY)}"
        )
    with path.open("rb") as stream:
        if not stream.read(1):
            raise ValueError("it is empty, 0 bytes; write it anew.")
    return opener(path, wanted)


def file_hash(path: Place, given_up: Callable[[], bool] = lambda: False) -> str:
    """The SHA-256 of a file, folder or pattern, in hexadecimal.

    It ends early, and means nothing, once it is given up.
    """
    digest = hashlib.sha256()
    for file in _files(path):
        with file.open("rb") as stream:
            while not given_up() and (block := stream.read(2**20)):
                digest.update(block)
    return digest.hexdigest()


def _files(path: Place) -> Sequence[Place]:
    """The files that hold a chart, in order."""
    if parts.is_many(path):
        return parts.part_files(path, OPENERS)
    return tables.dataset_files(Path(str(path))) if path.is_dir() else [path]
