"""The folder of an atlas in parts: names, checks, its place."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from jatlas.files.formats import atlas_table
from jatlas.files.formats.places import check_local
from jatlas.files.formats.whole import (
    PARTIAL,
    REPLACED,
    can_lock,
    check_inputs,
    clear_left,
    hidden_name,
    hold,
    named,
)

# The suffixes of an atlas in one file or two.
FILES = (".parquet", ".safetensors")

# Readers of Parquet pass over what begins with an underscore.
RECIPE = "_recipe.safetensors"
_PART = re.compile(r"part-\d{5,}\.parquet")


def is_folder(path: str | Path) -> bool:
    """Whether a path means a folder: no suffix, or a slash behind."""
    suffix = Path(path).suffix.lower()
    if str(path).endswith(("/", os.sep)) or not suffix:
        return True
    return suffix not in FILES and Path(path).is_dir()


def part_path(folder: Path, number: int) -> Path:
    """The file of a part."""
    return folder / f"part-{number:05d}.parquet"


def part_paths(folder: Path) -> list[Path]:
    """The parts of an atlas, in order."""
    parts = [file for file in folder.iterdir() if _PART.fullmatch(file.name)]
    return sorted(parts, key=lambda file: (len(file.name), file.name))


def part_size(width: int, batch_size: int = 1) -> int:
    """Samples of a part, in whole batches."""
    most = atlas_table.GROUP // max(4 * width, 1)
    return max(most // batch_size, 1) * batch_size


def check_folder_output(path: str | Path, inputs: Sequence[str | Path] = ()) -> None:
    """Raise ValueError or OSError if no atlas can be there.

    An atlas that is there is replaced, and nothing else: a folder with other files is
    refused.
    """
    check_local(path)
    atlas_table.check_package()
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(20, "it is a file, and no folder", str(path))
    there = list(folder.iterdir()) if folder.is_dir() else []
    others = [
        file.name
        for file in there
        if file.name != RECIPE and not _PART.fullmatch(file.name)
    ]
    if there and (others or folder / RECIPE not in there):
        raise ValueError(
            f"{path}: the folder is there and holds no atlas, or other files too "
            f"({', '.join(sorted(others or [file.name for file in there])[:5])}): they "
            "would be lost. Give another path, or move it away."
        )
    above = next(up for up in folder.absolute().parents if up.exists())
    if not above.is_dir():
        raise NotADirectoryError(20, "it is a file, and no folder", str(above))
    check_inputs([folder, part_path(folder, 0), folder / RECIPE, *there], inputs)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A hidden folder that takes its place once it is whole.

    Of an error nothing is left, of a kill at worst the hidden folder, whose name ends
    in ".part"; the next to write there takes it away. An atlas that was there is then
    still there, or, after a kill in the instant between two names, in a second hidden
    folder, whose name ends in ".old" and which stays until an atlas is there.

    Raises:
        OSError: if it cannot be written, with the path that was wanted.
    """
    final = path.resolve()
    with named(path):
        final.parent.mkdir(parents=True, exist_ok=True)
        clear_left(final)
        hidden, handle = _begin(final)
    try:
        yield hidden
        with named(path):
            _put(hidden, final)
        clear_left(final, REPLACED)
    except OSError as error:
        if str(hidden) not in str(error.filename):
            raise
        name = str(error.filename).replace(str(hidden), str(path))
        raise OSError(error.errno, error.strerror, name) from error
    finally:
        if handle is not None:
            os.close(handle)
        for _ in range(2):  # again if a worker has put something there meanwhile
            shutil.rmtree(hidden, ignore_errors=True)


def _begin(final: Path) -> tuple[Path, int | None]:
    """A hidden folder beside it, and the handle that keeps it locked."""
    while True:
        hidden = tempfile.mkdtemp(PARTIAL, hidden_name(final), final.parent)
        if not can_lock():
            return Path(hidden), None
        with suppress(FileNotFoundError):  # another took it for left, before the lock
            handle = os.open(hidden, os.O_RDONLY)
            if hold(handle, hidden):
                return Path(hidden), handle
            os.close(handle)


def _put(hidden: Path, final: Path) -> None:
    """Give a folder its name, and take away what had it."""
    os.chmod(hidden, 0o755)
    if not final.is_dir():
        os.replace(hidden, final)
        return
    old = Path(tempfile.mkdtemp(REPLACED, hidden_name(final), final.parent))
    try:
        os.replace(final, old)
    except OSError:
        os.rmdir(old)
        raise
    try:
        os.replace(hidden, final)
    except OSError:
        os.replace(old, final)
        raise
    shutil.rmtree(old, ignore_errors=True)
