"""A folder belongs to one run, and only its settings resume it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from experiments.data.storage import (
    Damaged,
    clear_partial,
    plain,
    read_json,
    write_json,
)

SETTINGS = "settings.json"
FORCED = "forced"


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
