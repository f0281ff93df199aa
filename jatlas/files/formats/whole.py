"""Files on disk that are there in full, or not at all."""

import errno
import glob
import os
import platform
import secrets
import shutil
import tempfile
import zlib
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
# What stands between: no other program's, and of this machine, for others may not see
# its locks.
_MARK = f"jatlas-{zlib.crc32(platform.node().encode()):08x}-"
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
                "input; give another path. To replace the input, rename what was "
                "written there once the command is done: of an atlas in Parquet the "
                "recipe first, then the table."
            )


def write_whole(files: Mapping[Path, Fill]) -> None:
    """Write all files in full, or none.

    `files` gives for each path what fills it. Each is first written under another name
    beside its place and forced to the disk; only when all are there do they take their
    names, in the order given. So a full disk, an error or a kill leaves what stood
    there before, and of a kill, at worst, a hidden file that ends in ".part", which the
    next to write there takes away. (A kill in the instant between two of the names
    leaves the first of the new files beside an old one. What it replaced is then still
    in a hidden file that ends in ".old", until these files are written again.)

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
                if can_lock():  # to the end
                    undo.callback(os.close, os.dup(handle))
                with os.fdopen(handle, "wb") as stream:
                    fill(stream)
                    stream.flush()
                    os.fsync(stream.fileno())
                os.chmod(part, 0o644)
            parts[path] = part
        _put(parts)


def _put(parts: Mapping[Path, str]) -> None:
    """Give all files their names, or leave all as they were."""
    first, done = list(parts)[:-1], []
    stood = {path: os.path.lexists(path) for path in first}
    kept: dict[Path, str] = {}
    try:
        for path in filter(stood.get, first):
            with named(path):
                _keep(path, kept)
        for path, part in parts.items():
            done.append(path)  # before: an interrupt may come between the two
            with named(path):
                os.replace(part, path)
    except BaseException:
        # Where the last has its name the files are whole, whatever came then.
        undone = done if os.path.lexists(parts[[*parts][-1]]) else []
        for path in filter(stood.__contains__, undone):
            if path in kept:
                os.replace(kept[path], path)
            elif not stood[path]:
                path.unlink(missing_ok=True)
        raise
    finally:
        for link in kept.values():
            _remove(link)
    for path in first:
        clear_left(path, REPLACED)


def _keep(path: Path, kept: dict[Path, str]) -> None:
    """Give a file a second, hidden name, where the file system can."""
    link = f"{path.parent / hidden_name(path)}{secrets.token_hex(4)}{REPLACED}"
    try:
        os.link(path, link, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        return  # the renames are then the only ones
    kept[path] = link


@contextmanager
def named(path: Path) -> Iterator[None]:
    """System errors, renamed from the hidden file to the wanted one."""
    try:
        yield
    except OSError as error:
        number, text = error.errno, error.strerror or str(error)
        if number is None and "requested and" not in text:
            raise OSError(f"{path}: {text}") from error
        if number is None:  # NumPy's, which counts what it could write
            number, text = errno.ENOSPC, f"No space left, or a limit on files ({text})"
        raise OSError(number, text, str(path)) from error


def clear_left(path: Path, suffix: str = PARTIAL) -> None:
    """Take away what killed writers of this path left.

    A writer that lives holds a lock on what it writes, and what other machines write is
    left alone.
    """
    if not can_lock():
        return
    name = glob.escape(hidden_name(path))
    for part in path.parent.glob(f"{name}{_RANDOM}{suffix}"):
        with suppress(OSError):
            handle = os.open(part, os.O_RDONLY)
            try:
                if _lock_free(handle):
                    shutil.rmtree(part) if part.is_dir() else os.unlink(part)
            finally:
                os.close(handle)


def hidden_name(path: Path) -> str:
    """How the names of a path's hidden files begin."""
    return f".{path.name}.{_MARK}"


def can_lock() -> bool:
    """Whether the system has locks of files that end with a process."""
    return os.name == "posix"


def hold(handle: int, part: str | Path) -> bool:
    """Lock a new hidden file or folder until it is closed.

    Others may have taken it for left before it was locked. Whether it is still there.
    """
    if can_lock():
        import fcntl

        with suppress(OSError):  # a file system without locks: nobody clears there
            fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        return os.path.samestat(os.fstat(handle), os.stat(part))
    except FileNotFoundError:
        return False


def _lock_free(handle: int) -> bool:
    """Whether nobody holds the lock; it is held from then on."""
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _begin(path: Path) -> tuple[int, str]:
    """A hidden file beside the path, open and locked, and its name."""
    while True:
        handle, part = tempfile.mkstemp(PARTIAL, hidden_name(path), path.parent)
        if hold(handle, part):
            return handle, part
        os.close(handle)


def _remove(part: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(part)
