"""Atomic files on disk, and recovery after a kill."""

import json
from pathlib import Path
from typing import IO, Any

import numpy as np

from jatlas.files.formats.whole import PARTIAL, Fill, write_whole


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
    text = json.dumps(plain(value), indent=1, allow_nan=False)
    write_text(path, text + "\n")


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """`write` for arrays by name, an .npz without pickles."""
    write(path, lambda stream: write_npz(stream, arrays))


def write_npz(stream: IO[bytes], arrays: dict[str, Any]) -> None:
    """`numpy.savez` without pickles, which NumPy before 2.1 cannot be told.

    Raises:
        ValueError: if an array is of objects.
    """
    if objects := [name for name, x in arrays.items() if np.asarray(x).dtype.hasobject]:
        raise ValueError(f"arrays of objects are not written: {objects}.")
    np.savez(stream, **arrays)


def clear_partial(folder: Path) -> None:
    """Delete a killed process's partial files, in subfolders too."""
    for part in folder.rglob(f".*{PARTIAL}"):
        part.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """What `write_json` wrote.

    Raises:
        Damaged: if it is not JSON.
    """
    try:
        return json.loads(path.read_text("utf-8"))
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


def plain(value: Any) -> Any:
    """The value after JSON: lists for tuples, null for NaN."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return value
