"""What the commands print."""

import difflib
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from jatlas.files.kinds.nearest import Neighbor
from jatlas.files.recipe import AtlasFile
from jatlas.files.reports import table

_LONGEST = 40  # characters of a cell


def say(text: str) -> None:
    """Print a text at once, also where the output is no terminal."""
    print(text, flush=True)


def say_disagreement(atlas: AtlasFile) -> None:
    """Print how far the charts are apart, if samples are in several."""
    several = atlas.disagreement[atlas.count > 1].astype(np.float64)
    if several.size:
        say_spread(several.size, several.mean(), several.max())


def say_spread(several: int, mean: float, most: float) -> None:
    """Print how far charts are apart about so many samples."""
    if several:
        say(
            f"{several} samples are in several charts, which disagree by {mean:.3g} on "
            f"average, by {most:.3g} at most (the deviation of a coordinate over them: "
            "it does not tell how well search works)"
        )


def near_name(error: BaseException) -> str:
    """The name nearest to a missing file's in its folder."""
    if not isinstance(error, FileNotFoundError) or not isinstance(error.filename, str):
        return ""
    missing = Path(error.filename)
    folder = missing.absolute().parent
    if not folder.is_dir():
        return f"; there is no folder {folder} either"
    near = difflib.get_close_matches(missing.name, sorted(os.listdir(folder)), n=1)
    return f"; did you mean {near[0]}?" if near else f"; nor one like it in {folder}"


def say_warning(message: Warning | str) -> None:
    """Print a warning in a line, among the errors."""
    print(f"warning: {' '.join(str(message).split())}", file=sys.stderr, flush=True)


def saying_warnings(kept: type[Warning]) -> list[Warning]:
    """Print warnings from now on; those of a kind are kept."""
    doubts: list[Warning] = []

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        if isinstance(message, kept):
            doubts.append(message)
        else:
            say_warning(message)

    warnings.showwarning = show
    return doubts


def say_neighbors(
    sample: object,
    neighbors: Sequence[Neighbor],
    kept: Mapping[str, Sequence[Any]] = MappingProxyType({}),
) -> None:
    """Print a sample's nearest in a table, with kept columns."""
    head = ["id", "distance", "charts", *kept]
    rows = [
        [
            str(one.id),
            f"{one.distance:.4f}",
            ", ".join(one.charts),
            *(_cell(values[number]) for values in kept.values()),
        ]
        for number, one in enumerate(neighbors)
    ]
    say(f"nearest to {sample} (distance: 1 - cosine)")
    say(table([head, *rows], 0))


def _cell(value: Any) -> str:
    """A value in one short line; nothing for a missing one."""
    text = "" if value is None else " ".join(str(value).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def say_written(files: Sequence[Path]) -> int:
    """Print which files were written; the exit code of success."""
    most = 4
    shown = list(map(str, files[:most] if len(files) > most + 1 else files))
    if len(shown) < len(files):
        shown.append(f"... ({len(files)} files)")
    say("wrote " + ", ".join(shown))
    return 0
