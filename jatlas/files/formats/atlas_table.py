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

# Of each sample the names of its charts, if they are known.
MEMBERS = "members"

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
        names = parquet.read_schema(path).names
        wanted = [*COLUMNS[2:], *(name for name in names if name == MEMBERS)]
        table = parquet.read_table(path, columns=wanted)
        count, spread = (table.column(name).to_numpy() for name in COLUMNS[2:])
        presence = None
        if MEMBERS in wanted:
            presence = _presence(table.column(MEMBERS), recipe)
        atlas = AtlasFile(ids, merged, count, spread, recipe, presence)
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
    if atlas.presence is not None and vector == COLUMNS[1]:
        headings.append(MEMBERS)
        columns.append(_members(arrow, atlas))
    table = arrow.table(dict(zip(headings, columns, strict=True)), metadata=metadata)
    parquet.write_table(table, stream)


def _members(arrow: Any, atlas: AtlasFile) -> Any:
    """A list of charts' names a sample."""
    names = arrow.array(_names(atlas.recipe), arrow.string())
    _, charts = np.nonzero(atlas.presence)
    ends = np.concatenate([[0], np.cumsum(atlas.count)]).astype(np.int32)
    return arrow.ListArray.from_arrays(ends, names.take(arrow.array(charts)))


def _presence(members: Any, recipe: Recipe) -> np.ndarray:
    """The charts that a column of names means, (N, M)."""
    names = {name: m for m, name in enumerate(_names(recipe))}
    column = members.combine_chunks()
    flat = column.flatten()
    presence = np.zeros((len(column), len(names)), bool)
    sizes = np.diff(np.asarray(column.offsets)) if len(column) else []
    coded = flat.dictionary_encode()
    known = np.array([names[name] for name in coded.dictionary.to_pylist()], int)
    rows = np.repeat(np.arange(len(column)), sizes)
    presence[rows, known[np.asarray(coded.indices)]] = True
    return presence


def _names(recipe: Recipe) -> list[str]:
    return list(recipe.charts) or [str(m) for m in range(len(recipe.anchors))]


def _native(x: np.ndarray) -> np.ndarray:
    """The array in the machine's byte order, as Arrow needs."""
    return x.astype(x.dtype.newbyteorder("="), copy=False)
