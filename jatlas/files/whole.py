"""Files on disk that are there in full, or not at all."""

import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

Fill = Callable[[IO[bytes]], object]


def write_whole(files: Mapping[Path, Fill]) -> None:
    """Write files, by path, each by what fills it: all of them in full, or none.

    Each is first written under another name beside its place and forced to the disk;
    only when all are there do they take their names, in the order given. So a full
    disk, an error or a kill leaves what stood there before, and of a kill, at worst, a
    hidden file that ends in ".part". (A kill in the instant between two of the names
    leaves the first of the new files beside an old one.)

    Raises:
        OSError: if they cannot be written. Nothing is then left of them.
    """
    with ExitStack() as undo:
        parts = {}
        for path, fill in files.items():
            handle, part = tempfile.mkstemp(".part", f".{path.name}.", path.parent)
            undo.callback(_remove, part)
            with os.fdopen(handle, "wb") as stream:
                fill(stream)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(part, 0o644)
            parts[path] = part
        for path, part in parts.items():
            os.replace(part, path)


def _remove(part: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(part)
