"""The coordinates of a chart's rows, in whatever kind its atlas has."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from jatlas.files.coordinates import relative_rows
from jatlas.files.formats.sources import Source
from jatlas.files.kinds.consensus import consensus_rows
from jatlas.files.recipe import Recipe
from jatlas.files.reports import Say, quiet


def chart_rows(
    recipe: Recipe, chart: int, source: Source, batch_size: int, say: Say = quiet
) -> Iterator[tuple[int, Float[np.ndarray, "n K"]]]:
    """Rows of a file before any Nystroem transform.

    Some at a time, each with its start.
    """
    if recipe.consensus is None:
        return relative_rows(recipe, chart, source, batch_size, say)
    return consensus_rows(recipe.consensus, chart, source, batch_size)
