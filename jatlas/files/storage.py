"""An atlas and its recipe on disk: numbers and JSON in one file, and no code."""

import hashlib
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from jatlas.files.formats import names
from jatlas.files.formats.faults import faults_of
from jatlas.files.formats.tensorfile import read_tensors, write_tensors
from jatlas.files.formats.whole import write_whole
from jatlas.files.recipe import AtlasFile, Recipe, check_atlas, check_recipe
from jatlas.merging.transforms import Transform

VERSION = 1
FORMAT = "jatlas"


def save(path: str | Path, atlas: AtlasFile) -> None:
    """Save an atlas with its recipe: in full, or, if anything fails, not at all.

    The file is in the safetensors format, which any of its readers reads, and NumPy in
    three lines::

        raw = open(path, "rb").read(); start = 8 + int.from_bytes(raw[:8], "little")
        about = json.loads(raw[8:start])["merged"]; begin, end = about["data_offsets"]
        merged = np.frombuffer(raw[start + begin : start + end], "<f4").reshape(about["shape"])

    Args:
        path: of the file. One that is there is replaced, once the new one is whole.
        atlas: an `AtlasFile`.

    Raises:
        ValueError: if something in it has another shape or dtype than an `AtlasFile`
            says, is NaN or infinite, repeats (ids) or is a similarity without a name.
        OSError: if it cannot be written.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> recipe = Recipe(np.array([7]), (np.ones((1, 3)),), charts=("birds",))
        >>> rows = np.array([[1.0], [0.3]]), np.array([1, 1]), np.full(2, np.nan)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(folder + "/atlas", AtlasFile(np.array([7, 8]), *rows, recipe))
        ...     load(folder + "/atlas").merged.tolist()
        [[1.0], [0.3]]
    """  # noqa: E501 - three lines are promised
    write_whole({Path(path): atlas_writer(atlas)})


def load(path: str | Path) -> AtlasFile:
    """Load what `save` saved. No code in the file is ever run: there can be none.

    Args:
        path: of the file.

    Returns:
        An `AtlasFile` of NumPy arrays, in the dtypes that were saved.

    Raises:
        ValueError: if it is cut off, changed, of an unknown version, or not of `save`.
        OSError: if it cannot be read.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> recipe = Recipe(np.array([7]), (np.ones((1, 3)),), charts=("birds",))
        >>> rows = np.array([[1.0], [0.3]]), np.array([1, 1]), np.full(2, np.nan)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(folder + "/atlas", AtlasFile(np.array([7, 8]), *rows, recipe))
        ...     load(folder + "/atlas").count.tolist()
        [1, 1]
    """
    with faults_of(path):
        about, arrays = _read(Path(path))
        if "merged" not in arrays:
            raise ValueError("it holds a recipe and no atlas; see `load_recipe`.")
        atlas = AtlasFile(
            _from_file(arrays["ids"]),
            arrays["merged"],
            arrays["count"],
            arrays["disagreement"],
            _recipe(about, arrays),
        )
        check_atlas(atlas)
    return atlas


def load_recipe(path: str | Path) -> Recipe:
    """The recipe of an atlas, of a file with the atlas in it or of one without.

    Args:
        path: of a file that `save` saved, or of the recipe beside an atlas in Parquet.

    Returns:
        A `Recipe`.

    Raises:
        ValueError: if it is cut off, changed, of an unknown version, or not of jatlas.
        OSError: if it cannot be read.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> recipe = Recipe(np.array([7]), (np.ones((1, 3)),), charts=("birds",))
        >>> rows = np.array([[1.0], [0.3]]), np.array([1, 1]), np.full(2, np.nan)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(folder + "/atlas", AtlasFile(np.array([7, 8]), *rows, recipe))
        ...     load_recipe(folder + "/atlas").charts
        ('birds',)
    """
    return load_recipe_of(path)[0]


def load_recipe_of(path: str | Path) -> tuple[Recipe, str | None]:
    """The recipe, and the digest of the table that it lies beside, if it says one."""
    with faults_of(path):
        about, arrays = _read(Path(path))
        recipe = _recipe(about, arrays)
        check_recipe(recipe)
    return recipe, about.get("table")


def atlas_writer(atlas: AtlasFile) -> partial[None]:
    """What writes an atlas, checked, to a binary stream."""
    check_atlas(atlas)
    return partial(_write, contents=_contents(atlas.recipe, _rows(atlas)))


def recipe_writer(recipe: Recipe, table: str | None = None) -> partial[None]:
    """What writes a recipe, checked, and of which table it is, to a binary stream."""
    check_recipe(recipe)
    return partial(_write, contents=_contents(recipe, {}, table))


def atlas_digest(atlas: AtlasFile) -> str:
    """SHA-256 of all that an atlas says, its recipe included, in hexadecimal."""
    return _digest(*_contents(atlas.recipe, _rows(atlas)))


def _rows(atlas: AtlasFile) -> dict[str, np.ndarray]:
    return {
        "ids": _to_file(atlas.ids),
        "merged": atlas.merged,
        "count": atlas.count,
        "disagreement": atlas.disagreement,
    }


def _contents(
    recipe: Recipe, arrays: Mapping[str, np.ndarray], table: str | None = None
) -> tuple[str, dict[str, np.ndarray]]:
    """The arrays and those of the recipe, and before them what is no array, as JSON."""
    about = {
        "version": VERSION,
        "anchors": len(recipe.anchors),
        "transforms": len(recipe.transforms),
        "nystroem": recipe.nystroem is not None,
        "similarity": recipe.similarity,
        "charts": list(recipe.charts),
        "hashes": list(recipe.hashes),
        "versions": dict(recipe.versions),
    }
    if table is not None:
        about["table"] = table
    arrays = dict(arrays) | {"anchor_ids": _to_file(recipe.anchor_ids)}
    arrays |= {f"anchors.{m}": np.asarray(x) for m, x in enumerate(recipe.anchors)}
    transforms = {f"transforms.{m}": t for m, t in enumerate(recipe.transforms)}
    if recipe.nystroem is not None:
        transforms["nystroem"] = recipe.nystroem
    for name, transform in transforms.items():
        arrays[f"{name}.mean"] = np.asarray(transform.mean)
        arrays[f"{name}.scale"] = np.asarray(transform.scale)
    return json.dumps(about), arrays


def _write(stream: IO[bytes], contents: tuple[str, dict[str, np.ndarray]]) -> None:
    text, arrays = contents
    metadata = {FORMAT: text, "sha256": _digest(text, arrays)}
    write_tensors(stream, arrays, metadata)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What `_write` wrote, JSON and arrays.

    Raises:
        ValueError: if it is anything else, or another version.
    """
    mapped, metadata = read_tensors(path)
    if FORMAT not in metadata:
        raise ValueError("it is a safetensors file, but not an atlas of jatlas.")
    about = dict(json.loads(metadata[FORMAT]))
    if about.get("version") != VERSION:
        raise ValueError(
            f"it is of version {about.get('version')}, and only version {VERSION} is "
            "known here; take the jatlas that wrote it."
        )
    # In memory: whoever then writes over the file changes nothing here.
    arrays = {name: np.array(x) for name, x in mapped.items()}
    if metadata.get("sha256") != _digest(metadata[FORMAT], arrays):
        raise ValueError("it was changed after it was written: its SHA-256 differs.")
    return about, arrays


def _recipe(about: Mapping[str, Any], arrays: Mapping[str, Any]) -> Recipe:
    def transform(name: str) -> Transform:
        return Transform(arrays[f"{name}.mean"], arrays[f"{name}.scale"])

    return Recipe(
        _from_file(arrays["anchor_ids"]),
        tuple(arrays[f"anchors.{m}"] for m in range(about["anchors"])),
        tuple(transform(f"transforms.{m}") for m in range(about["transforms"])),
        transform("nystroem") if about["nystroem"] else None,
        about["similarity"],
        tuple(about["charts"]),
        tuple(about["hashes"]),
        about["versions"],
    )


def _digest(text: str, arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of all that a file says."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        x = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {x.dtype.name} {x.shape} ".encode())
        digest.update(x.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _to_file(ids: np.ndarray) -> np.ndarray:
    return ids if ids.dtype.kind in "iu" else names.encode_text(ids)


def _from_file(ids: np.ndarray) -> np.ndarray:
    """Integers are a vector, text is a matrix of bytes: see `formats.names`."""
    return ids if ids.ndim == 1 else names.decode_text(ids)
