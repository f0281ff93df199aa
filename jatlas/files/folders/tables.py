"""The parts of an atlas and its recipe, written and read."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jatlas._src.ids import joined
from jatlas.files.folders.layout import (
    RECIPE,
    part_path,
    part_paths,
    part_size,
    whole_folder,
)
from jatlas.files.formats import atlas_table, atlas_tensors
from jatlas.files.formats.atlas_table import (
    COLUMNS,
    DIGEST,
    ID,
    RECIPE_DIGEST,
    id_and_kept,
    metadata_of,
    table_digest,
)
from jatlas.files.formats.columns.beside import Beside
from jatlas.files.formats.faults import BadFile, faults_of, package
from jatlas.files.formats.rows import rows_of
from jatlas.files.formats.sources import Source
from jatlas.files.formats.whole import write_whole
from jatlas.files.recipe import AtlasFile, Recipe, check_atlas


def write_part(folder: Path, number: int, part: AtlasFile, beside: Beside) -> str:
    """Write some samples of an atlas; their digest.

    The part names the recipe in its folder, and is an atlas by itself.
    """
    digest = table_digest(part)
    about = {
        DIGEST: digest,
        ID: beside.id_name,
        atlas_table.RECIPE: RECIPE,
        RECIPE_DIGEST: atlas_tensors.recipe_digest(part.recipe),
    }
    fill = atlas_table.table_writer(part, COLUMNS[1], about, beside)
    write_whole({part_path(folder, number): fill})
    return digest


def write_recipe(folder: Path, recipe: Recipe, digests: Sequence[str]) -> None:
    """Write the recipe, which knows the parts by their digests."""
    fill = atlas_tensors.recipe_writer(recipe, _digest(digests))
    write_whole({folder / RECIPE: fill})


def save_folder(path: Path, atlas: AtlasFile, beside: Beside) -> list[Path]:
    """Write an atlas in memory as parts; the files."""
    size, total = part_size(atlas.merged.shape[1]), atlas.ids.size
    digests: list[str] = []
    with whole_folder(path) as folder:
        for start in range(0, max(total, 1), size):
            here = slice(start, start + size)
            part = _some(atlas, here)
            columns = {name: x[here] for name, x in beside.columns.items()}
            some = beside._replace(columns=columns)
            digests.append(write_part(folder, len(digests), part, some))
        write_recipe(folder, atlas.recipe, digests)
    return [path / RECIPE, *(part_path(path, k) for k in range(len(digests)))]


def _some(atlas: AtlasFile, here: slice) -> AtlasFile:
    return atlas._replace(
        ids=atlas.ids[here],
        merged=atlas.merged[here],
        count=atlas.count[here],
        disagreement=atlas.disagreement[here],
        presence=None if atlas.presence is None else atlas.presence[here],
    )


def _digest(digests: Sequence[str]) -> str:
    """The digest of all parts, in order."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def read_recipe(folder: Path) -> Recipe:
    """The recipe of an atlas in parts.

    Raises:
        ValueError: if it is missing or damaged, or a part is not there, or another's.
        OSError: if a file cannot be read.
    """
    return _recipe_and_digest(folder)[0]


def _recipe_and_digest(folder: Path) -> tuple[Recipe, str | None]:
    """The recipe, and the digest of the parts that it knows."""
    location = folder / RECIPE
    if not location.is_file():
        raise BadFile(f"{folder}: a folder, and no atlas: there is no {RECIPE} in it.")
    recipe, digest = atlas_tensors.read_recipe(location)
    marks = [metadata_of(part).get(DIGEST) for part in part_paths(folder)]
    # The mark of a part is lost where another tool writes it anew.
    whole = bool(marks) and (None in marks or _digest(list(map(str, marks))) == digest)
    if not whole:
        raise BadFile(
            f"{folder}: its {len(marks)} parts are not those that {RECIPE} knows; put "
            "back what was written with it."
        )
    return recipe, digest


def read_atlas(folder: Path) -> AtlasFile:
    """An atlas in parts, one of which is in memory beside it."""
    recipe, digest = _recipe_and_digest(folder)
    files = part_paths(folder)
    parquet = package("pyarrow.parquet", "Parquet")
    with faults_of(folder):
        total = sum(parquet.read_metadata(file).num_rows for file in files)
    merged, start, digests, others = np.zeros((0, 0)), 0, [], []
    for file in files:
        part = atlas_table.read_table(file, recipe)
        digests.append(table_digest(part))
        if start == 0:
            merged = np.empty((total, part.merged.shape[1]), part.merged.dtype)
        with faults_of(file):
            merged[start : start + len(part.merged)] = part.merged
        start += len(part.merged)
        others.append(part._replace(merged=part.merged[:0]))

    def whose(part: int, row: int) -> str:
        return f"the id in row {row} of {files[part].name}"

    with faults_of(folder):
        presence = [part.presence for part in others if part.presence is not None]
        atlas = AtlasFile(
            joined([part.ids for part in others], whose),
            merged,
            np.concatenate([part.count for part in others]),
            np.concatenate([part.disagreement for part in others]),
            recipe,
            np.concatenate(presence) if len(presence) == len(others) else None,
            others[0].id_name,
        )
        check_atlas(atlas)
    if _digest(digests) != digest:
        atlas_table.warn_rewritten(folder)
    return atlas


def table_source(path: Path, atlas: AtlasFile) -> tuple[Source, list[str]]:
    """An atlas's table as a source of columns to keep, and these."""
    files = part_paths(path) if path.is_dir() else [path]
    id_name, kept = id_and_kept(files[0])
    rows = rows_of(atlas.merged)._replace(id_name=id_name)
    if path.is_dir():
        parquet = package("pyarrow.parquet", "Parquet")
        sizes = [parquet.read_metadata(file).num_rows for file in files]
        starts = np.cumsum([0, *sizes[:-1]]).tolist()
        rows = rows._replace(parts=tuple(zip(map(str, files), starts, strict=True)))
    return Source(path, atlas.ids, rows), kept
