"""An atlas and its recipe in one safetensors file, without code."""

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
from jatlas.files.recipe import (
    AtlasFile,
    ConsensusMaps,
    Recipe,
    check_atlas,
    check_recipe,
)
from jatlas.merging.transforms import Transform

# What is written, and what is read: 1 knew no consensus coordinates and no presence, 2
# no offset of a transform and no rotations. Where there is none, 2 is written still.
PLAIN, VERSION = 2, 3
KNOWN = (1, PLAIN, VERSION)
FORMAT = "jatlas"


def read_atlas(path: Path) -> AtlasFile:
    """The atlas in a safetensors file that `atlas_writer` wrote.

    Raises:
        ValueError: if it is anything else, or was changed.
        OSError: if it cannot be read.
    """
    with faults_of(path):
        about, arrays = _read(path)
        if "merged" not in arrays:
            raise ValueError("it holds a recipe and no atlas; see `load_recipe`.")
        atlas = AtlasFile(
            _from_file(arrays["ids"]),
            arrays["merged"],
            arrays["count"],
            arrays["disagreement"],
            _recipe(about, arrays),
            arrays.get("presence"),
        )
        check_atlas(atlas)
    return atlas


def read_recipe(path: Path) -> tuple[Recipe, str | None]:
    """The recipe, and the digest of its table, if it has one."""
    with faults_of(path):
        about, arrays = _read(path)
        recipe = _recipe(about, arrays)
        check_recipe(recipe)
    return recipe, about.get("table")


def atlas_writer(atlas: AtlasFile) -> partial[None]:
    """What writes an atlas, checked, to a binary stream."""
    check_atlas(atlas)
    return partial(_write, contents=_contents(atlas.recipe, _rows(atlas)))


def recipe_writer(recipe: Recipe, table: str | None = None) -> partial[None]:
    """A writer of a checked recipe and its table's digest."""
    check_recipe(recipe)
    return partial(_write, contents=_contents(recipe, {}, table))


def atlas_digest(atlas: AtlasFile) -> str:
    """SHA-256 of all that an atlas says, its recipe included, in hexadecimal."""
    return _digest(*_contents(atlas.recipe, _rows(atlas)))


def recipe_digest(recipe: Recipe) -> str:
    """SHA-256 of all that a recipe says, in hexadecimal."""
    return _digest(*_contents(recipe, {}))


def _rows(atlas: AtlasFile) -> dict[str, np.ndarray]:
    rows = {
        "ids": _to_file(atlas.ids),
        "merged": atlas.merged,
        "count": atlas.count,
        "disagreement": atlas.disagreement,
    }
    if atlas.presence is not None:
        rows["presence"] = atlas.presence
    return rows


def _contents(
    recipe: Recipe, arrays: Mapping[str, np.ndarray], table: str | None = None
) -> tuple[str, dict[str, np.ndarray]]:
    """The arrays, and the other contents as JSON before them."""
    transforms = {f"transforms.{m}": t for m, t in enumerate(recipe.transforms)}
    if recipe.nystroem is not None:
        transforms["nystroem"] = recipe.nystroem
    moved = any(transform.offset is not None for transform in transforms.values())
    moved = moved or recipe.kind == "procrustes"
    about = {
        "version": VERSION if moved else PLAIN,
        "anchors": len(recipe.anchors),
        "transforms": len(recipe.transforms),
        "nystroem": recipe.nystroem is not None,
        "similarity": recipe.similarity,
        "charts": list(recipe.charts),
        "hashes": list(recipe.hashes),
        "versions": dict(recipe.versions or {}),
    }
    if recipe.shrinkage is not None:
        about["shrinkage"] = float(recipe.shrinkage)
    if table is not None:
        about["table"] = table
    arrays = dict(arrays) | {"anchor_ids": _to_file(recipe.anchor_ids)}
    arrays |= {f"anchors.{m}": np.asarray(x) for m, x in enumerate(recipe.anchors)}
    for name, transform in transforms.items():
        arrays[f"{name}.mean"] = np.asarray(transform.mean)
        arrays[f"{name}.scale"] = np.asarray(transform.scale)
        if transform.offset is not None:
            arrays[f"{name}.offset"] = np.asarray(transform.offset)
    if recipe.consensus is not None:
        maps = recipe.consensus
        ridge = None if maps.ridge is None else float(maps.ridge)
        about["consensus"] = {"ridge": ridge, "power": float(maps.power)}
        arrays["consensus.agreement"] = np.asarray(maps.agreement)
        arrays["consensus.scales"] = np.asarray(maps.scales)
        for m, ids in enumerate(maps.known_ids):
            arrays[f"consensus.{m}.mean"] = np.asarray(maps.means[m])
            arrays[f"consensus.{m}.weights"] = np.asarray(maps.weights[m])
            arrays[f"consensus.{m}.known_ids"] = _to_file(ids)
            arrays[f"consensus.{m}.known"] = np.asarray(maps.known[m])
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
    mapped, metadata, *_ = read_tensors(path)
    if FORMAT not in metadata:
        raise ValueError(
            "it is a safetensors file, but not an atlas of jatlas; give one that "
            "`save` or a command wrote."
        )
    about = dict(json.loads(metadata[FORMAT]))
    if about.get("version") not in KNOWN:
        raise ValueError(
            f"it is of version {about.get('version')}, and only versions 1 to "
            f"{VERSION} are known here; take the jatlas that wrote it."
        )
    # In memory: whoever then writes over the file changes nothing here.
    arrays = {name: np.array(x) for name, x in mapped.items()}
    if metadata.get("sha256") != _digest(metadata[FORMAT], arrays):
        raise ValueError(
            "it was changed after it was written: its SHA-256 differs. Write it anew."
        )
    return about, arrays


def _recipe(about: Mapping[str, Any], arrays: Mapping[str, Any]) -> Recipe:
    def transform(name: str) -> Transform:
        mean, scale = arrays[f"{name}.mean"], arrays[f"{name}.scale"]
        return Transform(mean, scale, arrays.get(f"{name}.offset"))

    return Recipe(
        _from_file(arrays["anchor_ids"]),
        tuple(arrays[f"anchors.{m}"] for m in range(about["anchors"])),
        tuple(transform(f"transforms.{m}") for m in range(about["transforms"])),
        transform("nystroem") if about["nystroem"] else None,
        about["similarity"],
        tuple(about["charts"]),
        tuple(about["hashes"]),
        {str(name): str(number) for name, number in about["versions"].items()},
        about.get("shrinkage"),
        _consensus(about, arrays),
    )


def _consensus(
    about: Mapping[str, Any], arrays: Mapping[str, Any]
) -> ConsensusMaps | None:
    options = about.get("consensus")
    if options is None:
        return None
    charts = [f"consensus.{m}." for m in range(about["anchors"])]
    return ConsensusMaps(
        tuple(arrays[chart + "mean"] for chart in charts),
        arrays["consensus.scales"],
        tuple(arrays[chart + "weights"] for chart in charts),
        arrays["consensus.agreement"],
        options["ridge"],
        options["power"],
        tuple(_from_file(arrays[chart + "known_ids"]) for chart in charts),
        tuple(arrays[chart + "known"] for chart in charts),
    )


def _digest(text: str, arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of all that a file says."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        x = np.asarray(arrays[name])
        # In the order of bytes that the file has them in, whatever the machine's.
        x = np.ascontiguousarray(x, x.dtype.newbyteorder("<"))
        digest.update(f"{name} {x.dtype.name} {x.shape} ".encode())
        digest.update(x.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _to_file(ids: np.ndarray) -> np.ndarray:
    return ids if ids.dtype.kind in "iu" else names.encode_text(ids)


def _from_file(ids: np.ndarray) -> np.ndarray:
    """Integers are a vector, text is a matrix of bytes: see `formats.names`."""
    return ids if ids.ndim == 1 else names.decode_text(ids)
