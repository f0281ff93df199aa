"""An atlas as a Parquet table, with its recipe beside it."""

import os
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from jatlas.files.formats import atlas_tensors, names
from jatlas.files.formats.columns.beside import Beside
from jatlas.files.formats.columns.plain import array_of, numbers_of
from jatlas.files.formats.faults import BadFile, faults_of, package
from jatlas.files.formats.whole import Fill
from jatlas.files.readers import read_embeddings
from jatlas.files.recipe import AtlasFile, Recipe, check_atlas

COLUMNS = ("id", "atlas", "charts", "disagreement")

GROUP = 2**25  # bytes of merged rows that a part of an atlas holds
# The same of a group of rows in a table. While Arrow writes a group it takes two and a
# half times as much beside it.
_GROUP = 2**24

# Of each sample the names of its charts, if they are known.
MEMBERS = "members"

# Of an atlas in two files both hold its digest, the table under this name; and the name
# of the column of ids, which is that in the files.
DIGEST, ID = "jatlas", "jatlas.id"

# A table without a recipe beside it names the file of its recipe, as a path from its
# folder, and that recipe's digest.
RECIPE, RECIPE_DIGEST = "jatlas.recipe", "jatlas.recipe.digest"


class RewrittenTable(UserWarning):
    """The table of an atlas that another tool has written since."""


def writers(
    path: Path, atlas: AtlasFile, recipe: Path | None, beside: Beside
) -> dict[Path, Fill]:
    """Writers of an atlas: the recipe first, then the table.

    The table alone, which then names the file of its recipe, if that is given.
    """
    digest = table_digest(atlas)
    metadata = {DIGEST: digest, ID: beside.id_name}
    if recipe is None:
        return {
            recipe_path(path): atlas_tensors.recipe_writer(atlas.recipe, digest),
            path: table_writer(atlas, COLUMNS[1], metadata, beside),
        }
    wanted = atlas_tensors.recipe_digest(atlas.recipe)
    if atlas_tensors.recipe_digest(atlas_tensors.read_recipe(recipe)[0]) != wanted:
        raise ValueError(
            f"{recipe} is not the recipe of this atlas; leave recipe=... out, and the "
            "recipe is written beside the table."
        )
    metadata[RECIPE] = os.path.relpath(recipe.resolve(), path.parent.resolve())
    metadata[RECIPE_DIGEST] = wanted
    return {path: table_writer(atlas, COLUMNS[1], metadata, beside)}


def table_digest(atlas: AtlasFile) -> str:
    """The digest of an atlas as a table gives it back."""
    return atlas_tensors.atlas_digest(atlas._replace(ids=names.plain_ids(atlas.ids)))


def recipe_location(path: Path) -> Path:
    """The file that holds the recipe of an atlas in Parquet."""
    named = metadata_of(path).get(RECIPE)
    return recipe_path(path) if named is None else path.parent / named


def metadata_of(path: Path) -> dict[str, str]:
    """What a table says of itself, by the keys above."""
    parquet = package("pyarrow.parquet", "Parquet")
    with faults_of(path):
        metadata = parquet.read_schema(path).metadata or {}
        keys = (DIGEST, ID, RECIPE, RECIPE_DIGEST)
        coded = {key: metadata.get(key.encode()) for key in keys}
        return {key: text.decode() for key, text in coded.items() if text is not None}


def recipe_path(path: Path) -> Path:
    """Where the recipe of an atlas in Parquet lies: x.recipe.safetensors for x."""
    return path.with_name(f"{path.stem}.recipe.safetensors")


def check_package() -> None:
    """Raise ImportError, with what to install, unless Parquet can be written."""
    package("pyarrow.parquet", "Parquet")


def read_recipe(path: Path) -> Recipe:
    """The recipe of an atlas in Parquet.

    Raises:
        ValueError: if it is missing, is damaged, or is another atlas's.
        OSError: if a file cannot be read.
    """
    return _recipe_and_digest(path)[0]


def _recipe_and_digest(path: Path) -> tuple[Recipe, str | None]:
    """The recipe, and the digest of the table as written.

    It is empty if another tool wrote the table since, None if it never had one.
    """
    about, location = metadata_of(path), recipe_location(path)
    name = os.path.relpath(location, path.parent)
    if not location.is_file():
        where = "where it was" if RECIPE in about else "beside it"
        raise BadFile(
            f"{path}: its recipe, {name}, which must lie {where}, is not there: put it "
            "back. Or is this no file that merge wrote? Then it is no atlas."
        )
    recipe, digest = atlas_tensors.read_recipe(location)
    if RECIPE in about:
        same = about.get(RECIPE_DIGEST) == atlas_tensors.recipe_digest(recipe)
        digest = about.get(DIGEST)
    else:
        # The mark of a table is lost where another tool writes it anew. In an atlas
        # that was written before they had one, neither has a digest.
        same = about.get(DIGEST) in (None, digest)
    if not same:
        raise BadFile(
            f"{path}: {name} is the recipe of another atlas; put back the one that was "
            "written with it."
        )
    return recipe, "" if digest is not None and DIGEST not in about else digest


def read_atlas(path: Path) -> AtlasFile:
    """An atlas in Parquet, with its recipe."""
    recipe, digest = _recipe_and_digest(path)
    atlas = read_table(path, recipe)
    with faults_of(path):
        check_atlas(atlas)
    if digest is not None and digest != table_digest(atlas):
        warn_rewritten(path)
    return atlas


def warn_rewritten(path: Path) -> None:
    """Warn that another tool wrote the table anew."""
    warnings.warn(
        f"{path}: it was written anew by another tool, and is no longer the table "
        "that its recipe knows; its rows are taken as they are.",
        RewrittenTable,
        stacklevel=5,
    )


def read_table(path: Path, recipe: Recipe) -> AtlasFile:
    """The rows of a table with this recipe, not yet checked."""
    id_name, _ = id_and_kept(path)
    ids, merged = read_embeddings(path, ids=id_name, embeddings=COLUMNS[1])
    parquet = package("pyarrow.parquet", "Parquet")
    with faults_of(path):
        columns = parquet.read_schema(path).names
        wanted = [*COLUMNS[2:], *(name for name in columns if name == MEMBERS)]
        table = parquet.read_table(path, columns=wanted)
        count, spread = (numbers_of(table.column(name)).copy() for name in COLUMNS[2:])
        presence = None
        if MEMBERS in wanted:
            presence = _presence(table.column(MEMBERS), recipe)
        return AtlasFile(ids, merged, count, spread, recipe, presence, id_name)


def id_and_kept(path: Path) -> tuple[str, list[str]]:
    """The names of a table's ids and of the kept columns.

    Where another tool wrote the table anew and left out its metadata, the ids are the
    first column.
    """
    parquet = package("pyarrow.parquet", "Parquet")
    with faults_of(path):
        others = [
            name
            for name in parquet.read_schema(path).names
            if name not in (*COLUMNS[1:], MEMBERS)
        ]
        if not others:
            raise ValueError("it is no atlas: it has no column of ids.")
    id_name = metadata_of(path).get(ID, COLUMNS[0])
    id_name = id_name if id_name in others else others[0]
    return id_name, [name for name in others if name != id_name]


def table_writer(
    atlas: AtlasFile,
    vector: str,
    metadata: Mapping[str, str] | None = None,
    beside: Beside | None = None,
) -> Fill:
    """A writer of an atlas as Parquet, rows in the column `vector`."""
    check_atlas(atlas)
    beside = beside or Beside()
    return partial(_write, atlas=atlas, vector=vector, metadata=metadata, beside=beside)


def _write(
    stream: IO[bytes],
    atlas: AtlasFile,
    vector: str,
    metadata: Mapping[str, str] | None,
    beside: Beside,
) -> None:
    arrow = package("pyarrow", "Parquet")
    parquet = package("pyarrow.parquet", "Parquet")
    values = array_of(np.ascontiguousarray(_native(atlas.merged)).reshape(-1))
    rows = arrow.FixedSizeListArray.from_arrays(values, atlas.merged.shape[1])
    headings = [beside.id_name, vector, *COLUMNS[2:]]
    columns = [rows, *(array_of(_native(x)) for x in atlas[2:4])]
    columns.insert(0, array_of(_native(atlas.ids)))
    if atlas.presence is not None and vector == COLUMNS[1]:
        headings.append(MEMBERS)
        columns.append(_members(arrow, atlas))
    table = arrow.table(
        dict(zip(headings, columns, strict=True)) | dict(beside.columns),
        metadata=metadata,
    )
    # A group of rows is in memory before it is written, and numbers repeat too seldom
    # for a dictionary of them.
    coded = [name for name in table.column_names if name not in (vector, COLUMNS[3])]
    coded.append(f"{MEMBERS}.list.element")
    size = group_size(atlas.merged.shape[1])
    options = {"use_dictionary": coded, "write_statistics": [*coded, COLUMNS[3]]}
    parquet.write_table(table, stream, row_group_size=size, **options)


def group_size(width: int) -> int:
    """Rows of a group in a table of such rows."""
    return max(1, min(GROUP, _GROUP) // max(4 * width, 1))


def _members(arrow: Any, atlas: AtlasFile) -> Any:
    """A list of charts' names a sample."""
    texts = array_of(np.array(_names(atlas.recipe)))
    _, charts = np.nonzero(np.asarray(atlas.presence))
    ends = np.concatenate([[0], np.cumsum(atlas.count)]).astype(np.int32)
    members = texts.take(array_of(charts)).combine_chunks()
    return arrow.ListArray.from_arrays(array_of(ends), members)


def _presence(members: Any, recipe: Recipe) -> np.ndarray:
    """The charts that a column of names means, (N, M)."""
    numbers = {name: m for m, name in enumerate(_names(recipe))}
    column = members.combine_chunks()
    flat = column.flatten()
    presence = np.zeros((len(column), len(numbers)), bool)
    sizes = np.diff(numbers_of(column.offsets)) if len(column) else 0
    coded = flat.dictionary_encode()
    charts = np.array([numbers[name] for name in coded.dictionary.to_pylist()], int)
    rows = np.repeat(np.arange(len(column)), sizes)
    presence[rows, charts[numbers_of(coded.indices)]] = True
    return presence


def _names(recipe: Recipe) -> list[str]:
    return list(recipe.charts) or [str(m) for m in range(len(recipe.anchors))]


def _native(x: np.ndarray) -> np.ndarray:
    """The array in the machine's byte order, as Arrow needs."""
    return x.astype(x.dtype.newbyteorder("="), copy=False)
