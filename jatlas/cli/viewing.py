"""An atlas in viewers that people have: TensorBoard's projector, embedding-atlas."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from jatlas.files.formats.atlas_table import table_writer
from jatlas.files.formats.whole import Fill, check_inputs, write_whole
from jatlas.files.recipe import AtlasFile

_CONFIG = """embeddings {
  tensor_name: "atlas"
  tensor_path: "vectors.tsv"
  metadata_path: "metadata.tsv"
}
"""


def export_projector(atlas: AtlasFile) -> dict[str, Fill]:
    """The files of TensorBoard's projector, by name, each by what writes it.

    `tensorboard --logdir FOLDER` shows them; vectors.tsv and metadata.tsv can also be
    loaded in https://projector.tensorflow.org.
    """
    return {
        "vectors.tsv": partial(_write_vectors, atlas=atlas),
        "metadata.tsv": partial(_write_metadata, atlas=atlas),
        "projector_config.pbtxt": lambda stream: stream.write(_CONFIG.encode()),
    }


def export_embedding_atlas(atlas: AtlasFile) -> dict[str, Fill]:
    """The file of embedding-atlas: `embedding-atlas atlas.parquet --vector vector`."""
    return {"atlas.parquet": table_writer(atlas, "vector")}


EXPORTS = {"projector": export_projector, "embedding-atlas": export_embedding_atlas}

# What is run on the folder of files, the viewer's program first.
_VIEWERS = {
    "projector": ["tensorboard", "--logdir", "{folder}"],
    "embedding-atlas": [
        "embedding-atlas",
        "{folder}/atlas.parquet",
        "--vector",
        "vector",
    ],
}


def export(
    atlas: AtlasFile, viewer: str, folder: str | Path, inputs: Sequence[str] = ()
) -> list[Path]:
    """Write the files of a viewer, `projector` or `embedding-atlas`, into a folder.

    Raises:
        ValueError: if the viewer is unknown, or a file would take an input's place.
        OSError: if the folder is not there, or they cannot be written.
    """
    if viewer not in EXPORTS:
        raise ValueError(f"unknown viewer {viewer!r}; known are {', '.join(EXPORTS)}.")
    files = {Path(folder) / k: fill for k, fill in EXPORTS[viewer](atlas).items()}
    check_inputs(files, inputs)
    write_whole(files)
    return list(files)


def installed_viewer() -> str:
    """The first viewer whose program is installed.

    Raises:
        ValueError: if none is.
    """
    for viewer, (program, *_) in _VIEWERS.items():
        if shutil.which(program):
            return viewer
    raise ValueError(
        "no viewer is installed: pip install 'jatlas[view]' (TensorBoard) or "
        "embedding-atlas; or write the files of one with --export."
    )


def view(atlas: AtlasFile, viewer: str) -> int:
    """Open an atlas in a viewer; return its program's exit status.

    To stop it with Ctrl-C is how a viewer ends: 0 is then returned.

    Raises:
        ValueError: if the viewer is not installed.
    """
    program = _VIEWERS[viewer][0]
    if not shutil.which(program):
        extra = "'jatlas[view]'" if program == "tensorboard" else program
        raise ValueError(f"{program} is not installed: pip install {extra}.")
    with tempfile.TemporaryDirectory() as folder:
        export(atlas, viewer, folder)
        command = [part.format(folder=folder) for part in _VIEWERS[viewer]]
        try:
            return subprocess.run(command, check=False).returncode
        except KeyboardInterrupt:  # the viewer got it too
            return 0


def _write_vectors(stream: IO[bytes], atlas: AtlasFile) -> None:
    np.savetxt(stream, atlas.merged, fmt="%.6g", delimiter="\t")


def _write_metadata(stream: IO[bytes], atlas: AtlasFile) -> None:
    stream.write(b"id\tcharts\tdisagreement\n")
    rows = zip(atlas.ids, atlas.count, atlas.disagreement, strict=True)
    for name, count, spread in rows:
        text = " ".join(str(name).split())  # a tab or an end of line would end the cell
        stream.write(f"{text}\t{count}\t{spread:.6g}\n".encode())
