"""One chart in many files: a folder, or a pattern."""

import re
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from jatlas._src.ids import joined as joined_ids
from jatlas.files.formats import names
from jatlas.files.formats.faults import BadFile, faults_of
from jatlas.files.formats.places import Place, ending, fitting, is_pattern
from jatlas.files.formats.rows import Rows

_NUMBER = re.compile(r"(\d+)")


def is_dataset(folder: Place) -> bool:
    """Whether Hugging Face's `save_to_disk` wrote this folder."""
    marks = ("state.json", "dataset_dict.json")
    return any((folder / mark).is_file() for mark in marks)


def is_many(path: Place) -> bool:
    """Whether it is a pattern or a folder of parts."""
    return is_pattern(path) or (path.is_dir() and not is_dataset(path))


def part_files(
    path: Place, known: Collection[str], ids: str | None = None
) -> list[Place]:
    """The files of a chart in many files, part-2 before part-10.

    Of a folder its Parquet files, at any depth, or, if there are none, all files of
    one kind that is known. What begins with a dot or an underscore is passed over, and
    so is x.id.npy, the ids of x.npy; x.key.npy too, if `ids` is "key".

    Raises:
        ValueError: if there are none, or of several kinds.
    """
    if is_pattern(path):
        fit = _without_ids([file for file in fitting(path) if file.is_file()], ids)
        if not fit:
            raise ValueError(
                "there is no such file, and no file fits it as a pattern. Give the "
                "path of a file, or a pattern in quotes that fits some."
            )
        return sorted(fit, key=_in_order)
    kinds: dict[str, list[Place]] = {}
    folder = "" if str(path) == "." else str(path)  # which no file's path begins with
    for file in path.glob("**/*"):
        inner = str(file)[len(folder) :].replace("\\", "/").split("/")
        if any(name.startswith((".", "_")) for name in inner) or not file.is_file():
            continue
        kinds.setdefault(ending(file), []).append(file)
    kinds = {kind: files for kind, files in kinds.items() if kind in known}
    if ".parquet" in kinds:
        kinds = {".parquet": kinds[".parquet"]}
    if not kinds and (path / "_versions").is_dir():
        raise ValueError(
            "a Lance table: write its `to_arrow()` with pyarrow.parquet.write_table "
            "(of LanceDB that of `lancedb.connect(FOLDER).open_table(NAME)`)."
        )
    if len(kinds) != 1:
        of = ", ".join(f"{len(files)} {kind}" for kind, files in kinds.items())
        raise ValueError(
            "a folder, but not of `datasets`: there is no state.json in it, and "
            f"{'files of several kinds are: ' + of if kinds else 'no file to read'}. "
            "Give one that `Dataset.save_to_disk` wrote, one of Parquet files, or a "
            "pattern in quotes, 'folder/*.npz'."
        )
    (of_kind,) = kinds.values()
    return sorted(_without_ids(of_kind, ids), key=_in_order)


def _without_ids(files: Sequence[Place], ids: str | None) -> list[Place]:
    """The files that are not the ids of another of them."""
    arrays = {str(file)[:-4] for file in files if ending(file) == ".npy"}
    names = ("id", "ids", ids)

    def of_another(file: Place) -> bool:
        name, _, last = str(file)[:-4].rpartition(".")
        return ending(file) in (".npy", ".txt") and last in names and name in arrays

    return [file for file in files if str(file) != ids and not of_another(file)]


def _in_order(path: Place) -> list[str | int]:
    words = _NUMBER.split(str(path))
    return [int(word) if k % 2 else word for k, word in enumerate(words)]


def _few(columns: Sequence[str]) -> str:
    return ", ".join(columns[:8]) + (", ..." if len(columns) > 8 else "")


def joined(
    files: Sequence[Place], opened: Sequence[tuple[np.ndarray, Rows]], lenient: bool
) -> tuple[np.ndarray, Rows]:
    """The ids and rows of all parts, one after another.

    If they are lenient, rows of a part in which no row has numbers come as NaN.

    Raises:
        ValueError: if ids are of two types, or rows of two widths or of other columns.
    """
    kinds = []
    k = next((k for k, (_, rows) in enumerate(opened) if rows.shape[1]), 0)
    known, model = files[k], opened[k][1]
    width = model.shape[1]
    for file, (ids, rows) in zip(files, opened, strict=True):
        kinds.append((str(file), names.kind_of(ids)))
        if rows.shape[1] != width and (rows.shape[1] or not lenient):
            raise BadFile(
                f"{file}: its embeddings have {rows.shape[1]} dimensions, those of "
                f"{known} {width}: parts of one chart must have the same. Give the "
                "files as charts of their own, or leave this one out."
            )
        if rows.columns != model.columns:
            raise BadFile(
                f"{file}: its embeddings are the columns {_few(rows.columns)}, those "
                f"of {known} {_few(model.columns)}: parts of one chart must "
                "have the same, in the same order. Name them with embeddings=... "
                "(--embeddings), or write the part anew."
            )
        if ids.size != rows.shape[0]:
            raise BadFile(
                f"{file}: it has {ids.size} ids and {rows.shape[0]} embeddings; "
                "expected one id a row."
            )
    names.check_one_kind(kinds)
    every = [rows for _, rows in opened]
    dtype = np.result_type(*(rows.dtype for rows in every if rows.shape[1] == width))

    def filled(x: np.ndarray) -> np.ndarray:
        if x.shape[1] < width:
            return np.full((len(x), width), np.nan, dtype)
        return x.astype(dtype, copy=False)

    def batches(size: int) -> Iterator[np.ndarray]:
        for file, rows in zip(files, every, strict=True):
            with faults_of(file):
                for x in rows.batches(size):
                    yield filled(x)

    def between(start: int, stop: int, size: int) -> Iterator[np.ndarray]:
        for file, first, rows in zip(files, starts, every, strict=False):
            a, b = max(start - first, 0), min(stop - first, rows.shape[0])
            if a < b and rows.between is not None:
                with faults_of(file):
                    for x in rows.between(a, b, size):
                        yield filled(x)

    def whole() -> np.ndarray:
        pieces = []
        for file, rows in zip(files, every, strict=True):
            with faults_of(file):
                pieces.append(filled(rows.whole()))
        return np.concatenate(pieces)

    starts = np.cumsum([0, *(rows.shape[0] for rows in every)]).tolist()

    def whose(part: int, row: int) -> str:
        return f"the id in row {row} of {files[part]}"

    return joined_ids([ids for ids, _ in opened], whose), Rows(
        (starts[-1], width),
        dtype,
        batches,
        whole,
        "; ".join(dict.fromkeys(rows.note for rows in every if rows.note)),
        every[0].id_name,
        tuple(zip(map(str, files), starts[:-1], strict=True)),
        between=None if any(rows.between is None for rows in every) else between,
    )
