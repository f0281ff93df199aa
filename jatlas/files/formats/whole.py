"""Files on disk that are there in full, or not at all."""

import glob
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from jatlas.files.formats.places import Remote, fits, fitting, is_pattern, place

Fill = Callable[[IO[bytes]], object]

# What a file's name ends in, behind a dot and its own name, while it is written.
PARTIAL = ".part"
# The same of a folder while another takes its name.
REPLACED = ".old"
_RANDOM = "?" * 8  # as `tempfile` makes names


def check_folder(path: Path) -> None:
    """Raise OSError if no file can be written there."""
    if path.is_dir():
        raise IsADirectoryError(
            21, "it is a folder; give the path of a file", str(path)
        )
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir():
        raise NotADirectoryError(20, "it is a file, and no folder", str(above))


def check_inputs(written: Collection[Path], inputs: Sequence[str | Path]) -> None:
    """Raise ValueError if an input would be overwritten, or grow.

    An input can be a folder, or a pattern in quotes.
    """
    whole = {path.resolve() for path in written}
    for given in inputs:
        where = place(given)
        if isinstance(where, Remote):
            continue
        pattern = is_pattern(where)
        files = fitting(where) if pattern else [where]
        lost = {Path(str(file)).resolve() for file in files}
        if pattern:
            grows = any(fits(path, where) for path in whole)
        else:
            folder = where.resolve()
            grows = where.is_dir() and any(folder in path.parents for path in whole)
        if lost & whole or grows:
            raise ValueError(
                f"{next(iter(written))} would be written over {given}, an "
                "input; give another path."
            )


def write_whole(files: Mapping[Path, Fill]) -> None:
    """Write all files in full, or none.

    `files` gives for each path what fills it. Each is first written under another name
    beside its place and forced to the disk; only when all are there do they take their
    names, in the order given. So a full disk, an error or a kill leaves what stood
    there before, and of a kill, at worst, a hidden file that ends in ".part", which the
    next to write there takes away. (A kill in the instant between two of the names
    leaves the first of the new files beside an old one.)

    Folders that are not there are made.

    Raises:
        OSError: if they cannot be written, with the path of the file that could not.
            Nothing is then left of them.
    """
    with ExitStack() as undo:
        parts = {}
        for path, fill in files.items():
            with named(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                clear_left(path)
                handle, part = _begin(path)
                undo.callback(_remove, part)
                undo.callback(os.close, os.dup(handle))  # the lock is held to the end
                with os.fdopen(handle, "wb") as stream:
                    fill(stream)
                    stream.flush()
                    os.fsync(stream.fileno())
                os.chmod(part, 0o644)
            parts[path] = part
        for path, part in parts.items():
            with named(path):
                os.replace(part, path)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """System errors, renamed from the hidden file to the wanted one."""
    try:
        yield
    except OSError as error:
        text = error.strerror or str(error)
        raise OSError(error.errno, text, str(path)) from error


def clear_left(path: Path, suffix: str = PARTIAL) -> None:
    """Take away what killed writers of this path left.

    A writer that lives holds a lock on what it writes.
    """
    for part in path.parent.glob(f".{glob.escape(path.name)}.{_RANDOM}{suffix}"):
        with suppress(OSError):
            handle = os.open(part, os.O_RDONLY)
            try:
                if lock(handle):
                    shutil.rmtree(part) if part.is_dir() else os.unlink(part)
            finally:
                os.close(handle)


def lock(handle: int) -> bool:
    """Whether the lock of an open file or folder was free.

    It is held until the file is closed. False too where the system has no locks.
    """
    with suppress(OSError, ImportError):
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _begin(path: Path) -> tuple[int, str]:
    """A hidden file beside the path, open and locked, and its name."""
    while True:
        handle, part = tempfile.mkstemp(PARTIAL, f".{path.name}.", path.parent)
        lock(handle)
        if os.path.exists(part):  # else another took it for left, before the lock
            return handle, part
        os.close(handle)


def _remove(part: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(part)
