"""Results on disk: written whole or not at all, and found again after a kill."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from jatlas.files.formats.whole import Fill, write_whole


class Damaged(ValueError):
    """A file that a run wrote and that cannot be read back."""


def write(path: Path, fill: Fill) -> None:
    """Write a file that is there in full, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole({path: fill})


def write_text(path: Path, text: str) -> None:
    """`write` for text."""
    write(path, lambda stream: stream.write(text.encode()))


def write_json(path: Path, value: Any) -> None:
    """`write` for JSON; NaN becomes null, as JSON has none."""
    text = json.dumps(_plain(value), indent=1, allow_nan=False)
    write_text(path, text + "\n")


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """`write` for arrays by name, an .npz without pickles."""
    write(path, lambda stream: np.savez(stream, allow_pickle=False, **arrays))


def read_json(path: Path) -> Any:
    """What `write_json` wrote.

    Raises:
        Damaged: if it is not JSON.
    """
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise Damaged(f"{path} is damaged ({error}); delete it.") from error


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """What `write_arrays` wrote.

    Raises:
        Damaged: if it is no .npz, or holds anything but plain arrays.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays}
    except (FileNotFoundError, PermissionError, MemoryError):
        raise
    except Exception as error:  # what a wrong byte meets inside of NumPy is anything
        raise Damaged(f"{path} is damaged ({error}); delete it.") from error


def claim(folder: Path, settings: dict[str, Any]) -> None:
    """Take a folder for a run with these settings, or find it taken by the same.

    Hidden files do not count: a run that was killed while it wrote leaves one.

    Raises:
        ValueError: if the folder is of a run with other settings, naming the first that
            differs, or holds files that are not of a run.
    """
    file = folder / "settings.json"
    if file.exists():
        try:
            found = read_json(file)
        except Damaged as error:
            raise Damaged(f"{file} is damaged; delete the folder {folder}.") from error
        different = _difference(_plain(settings), found)
        if different:
            raise ValueError(
                f"{folder} belongs to other options: {different}. Choose another "
                "folder with --out, or delete this one."
            )
        return
    if folder.exists() and any(not f.name.startswith(".") for f in folder.iterdir()):
        raise ValueError(
            f"{folder} has files in it that are not of a run. Choose another folder "
            "with --out."
        )
    write_json(file, settings)


def _difference(ours: dict[str, Any], theirs: dict[str, Any], prefix: str = "") -> str:
    """The first setting in which the two differ, in words; empty if none."""
    for name in sorted(set(ours) | set(theirs)):
        a, b = ours.get(name), theirs.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            found = _difference(a, b, f"{prefix}{name}.")
            if found:
                return found
        elif a != b:
            return f"{prefix}{name} is {b!r} there and {a!r} here"
    return ""


def _plain(value: Any) -> Any:
    """The value as JSON gives it back: lists for tuples, null for NaN."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return value
