"""What the commands print."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jatlas.files.kinds.nearest import Neighbor
from jatlas.files.recipe import AtlasFile
from jatlas.files.reports import table


def say(text: str) -> None:
    """Print a text at once, also where the output is no terminal."""
    print(text, flush=True)


def say_disagreement(atlas: AtlasFile) -> None:
    """Print how far the charts are apart, if samples are in several."""
    several = atlas.disagreement[atlas.count > 1]
    if several.size:
        say(
            f"{several.size} samples are in several charts, which disagree by "
            f"{several.mean():.3g} on average, by {several.max():.3g} at most (the "
            "deviation of a coordinate over them: it does not tell how well search "
            "works)"
        )


def say_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """Print a warning in a line, among the errors."""
    print(f"warning: {' '.join(str(message).split())}", file=sys.stderr, flush=True)


def say_neighbors(sample: object, neighbors: Sequence[Neighbor]) -> None:
    """Print a sample's nearest in a table."""
    head = ["id", "distance", "charts"]
    rows = [
        [str(one.id), f"{one.distance:.4f}", ", ".join(one.charts)] for one in neighbors
    ]
    say(f"nearest to {sample} (distance: 1 - cosine)")
    say(table([head, *rows], 0))


def say_written(files: Sequence[Path]) -> int:
    """Print which files were written; the exit code of success."""
    say("wrote " + ", ".join(map(str, files)))
    return 0
