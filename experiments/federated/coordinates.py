"""The coordinates in which heads are trained.

They are relative ones, or these made better. `plain`: a chart's cosines to the anchors,
as the paper has them. `white-nystroem`: a chart is whitened by its own samples before
the cosines are made, and what they are merged to is brought into orthonormal
coordinates of the atlas's kernel. A client sends nothing more for it; the server sends,
with the head, a matrix that it makes of the merged rows of the anchors, which are
public samples. `consensus`: a client sends what it sends in plain coordinates, and
receives a map of its own, see `consensus.py`.
"""

import numpy as np

import jatlas
from experiments.federated import consensus
from experiments.federated.messages import Recipe
from experiments.measures import maps

SHRINKAGE = 0.3  # of the covariance of a chart's own rows


def relative(
    recipe: Recipe, embeddings: np.ndarray, trained_on: np.ndarray, anchors: np.ndarray
) -> np.ndarray:
    """(n, A), a chart's rows relative to the anchors.

    Args:
        recipe: of the round.
        embeddings: (n, D), by the chart.
        trained_on: (n,), the samples it was trained on; it is whitened by these.
        anchors: (A,), which of the n are anchors.
    """
    if recipe.coordinates == "white-nystroem":
        fitted = maps.fit_whiten(embeddings, where=trained_on, shrinkage=SHRINKAGE)
        embeddings = np.asarray(jatlas.apply_transform(fitted, embeddings))
    return np.asarray(jatlas.relativize(embeddings, embeddings[anchors]))


def scale(recipe: Recipe, rows: np.ndarray, known: np.ndarray) -> np.ndarray | None:
    """(A, A), a matrix for rows before a head, or None.

    Args:
        recipe: of the round.
        rows: (P, A), of the public samples; anything where not known.
        known: (P,), the samples that have a row. An anchor that has none is left out.
    """
    if recipe.coordinates != "white-nystroem":
        return None
    anchors = list(recipe.anchors)
    there = known[anchors][:, None] & known[anchors]
    # In the directions of anchors without a row the kernel is nothing, and its root is
    # large: no row may have a part in them.
    kernel = np.where(there, rows[anchors], 0)
    return np.where(there, maps.fit_nystroem(kernel).scale, 0)


def through(scale: np.ndarray | None, rows: np.ndarray) -> np.ndarray:
    """Rows (n, A) as a head sees them."""
    return rows if scale is None else rows @ scale


def alone(recipe: Recipe, rows: np.ndarray, public: np.ndarray) -> np.ndarray:
    """Relative rows (n, A) in coordinates that one chart makes by itself.

    Args:
        recipe: of the round.
        rows: of all samples of the chart.
        public: (P,), where the public samples stand among the n.
    """
    if recipe.coordinates == "consensus":
        return consensus.through(consensus.of_one_chart(rows[public]), rows)
    return through(scale(recipe, rows[public], np.ones(len(public), bool)), rows)
