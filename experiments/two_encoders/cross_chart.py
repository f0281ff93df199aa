"""Retrieval of a sample's copy that only another chart knows.

Two charts have anchors in common. Of all other samples each chart has its own
embedding, and what is compared is made of that chart alone. By several methods both
charts' rows are brought into one space, knowing the pairs of the anchors and no others.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.linear_model import RidgeCV

import jatlas
from experiments.measures import maps
from experiments.measures.nystroem import orthonormal
from jatlas._src import arrays

K = 10  # of the recall, and of the neighbours
SHRINKAGE = 0.1  # of the white spaces' covariances: that of the published tables


class Side(NamedTuple):
    """A chart's embeddings of the anchors and of its other samples."""

    anchors: np.ndarray
    rows: np.ndarray


Joined = tuple[jax.Array | np.ndarray, jax.Array | np.ndarray]


class Method(NamedTuple):
    """A way to bring two charts' rows into one space.

    Attributes:
        title: in words.
        join: (side of the queries, side of the gallery) to both sides' rows in one
            space.
        space: what it is given: "raw" embeddings, "centered" or "white" ones.
    """

    title: str
    join: Callable[[Side, Side], Joined]
    space: str = "raw"


def unmerged(a: Side, b: Side) -> Joined:
    """The rows as they are; narrower ones are padded with zeros."""
    width = max(a.rows.shape[1], b.rows.shape[1])
    padded = [
        np.pad(side.rows, ((0, 0), (0, width - side.rows.shape[1]))) for side in (a, b)
    ]
    return padded[0], padded[1]


def procrustes(a: Side, b: Side) -> Joined:
    """Both charts centered on the anchors, and the best rotation.

    Directions in which the anchors do not vary are dropped: nothing says where they go.
    """
    centre_a, centre_b = a.anchors.mean(axis=0), b.anchors.mean(axis=0)
    # The singular vectors of one's transpose times the other: of at most A directions.
    first, one = np.linalg.qr(np.float64(a.anchors - centre_a).T)
    second, other = np.linalg.qr(np.float64(b.anchors - centre_b).T)
    left, values, right = np.linalg.svd(one @ other.T, full_matrices=False)
    known = values > values[0] * len(a.anchors) * np.finfo(np.float32).eps
    turn = np.float32(first @ left[:, known] @ right[known] @ second.T)
    return (a.rows - centre_a) @ turn, b.rows - centre_b


def ridge(a: Side, b: Side) -> Joined:
    """The linear map that ridge regression learns from the anchors; both centered.

    Its strength is chosen by leaving out one anchor after another.
    """
    centre_a, centre_b = a.anchors.mean(axis=0), b.anchors.mean(axis=0)
    known, wanted = np.float64(a.anchors - centre_a), np.float64(b.anchors - centre_b)
    scale = np.sqrt(np.mean(np.sum(known**2, axis=1)))
    learned = RidgeCV(np.logspace(-5, 2, 15), fit_intercept=False)
    learned.fit(known / scale, wanted)
    return np.float32(learned.predict((a.rows - centre_a) / scale)), b.rows - centre_b


def atlas(a: Side, b: Side) -> Joined:
    """Rows of the atlas, each from its chart's cosines to anchors."""
    return _atlas(a, b)[:2]


def nystroem(a: Side, b: Side) -> Joined:
    """Rows of the atlas, in orthonormal coordinates of its kernel."""
    *rows, of_anchors = _atlas(a, b)
    first, second = (orthonormal(relative, of_anchors) for relative in rows)
    return first, second


def _atlas(a: Side, b: Side) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Atlas rows of a's samples, of b's samples, of the anchors."""
    n, num_anchors = len(a.rows), len(a.anchors)
    presence = np.zeros((2, 2 * n + num_anchors), bool)
    presence[0, :n] = presence[1, n : 2 * n] = presence[:, 2 * n :] = True
    embeddings = [
        np.concatenate([x.rows, x.rows, x.anchors]) for x in (a, b)
    ]  # what stands where a chart is absent is not looked at
    rows = jatlas.merge(embeddings, [a.anchors, b.anchors], presence)
    return rows[:n], rows[n : 2 * n], rows[2 * n :]


METHODS = {
    "unmerged": Method("unmerged (padded with zeros)", unmerged),
    "procrustes": Method("Procrustes on the anchors", procrustes),
    "procrustes_white": Method("Procrustes, whitened", procrustes, "white"),
    "ridge": Method("ridge map from the anchors", ridge),
    "atlas": Method("**atlas**, plain", atlas),
    "atlas_centred": Method("**atlas**, centered", atlas, "centered"),
    "atlas_white": Method("**atlas**, whitened", atlas, "white"),
    "atlas_nystroem": Method("**atlas**, Nystroem", nystroem),
    "atlas_centred_nystroem": Method(
        "**atlas**, centered, Nystroem", nystroem, "centered"
    ),
    "atlas_white_nystroem": Method("**atlas**, whitened, Nystroem", nystroem, "white"),
}


def chance(num_samples: int) -> dict[str, float]:
    """What an order drawn at random has, in the mean."""
    return {
        "mrr": float(np.sum(1 / np.arange(1, num_samples + 1)) / num_samples),
        "recall_1": 1 / num_samples,
        f"recall_{K}": K / num_samples,
        "neighbours": K / (num_samples - 1),
    }


def transformed(space: np.ndarray, pool: np.ndarray) -> dict[str, np.ndarray]:
    """Embeddings (N, D): raw, centered, and whitened on the pool.

    The pool is (N,) boolean.
    """
    spaces = {"raw": space}
    whiten = partial(maps.fit_whiten, shrinkage=SHRINKAGE)
    for name, fit in (("centered", jatlas.fit_center), ("white", whiten)):
        transform = fit(space, where=pool)
        spaces[name] = np.asarray(jatlas.apply_transform(transform, space))
    return spaces


def sides(
    spaces: dict[str, np.ndarray], pool: np.ndarray, anchors: np.ndarray
) -> dict[str, Side]:
    """A chart's anchors and queries in each of its spaces."""
    return {name: Side(space[anchors], space[~pool]) for name, space in spaces.items()}


def measure(
    method: Method, first: dict[str, Side], second: dict[str, Side]
) -> dict[str, float]:
    """Retrieval scores, and the share of kept neighbors.

    These are of the chart's original space.

    Args:
        method: how the charts' rows come into one space.
        first: a chart, from `sides`; row n of both is the same sample.
        second: another.

    Returns:
        mrr, recall_1, recall_10, neighbours: each the mean of both directions.
    """
    both = [
        _one_way(method, a[method.space], b[method.space], a["raw"].rows)
        for a, b in ((first, second), (second, first))
    ]
    return {name: float(np.mean([values[name] for values in both])) for name in both[0]}


def _one_way(
    method: Method, a: Side, b: Side, original: np.ndarray
) -> dict[str, float]:
    queries, gallery = (jnp.asarray(rows) for rows in method.join(a, b))
    scores = jatlas.metrics.retrieval(queries, gallery, K)
    kept = jatlas.metrics.mutual_neighbors(
        arrays.unit(original), arrays.unit(queries), K
    )
    return {
        "mrr": float(scores.mean_reciprocal_rank),
        "recall_1": float(scores.recall_at_1),
        f"recall_{K}": float(scores.recall_at_k),
        "neighbours": float(kept),
    }
