"""The two steps of a merge into parts, as tasks.

What a task needs lies in a working folder, and what it gives back is small: so any
process that sees the folder can do it, and do it again.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jatlas._src.ids import find
from jatlas.files.coordinates import through_nystroem
from jatlas.files.folders.spilling import Batch, read_part, write_by_part
from jatlas.files.folders.tables import write_part
from jatlas.files.formats import atlas_tensors
from jatlas.files.formats.arrays.heads import read_npy
from jatlas.files.formats.columns.beside import Beside
from jatlas.files.formats.faults import BadFile, package
from jatlas.files.formats.sources import Source
from jatlas.files.formats.whole import write_whole
from jatlas.files.kinds.rows import chart_rows
from jatlas.files.readers import Reading, open_embeddings
from jatlas.files.recipe import AtlasFile, Recipe, num_averaged
from jatlas.files.reports import Advance
from jatlas.files.sums import add_rows, disagreement, empty_running

_WORK = "work"


class Job(NamedTuple):
    """A merge into a folder.

    Attributes:
        folder: in which the parts are written.
        part_size: samples of a part.
        num_parts: K.
        num_charts: M.
        batch_size: rows that are read and sent to the device at once.
        id_name: of the column of ids.
    """

    folder: Path
    part_size: int
    num_parts: int
    num_charts: int
    batch_size: int
    id_name: str

    @property
    def work(self) -> Path:
        """The folder of what only the tasks need."""
        return self.folder / _WORK


class Piece(NamedTuple):
    """Rows of a file of a chart, all of them or some.

    Attributes:
        chart: the number of the chart.
        number: among all pieces.
        path: of the file; an address as text.
        start: the first of its rows among those of the chart.
        stop: the row after its last.
        ids: the name of the ids, as in `read_embeddings`.
        embeddings: that of the embeddings.
        reading: how it is read.
        dtype: the name of the dtype of all rows of the chart.
        first: the first of its rows among those of the file.
        size: how many the file has.
        source: the file, if it is open.
    """

    chart: int
    number: int
    path: str
    start: int
    stop: int
    ids: str | None
    embeddings: str | None
    reading: Reading | None
    dtype: str
    first: int
    size: int
    source: Source | None = None


class Spilled(NamedTuple):
    """A piece in coordinates, on disk by part.

    Attributes:
        file: its name in the working folder.
        bounds: (B, K + 1), as from `write_by_part`.
        anchors: which of the anchors are in the piece, if they were asked for.
        rows: their rows.
        texts: warnings.
    """

    file: str
    bounds: Int[np.ndarray, "B _"]
    anchors: Int[np.ndarray, " n"]
    rows: Float[np.ndarray, "n A"]
    texts: tuple[str, ...]


class Part(NamedTuple):
    """A part of the atlas to write.

    Attributes:
        number: of the part.
        charts: M lists of files in the working folder, with the bounds (B, 2) of the
            part's rows in them.
    """

    number: int
    charts: tuple[tuple[tuple[str, np.ndarray], ...], ...]


class Written(NamedTuple):
    """A part that was written.

    Attributes:
        digest: of its contents.
        several: how many of its samples are in several charts.
        total: the sum over these of the disagreement.
        most: the largest.
    """

    digest: str
    several: int
    total: float
    most: float


def put_array(job: Job, name: str, values: np.ndarray) -> None:
    """Lay an array where the tasks find it."""
    write_whole({job.work / f"{name}.npy": lambda stream: np.save(stream, values)})


def put_recipe(job: Job, name: str, recipe: Recipe) -> None:
    """Lay a recipe where the tasks find it."""
    write_whole({job.work / name: atlas_tensors.recipe_writer(recipe)})


def put_beside(job: Job, number: int, columns: Any) -> None:
    """Lay the kept columns of a part where its task finds them."""
    feather = package("pyarrow.feather", "--keep")
    table = package("pyarrow", "--keep").table(dict(columns))
    path = job.work / f"beside-{number}"
    write_whole({path: lambda stream: feather.write_feather(table, stream)})


def spill_piece(job: Job, piece: Piece, advance: Advance) -> Spilled:
    """Read a piece, and write its coordinates by part.

    Raises:
        ValueError: if the file is not what it was, or has a row that has none.
    """
    recipe = _recipe(job.work / "before")
    samples = read_npy(job.work / f"samples-{piece.number}.npy")
    anchors = read_npy(job.work / "anchors.npy")
    texts: list[str] = []
    source = piece.source or _opened(job, piece)
    held: list[tuple[np.ndarray, np.ndarray]] = []

    def batches() -> Iterator[Batch]:
        for start, rows in chart_rows(
            recipe, piece.chart, source, job.batch_size, texts.append
        ):
            here = samples[start : start + len(rows)]
            if anchors.size:
                which = find(anchors, here)
                held.append((which[which >= 0], rows[which >= 0]))
            yield here, rows
            advance(len(rows))

    # A name of its own: a worker that is taken for lost may still write.
    name = f"rows-{piece.number}-{np.random.default_rng().integers(2**62):x}"
    with (job.work / name).open("xb") as stream:
        bounds = write_by_part(stream, batches(), job.part_size, job.num_parts)
    empty = np.zeros((0, num_averaged(recipe)), np.float32)
    return Spilled(
        name,
        bounds,
        np.concatenate([np.zeros(0, int), *(which for which, _ in held)]),
        np.concatenate([empty, *(rows for _, rows in held)]),
        tuple(texts),
    )


def reduce_part(job: Job, part: Part, advance: Advance) -> Written:
    """Merge the charts' rows of one part, and write it."""
    recipe = _recipe(job.work / "recipe")
    ids = read_npy(job.work / f"ids-{part.number}.npy")
    width, first = num_averaged(recipe), part.number * job.part_size
    state = empty_running(ids.size, width)
    presence = np.zeros((ids.size, job.num_charts), bool)
    for chart, files in enumerate(part.charts):
        for name, bounds in files:
            for samples, rows in read_part(job.work / name, bounds, width):
                add_rows(state, samples - first, rows)
                presence[samples - first, chart] = True
                advance(len(rows))
    merged = through_nystroem(recipe, state.merged, job.batch_size)
    if not job.work.is_dir():  # given up meanwhile: writing would make it anew
        raise FileNotFoundError(2, "the merge was given up", str(job.folder))
    spread = disagreement(state)
    atlas = AtlasFile(ids, merged, state.count, spread, recipe, presence)
    digest = write_part(job.folder, part.number, atlas, _beside(job, part.number))
    several = spread[state.count > 1].astype(np.float64)
    return Written(
        digest, several.size, float(several.sum()), float(several.max(initial=0))
    )


@lru_cache(maxsize=2)
def _recipe(path: Path) -> Recipe:
    return atlas_tensors.read_recipe(path)[0]


def _beside(job: Job, number: int) -> Beside:
    path = job.work / f"beside-{number}"
    if not path.is_file():
        return Beside(job.id_name)
    table = package("pyarrow.feather", "--keep").read_table(path, memory_map=False)
    columns = {name: table.column(name) for name in table.column_names}
    return Beside(job.id_name, columns)


@lru_cache(maxsize=1)
def _file(folder: Path, path: str, *options: Any) -> Source:
    """An open file, for all of its pieces in a merge."""
    ids, embeddings, reading = options
    return open_embeddings(path, ids=ids, embeddings=embeddings, reading=reading)


def _opened(job: Job, piece: Piece) -> Source:
    """The rows of a piece, in the dtype of the chart."""
    source = _file(job.folder, piece.path, piece.ids, piece.embeddings, piece.reading)
    if source.ids.size != piece.size:
        raise BadFile(
            f"{piece.path}: it has {source.ids.size} rows, and had {piece.size}: it "
            "was changed meanwhile. Merge again."
        )
    rows, dtype = source.rows, np.dtype(piece.dtype)
    if rows.between is None:  # in one task: it need not be kept, which may be large
        _file.cache_clear()
    first, last = piece.first, piece.first + piece.stop - piece.start
    whole = last - first == piece.size

    def batches(size: int) -> Iterator[np.ndarray]:
        if whole or rows.between is None:
            read = rows.batches(size)
        else:
            read = rows.between(first, last, size)
        return (x.astype(dtype, copy=False) for x in read)

    changed = rows._replace(dtype=dtype, batches=batches)
    if whole:
        return source._replace(rows=changed)
    # In messages a row has its number in the file.
    parts = ((piece.path, -first),)
    changed = changed._replace(shape=(last - first, rows.shape[1]), parts=parts)
    return source._replace(ids=source.ids[first:last], rows=changed)
