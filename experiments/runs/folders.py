"""A folder belongs to one run, and only its settings resume it."""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.data.storage import (
    Damaged,
    clear_partial,
    plain,
    read_json,
    write_json,
)
from jatlas.files.formats.whole import can_lock

SETTINGS = "settings.json"
FORCED = "forced"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep a folder for this process; it is made if need be.

    The system lets go of it when the process ends, however that happens. Where a file
    system has no locks, nobody is refused.

    Raises:
        ValueError: if another process that lives holds it.
        OSError: if it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(
            errno.ENOTDIR, "Not a directory", str(folder)
        ) from None
    if not can_lock():
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise ValueError(
                    f"another run is at work in {folder}. Wait for its end, or choose "
                    "another folder with --out."
                ) from None
        yield
    finally:
        os.close(handle)


def claim(folder: Path, settings: dict[str, Any], *, force: bool = False) -> list[str]:
    """Take a folder for these settings, or resume the same.

    Hidden files do not count: a run that was killed while it wrote leaves one. Those of
    the same run are deleted.

    Args:
        folder: to be taken.
        settings: on which the parts of the run depend. Under "modules" the hashes of
            the code that makes them, by module; it alone may differ, by `force`.
        force: go on with parts that other code has made.

    Returns:
        The modules that have differed, now or before, and were gone on with by force.

    Raises:
        ValueError: if the folder is of a run with other settings or of other code,
            naming what differs, or holds files that are not of a run.
    """
    file, ours = folder / SETTINGS, plain(settings)
    if not file.exists():
        if folder.exists() and any(f.name[0] != "." for f in folder.iterdir()):
            raise ValueError(
                f"{folder} has files in it that are not of a run. Choose another "
                "folder with --out."
            )
        clear_partial(folder)  # of a run that was killed while it began
        write_json(file, ours)
        return []
    theirs = _read(file)
    forced = theirs.pop(FORCED, [])
    changed = _changed(ours.get("modules", {}), theirs.get("modules", {}))
    if different := _difference(_without_code(ours), _without_code(theirs)):
        raise ValueError(
            f"{folder} belongs to other options: {different}. Choose another folder "
            "with --out, or delete this one."
        )
    if changed and not force:
        raise ValueError(
            f"{folder} was begun by other code: {_listed(changed)} differ. Choose "
            "another folder with --out, delete this one, or go on all the same with "
            "--force, which the results then say."
        )
    if changed:
        forced = sorted({*forced, *changed})
        write_json(file, ours | {FORCED: forced})
    clear_partial(folder)
    return forced


def _read(file: Path) -> dict[str, Any]:
    try:
        return read_json(file)
    except Damaged as error:
        raise Damaged(f"{file} is damaged; delete the folder {file.parent}.") from error


def _without_code(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key != "modules"}


def _changed(ours: dict[str, str], theirs: dict[str, str]) -> list[str]:
    """The modules that are other, new, or gone."""
    both = sorted({*ours, *theirs})
    return [name for name in both if ours.get(name) != theirs.get(name)]


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - 5} more" if len(every) > 5 else ""
    return ", ".join(every[:5]) + more


def _difference(ours: dict[str, Any], theirs: dict[str, Any], prefix: str = "") -> str:
    """The first setting that differs, in words; empty if none."""
    for name in sorted(set(ours) | set(theirs)):
        a, b = ours.get(name), theirs.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            difference = _difference(a, b, f"{prefix}{name}.")
            if difference:
                return difference
        elif a != b:
            return f"{prefix}{name} is {b!r} there and {a!r} here"
    return ""
