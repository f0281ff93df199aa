"""An atlas as a table in Parquet, which other tools read; its recipe lies beside it."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from jatlas.files.formats.faults import BadFile, faults_of, package
from jatlas.files.formats.whole import Fill, write_whole
from jatlas.files.readers import read_embeddings
from jatlas.files.recipe import AtlasFile, Recipe, check_atlas
from jatlas.files.storage import (
    atlas_digest,
    atlas_writer,
    load,
    load_recipe,
    load_recipe_of,
    recipe_writer,
)

COLUMNS = ("id", "atlas", "charts", "disagreement")

# Of an atlas in two files both say its digest, the table under this name.
_DIGEST = "jatlas"


def check_output(path: str | Path, inputs: Sequence[str | Path] = ()) -> None:
    """Raise ValueError or OSError if no atlas can be written there. Before any work.

    Nor may it, or the recipe beside it, be one of the inputs: they would be lost.
    """
    path = Path(path)
    written = {path.resolve(), recipe_path(path).resolve()}
    for own in map(Path, inputs):
        if own.resolve() in written:
            raise ValueError(f"{path} would be written over {own}, an input.")
    if path.suffix not in (".parquet", ".safetensors"):
        raise ValueError(f"{path} must end in .parquet or .safetensors.")
    if path.suffix == ".parquet":
        package("pyarrow.parquet", "Parquet")
    if path.is_dir() or not path.parent.is_dir():
        raise FileNotFoundError(2, "there is no folder to write it to", str(path))


def write_atlas(path: str | Path, atlas: AtlasFile) -> list[Path]:
    """Write an atlas with its recipe, in full or not at all.

    Args:
        path: ends in .safetensors, for all in one file as `save` does; or in .parquet,
            for a table (id, atlas, charts, disagreement) and beside it the recipe.
        atlas: an `AtlasFile`.

    Returns:
        The files that were written.

    Raises:
        ValueError: if the path ends otherwise, or the atlas is none.
        OSError: if they cannot be written.
    """
    check_output(path)
    path = Path(path)
    files: Mapping[Path, Fill] = {path: atlas_writer(atlas)}
    if path.suffix == ".parquet":
        digest = atlas_digest(atlas)
        files = {
            recipe_path(path): recipe_writer(atlas.recipe, digest),
            path: table_writer(atlas, COLUMNS[1], {_DIGEST: digest}),
        }
    write_whole(files)
    return list(files)


def recipe_path(path: Path) -> Path:
    """Where the recipe of an atlas in Parquet lies: x.recipe.safetensors for x."""
    return path.with_name(f"{path.stem}.recipe.safetensors")


def read_recipe(path: str | Path) -> Recipe:
    """The recipe of an atlas in any of its files.

    Raises:
        ValueError: if it is none, is damaged, or lies beside another atlas's table.
        OSError: if a file cannot be read.
    """
    path = Path(path)
    if path.suffix != ".parquet":
        return load_recipe(path)
    beside = recipe_path(path)
    parquet = package("pyarrow.parquet", "Parquet")
    with faults_of(path):
        said = (parquet.read_schema(path).metadata or {}).get(_DIGEST.encode(), b"")
        if not beside.is_file():
            raise ValueError(
                f"it is no atlas, or not without its recipe, {beside.name}, which must "
                "lie beside it."
            )
    recipe, digest = load_recipe_of(beside)
    # Of an atlas that was written before they had one, neither says a digest.
    if said.decode() != (digest or ""):
        raise BadFile(f"{path}: {beside.name} is the recipe of another atlas.")
    return recipe


def read_atlas(path: str | Path) -> AtlasFile:
    """An atlas that `write_atlas` wrote."""
    path = Path(path)
    if path.suffix != ".parquet":
        return load(path)
    recipe = read_recipe(path)
    ids, merged = read_embeddings(path, ids=COLUMNS[0], embeddings=COLUMNS[1])
    parquet = package("pyarrow.parquet", "Parquet")
    with faults_of(path):
        rest = parquet.read_table(path, columns=list(COLUMNS[2:]))
        count, spread = (rest.column(name).to_numpy() for name in COLUMNS[2:])
        atlas = AtlasFile(ids, merged, count, spread, recipe)
        check_atlas(atlas)
    return atlas


def table_writer(
    atlas: AtlasFile, vector: str, metadata: Mapping[str, str] | None = None
) -> Fill:
    """What writes an atlas as Parquet to a stream, its rows in the column `vector`."""
    check_atlas(atlas)
    return partial(_write, atlas=atlas, vector=vector, metadata=metadata)


def _write(
    stream: IO[bytes],
    atlas: AtlasFile,
    vector: str,
    metadata: Mapping[str, str] | None,
) -> None:
    arrow = package("pyarrow", "Parquet")
    parquet = package("pyarrow.parquet", "Parquet")
    values: Any = arrow.array(np.ascontiguousarray(atlas.merged).reshape(-1))
    rows = arrow.FixedSizeListArray.from_arrays(values, atlas.merged.shape[1])
    of_ids = [name if name != COLUMNS[1] else vector for name in COLUMNS]
    columns = [atlas.ids, rows, atlas.count, atlas.disagreement]
    table = arrow.table(dict(zip(of_ids, columns, strict=True)), metadata=metadata)
    parquet.write_table(table, stream)
