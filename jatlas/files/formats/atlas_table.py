"""An atlas as a Parquet table, with its recipe beside it."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from jatlas.files.formats import atlas_tensors
from jatlas.files.formats.faults import BadFile, faults_of, package
from jatlas.files.formats.whole import Fill
from jatlas.files.readers import read_embeddings
from jatlas.files.recipe import AtlasFile, Recipe, check_atlas

COLUMNS = ("id", "atlas", "charts", "disagreement")

# Of an atlas in two files both hold its digest, the table under this name.
_DIGEST = "jatlas"


def writers(path: Path, atlas: AtlasFile) -> dict[Path, Fill]:
    """Writers of an atlas: the recipe first, then the table."""
    digest = atlas_tensors.atlas_digest(atlas)
    return {
        recipe_path(path): atlas_tensors.recipe_writer(atlas.recipe, digest),
        path: table_writer(atlas, COLUMNS[1], {_DIGEST: digest}),
    }


def recipe_path(path: Path) -> Path:
    """Where the recipe of an atlas in Parquet lies: x.recipe.safetensors for x."""
    return path.with_name(f"{path.stem}.recipe.safetensors")


def check_package() -> None:
    """Raise ImportError, with what to install, unless Parquet can be written."""
    package("pyarrow.parquet", "Parquet")


def read_recipe(path: Path) -> Recipe:
    """The recipe that lies beside an atlas in Parquet.

    Raises:
        ValueError: if it is missing, is damaged, or is another atlas's.
        OSError: if a file cannot be read.
    """
    beside = recipe_path(path)
    parquet = package("pyarrow.parquet", "Parquet")
    with faults_of(path):
        metadata = parquet.read_schema(path).metadata or {}
        if not beside.is_file():
            raise ValueError(
                f"it is no atlas, or not without its recipe, {beside.name}, which must "
                "lie beside it."
            )
        wanted = metadata.get(_DIGEST.encode(), b"").decode()
    recipe, digest = atlas_tensors.read_recipe(beside)
    # In an atlas that was written before they had one, neither has a digest.
    if wanted != (digest or ""):
        raise BadFile(
            f"{path}: {beside.name} is the recipe of another atlas; put back the one "
            "that was written with it."
        )
    return recipe


def read_atlas(path: Path) -> AtlasFile:
    """An atlas in Parquet, with the recipe beside it."""
    recipe = read_recipe(path)
    ids, merged = read_embeddings(path, ids=COLUMNS[0], embeddings=COLUMNS[1])
    parquet = package("pyarrow.parquet", "Parquet")
    with faults_of(path):
        table = parquet.read_table(path, columns=list(COLUMNS[2:]))
        count, spread = (table.column(name).to_numpy() for name in COLUMNS[2:])
        atlas = AtlasFile(ids, merged, count, spread, recipe)
        check_atlas(atlas)
    return atlas


def table_writer(
    atlas: AtlasFile, vector: str, metadata: Mapping[str, str] | None = None
) -> Fill:
    """A writer of an atlas as Parquet, rows in the column `vector`."""
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
    values: Any = arrow.array(np.ascontiguousarray(_native(atlas.merged)).reshape(-1))
    rows = arrow.FixedSizeListArray.from_arrays(values, atlas.merged.shape[1])
    headings = [name if name != COLUMNS[1] else vector for name in COLUMNS]
    columns = [_native(atlas.ids), rows, *map(_native, atlas[2:4])]
    table = arrow.table(dict(zip(headings, columns, strict=True)), metadata=metadata)
    parquet.write_table(table, stream)


def _native(x: np.ndarray) -> np.ndarray:
    """The array in the machine's byte order, as Arrow needs."""
    return x.astype(x.dtype.newbyteorder("="), copy=False)
