"""Merge files into an atlas in parts."""

import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jatlas._src import arrays, border
from jatlas.files.cluster.scheduling import Run, cluster_run
from jatlas.files.folders import tasks
from jatlas.files.folders.layout import (
    RECIPE,
    check_folder_output,
    part_path,
    part_size,
    whole_folder,
)
from jatlas.files.folders.pieces import pieces_of
from jatlas.files.folders.tables import write_recipe
from jatlas.files.folders.tasks import Job, Part, Piece, Spilled, Written
from jatlas.files.formats.columns.keep import beside_of, check_keep
from jatlas.files.formats.sources import Source
from jatlas.files.kinds.fitting import with_nystroem
from jatlas.files.kinds.options import checked
from jatlas.files.kinds.planning import Plan, plan_merge
from jatlas.files.readers import File, Names, Reading, open_all, with_names
from jatlas.files.recipe import Recipe, num_averaged
from jatlas.files.reports import Progress, Say, quiet
from jatlas.files.sums import add_rows, empty_running
from jatlas.files.survey import Survey


class MergedFolder(NamedTuple):
    """An atlas that was written in parts.

    Attributes:
        files: its recipe and its parts.
        samples: N.
        several: how many of them are in several charts.
        disagreement: of the charts about these, on average, as in `AtlasFile`.
        most: the largest.
    """

    files: tuple[Path, ...]
    samples: int
    several: int
    disagreement: float
    most: float


@border.promoting
def merge_to_folder(
    folder: str | Path,
    paths: Sequence[File],
    *,
    ids: Names = None,
    embeddings: Names = None,
    reading: Reading | None = None,
    keep: Sequence[str] = (),
    workers: int | None = None,
    scheduler: str | None = None,
    seed: int = 0,
    batch_size: int = 1024,
    say: Say | None = None,
    progress: Progress | None = None,
    **coordinates: Any,
) -> MergedFolder:
    """Merge files into an atlas in parts, which is never in memory.

    The atlas is that of `merge_files`, bit for bit: each part gets the charts' rows in
    the same order. In memory are the ids, where they are, the kept columns, and some
    megabytes of rows, besides what `merge_files` fits on. The charts' rows in the
    atlas's coordinates lie in the folder until all parts are written: M times the
    atlas, at most.

    With workers or a scheduler, Dask's workers read the charts, one file or part of a
    folder at a time, or 256 MiB of a large one, and write the parts. The recipe is
    fitted here. All see the files and the folder under the same paths. A worker that is
    lost costs its tasks, which others do again. Values are those of one machine to
    1e-6.

    Args:
        folder: of the atlas, which `load` reads; made, or put in the place of an atlas
            in parts once all is written.
        paths: of M files, one a chart, as in `merge_files`.
        ids: the name of the ids in the files, as in `merge_files`.
        embeddings: that of the embeddings.
        reading: a `Reading`, as in `merge_files`.
        keep: the names of columns that stand in the parts too, as in `read_beside`.
        workers: how many processes on this machine; None for this one alone.
        scheduler: the address of a Dask scheduler, "tcp://host:8786" say.
        seed: as in `merge_files`.
        batch_size: rows that are read and sent to the device at once.
        say: as in `merge_files`.
        progress: as in `merge_files`.
        coordinates: options of `merge_files` by their names, `coordinates`, `anchors`
            and all on these.

    Returns:
        A `MergedFolder`.

    Raises:
        ValueError: as `merge_files` and `read_beside`; if the folder is there and no
            atlas, or a worker does not see it.
        OSError: if a file cannot be read or written, or the scheduler cannot be
            reached, or is lost. Nothing is written then.
        ImportError: if pyarrow is not installed, or, for workers, distributed.

    Example:
        >>> import tempfile
        >>> import jatlas
        >>> rows = np.random.default_rng(0).normal(size=(9, 4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(folder + "/a.npz", id=np.arange(9), x=rows)
        ...     np.savez(folder + "/b.npz", id=np.arange(3, 9), x=rows[3:, :3])
        ...     files = [folder + "/a.npz", folder + "/b.npz"]
        ...     done = merge_to_folder(folder + "/atlas", files, anchors="shared:5")
        ...     [file.name for file in done.files]
        ...     jatlas.load(folder + "/atlas").merged.shape
        ['_recipe.safetensors', 'part-00000.parquet']
        (9, 5)
    """
    kind = checked(**coordinates)
    arrays.check_count("batch_size", batch_size, 1)
    given = [str(x.path) if isinstance(x, Source) else str(x) for x in paths]
    check_folder_output(folder, given)
    sources = open_all(paths, ids, embeddings, reading)
    id_name = check_keep(sources, keep, say or quiet)
    folder = Path(folder)
    with whole_folder(folder) as hidden, _runner(workers, scheduler, hidden) as run:
        plan = plan_merge(
            sources,
            kind,
            coordinates.get("anchors"),
            id_type=(reading or Reading()).id_type,
            seed=seed,
            batch_size=batch_size,
            say=say,
            progress=progress,
            passes=2,
        )
        size = part_size(num_averaged(plan.recipe), batch_size)
        total = plan.samples.ids.size
        counts = -(-total // size), len(sources)
        job = Job(hidden.resolve(), size, *counts, batch_size, id_name)
        job.work.mkdir()
        names = with_names(paths, ids, embeddings)
        pieces = pieces_of(plan, names, reading, batch_size, run is _here)
        written = _merged(job, plan, pieces, run, keep, say or quiet)
        shutil.rmtree(job.work)
    files = [folder / RECIPE, *(part_path(folder, k) for k in range(job.num_parts))]
    several = sum(part.several for part in written)
    mean = sum(part.total for part in written) / max(several, 1)
    most = max(part.most for part in written)
    return MergedFolder(tuple(files), total, several, mean, most)


def _here(
    function: Callable[..., Any],
    given: Sequence[Any],
    sizes: Sequence[int],
    advance: Callable[[int], None],
) -> list[Any]:
    """Do tasks one after another, in this process."""
    return [function(task, advance) for task in given]


def _runner(
    workers: int | None, scheduler: str | None, folder: Path
) -> AbstractContextManager[Run]:
    if workers is None and scheduler is None:
        return nullcontext(_here)
    return cluster_run(workers, scheduler, folder)


def _merged(
    job: Job,
    plan: Plan,
    pieces: Sequence[Piece],
    run: Run,
    keep: Sequence[str],
    say: Say,
) -> list[Written]:
    """Both steps of the merge, and the recipe."""
    samples = plan.samples
    tasks.put_recipe(job, "before", plan.recipe)
    anchors = samples.anchors if plan.nystroem else samples.anchors[:0]
    tasks.put_array(job, "anchors", anchors)
    for piece in pieces:
        of_piece = samples.places[piece.chart][piece.start : piece.stop]
        tasks.put_array(job, f"samples-{piece.number}", of_piece)
    sizes = [piece.stop - piece.start for piece in pieces]
    spilled = run(partial(tasks.spill_piece, job), pieces, sizes, plan.advance)
    recipe = plan.recipe
    for chart in range(job.num_charts):
        texts = [
            text
            for piece, result in zip(pieces, spilled, strict=True)
            if piece.chart == chart
            for text in result.texts
        ]
        for text in texts[:1]:
            say(text)
    if plan.nystroem:
        recipe = with_nystroem(recipe, _at_anchors(recipe, spilled), say)
    tasks.put_recipe(job, "recipe", recipe)
    _put_parts(job, samples, keep)
    parts = [_part(k, job, pieces, spilled) for k in range(job.num_parts)]
    counts = samples.presence.sum(axis=0)
    sizes = np.add.reduceat(counts, np.arange(0, counts.size, job.part_size)).tolist()
    written = run(partial(tasks.reduce_part, job), parts, sizes, plan.advance)
    write_recipe(job.folder, recipe, [part.digest for part in written])
    return written


def _at_anchors(recipe: Recipe, spilled: Sequence[Spilled]) -> np.ndarray:
    """The merged rows of the anchors."""
    state = empty_running(recipe.anchor_ids.size, num_averaged(recipe))
    for piece in spilled:
        add_rows(state, piece.anchors, piece.rows)
    return state.merged


def _put_parts(job: Job, samples: Survey, keep: Sequence[str]) -> None:
    """Lay the ids and kept columns of each part for its task."""
    columns = beside_of(samples.sources, samples.ids, keep).columns if keep else {}
    for k in range(job.num_parts):
        here = slice(k * job.part_size, (k + 1) * job.part_size)
        tasks.put_array(job, f"ids-{k}", samples.ids[here])
        if columns:
            some = {name: values[here] for name, values in columns.items()}
            tasks.put_beside(job, k, some)


def _part(
    number: int, job: Job, pieces: Sequence[Piece], spilled: Sequence[Spilled]
) -> Part:
    """Where the rows of a part lie, chart by chart."""
    charts: list[list[tuple[str, np.ndarray]]] = [[] for _ in range(job.num_charts)]
    for piece, result in zip(pieces, spilled, strict=True):
        bounds = result.bounds[:, number : number + 2]
        charts[piece.chart].append((result.file, bounds))
    return Part(number, tuple(map(tuple, charts)))
