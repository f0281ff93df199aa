"""Ways to bring two charts' rows into one space by shared anchors.

Two charts have anchors in common. Of all other samples each chart has its own
embedding, and what is compared is made of that chart alone.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jatlas
from experiments.measures import maps as float64
from experiments.measures.nystroem import orthonormal
from experiments.two_encoders import cca
from jatlas.merging import Transform, choose_consensus

RIDGES = (0.1, 0.3, 1.0, 3.0)  # of a consensus that is chosen by folds
POWERS = (0.5, 1.0, 2.0, 3.0, 5.0, 8.0)


class Side(NamedTuple):
    """A chart's embeddings of the anchors, and of its other samples."""

    anchors: np.ndarray
    rows: np.ndarray


Joined = tuple[jax.Array | np.ndarray, jax.Array | np.ndarray]


class Method(NamedTuple):
    """A way to bring two charts' rows into one space.

    Attributes:
        title: in words.
        join: (side of the queries, side of the gallery) to both sides' rows in one
            space. In hindsight: to several such pairs.
        space: what it is given: "raw" embeddings, "unit" rows of length one, "centered"
            or "white" ones.
        symmetric: whether the gallery's side could as well be that of the queries.
            Otherwise queries are translated into the gallery's own space.
        hindsight: whether the best of several is taken by the samples that are scored.
    """

    title: str
    join: Callable[[Side, Side], Joined | list[Joined]]
    space: str = "raw"
    symmetric: bool = True
    hindsight: bool = False


def unmerged(a: Side, b: Side) -> Joined:
    """Rows as they are, the narrower ones padded with zeros."""
    width = max(a.rows.shape[1], b.rows.shape[1])
    padded = [
        np.pad(side.rows, ((0, 0), (0, width - side.rows.shape[1]))) for side in (a, b)
    ]
    return padded[0], padded[1]


def rotations(a: np.ndarray, b: np.ndarray) -> tuple[Transform, Transform]:
    """Both charts' maps to the coordinates of Procrustes.

    Each is centered on its anchors, divided by their root mean squared length, and
    turned by singular vectors of the anchors' products. Directions in which the anchors
    do not vary are dropped: nothing says where they go.

    Args:
        a: (A, D1), a chart's embeddings of the anchors.
        b: (A, D2), another's.

    Source: Schönemann, "A generalized solution of the orthogonal Procrustes problem"
    (1966).
    """
    means = a.mean(axis=0), b.mean(axis=0)
    # The singular vectors of one's transpose times the other: of at most A directions.
    first, one = np.linalg.qr(np.float64(a - means[0]).T)
    second, other = np.linalg.qr(np.float64(b - means[1]).T)
    left, values, right = np.linalg.svd(one @ other.T, full_matrices=False)
    known = values > values[0] * len(a) * np.finfo(np.float32).eps
    turns = first @ left[:, known], second @ right[known].T
    lengths = (np.sqrt(np.sum(x**2) / len(a)) for x in (one, other))
    scales = (
        np.float32(turn / length) for turn, length in zip(turns, lengths, strict=True)
    )
    return tuple(Transform(*each) for each in zip(means, scales, strict=True))


def rotated(a: Side, b: Side) -> Joined:
    """Both charts turned into the coordinates of Procrustes."""
    first, second = rotations(a.anchors, b.anchors)
    return (a.rows - first.mean) @ first.scale, (b.rows - second.mean) @ second.scale


def procrustes(a: Side, b: Side) -> Joined:
    """Rotate queries into the gallery's space; both centered on the anchors."""
    fitted = float64.fit_translation(a.anchors, b.anchors, "orthogonal")
    return (a.rows - fitted.mean) @ fitted.scale, b.rows - fitted.offset


def ridge(a: Side, b: Side) -> Joined:
    """The linear map that ridge regression learns from the anchors; both centered.

    Its strength is chosen by the anchors, each left out of the map and of the mean.
    """
    return _translated(a, b), b.rows - b.anchors.mean(axis=0)


def completed(a: Side, b: Side) -> Joined:
    """Both charts side by side, the missing one as ridge predicts it."""
    lengths = [_length(side.anchors - side.anchors.mean(axis=0)) for side in (a, b)]
    centered = [side.rows - side.anchors.mean(axis=0) for side in (a, b)]
    first = centered[0] / lengths[0], _translated(a, b) / lengths[1]
    second = _translated(b, a) / lengths[0], centered[1] / lengths[1]
    return np.concatenate(first, axis=1), np.concatenate(second, axis=1)


def _translated(a: Side, b: Side) -> np.ndarray:
    fitted = float64.fit_translation(a.anchors, b.anchors, "ridge")
    return (a.rows - fitted.mean) @ fitted.scale


def _length(rows: np.ndarray) -> np.floating:
    return np.sqrt(np.mean(np.sum(rows**2, axis=1)))


def whitened_cca(a: Side, b: Side) -> Joined:
    """Whitened CCA; folds of the anchors choose shrinkage and power."""
    return _moved(
        cca.fit(a.anchors, b.anchors, *cca.choose(a.anchors, b.anchors)), a, b
    )


def every_cca(a: Side, b: Side) -> list[Joined]:
    """Whitened CCA with weights, by every shrinkage and power."""
    fits = cca.fit_all(a.anchors, b.anchors)
    return [_moved(maps, a, b) for maps in fits.values()]


def _moved(maps: tuple[Transform, Transform], a: Side, b: Side) -> Joined:
    first, second = maps
    return (a.rows - first.mean) @ first.scale, (b.rows - second.mean) @ second.scale


def consensus(a: Side, b: Side, power: float = 1.0, normalize: bool = False) -> Joined:
    """Consensus coordinates with ridge 1, fitted on the anchors."""
    both = np.ones((2, len(a.anchors)), bool)
    fitted = jatlas.fit_consensus(
        [a.anchors, b.anchors], both, agreement_power=power, normalize=normalize
    )
    return _in_consensus(fitted, a, b)


def chosen_consensus(a: Side, b: Side) -> Joined:
    """Consensus coordinates; ridge and power chosen by folds of the anchors."""
    both = np.ones((2, len(a.anchors)), bool)
    fitted, _ = choose_consensus(
        0, [a.anchors, b.anchors], both, ridges=RIDGES, powers=POWERS
    )
    return _in_consensus(fitted, a, b)


def _in_consensus(fitted: jatlas.Consensus, a: Side, b: Side) -> Joined:
    first, second = (
        jatlas.apply_consensus(fitted, chart, jnp.asarray(side.rows))
        for chart, side in enumerate((a, b))
    )
    return first, second


def atlas(a: Side, b: Side) -> Joined:
    """Rows of the atlas: a chart's cosines to the anchors."""
    return _atlas(a, b)[:2]


def nystroem(a: Side, b: Side) -> Joined:
    """Rows of the atlas, in orthonormal coordinates of its kernel."""
    *rows, of_anchors = _atlas(a, b)
    first, second = (orthonormal(x, of_anchors) for x in rows)
    return first, second


def _atlas(a: Side, b: Side) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Rows of only a's samples, of only b's, and of the anchors."""
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
    "procrustes": Method("Procrustes on the anchors", procrustes, symmetric=False),
    "rotated": Method("Procrustes, both turned", rotated),
    "rotated_unit": Method("Procrustes, both turned, unit rows", rotated, "unit"),
    "procrustes_white": Method(
        "Procrustes, whitened", procrustes, "white", symmetric=False
    ),
    "ridge": Method("ridge map from the anchors", ridge, symmetric=False),
    "completed": Method("ridge maps both ways, side by side", completed),
    "cca": Method("whitened CCA with weights, chosen by folds", whitened_cca),
    "cca_best": Method(
        "whitened CCA with weights, best of 20 in hindsight", every_cca, hindsight=True
    ),
    "atlas": Method("**atlas**, plain", atlas),
    "atlas_centered": Method("**atlas**, centered", atlas, "centered"),
    "atlas_white": Method("**atlas**, whitened", atlas, "white"),
    "atlas_default": Method("**atlas**, whitened, shrinkage 0.5", atlas, "default"),
    "atlas_nystroem": Method("**atlas**, Nystroem", nystroem),
    "atlas_centered_nystroem": Method(
        "**atlas**, centered, Nystroem", nystroem, "centered"
    ),
    "atlas_white_nystroem": Method("**atlas**, whitened, Nystroem", nystroem, "white"),
    "consensus": Method("**consensus**", consensus),
    "consensus_half": Method("**consensus**, power 1/2", partial(consensus, power=0.5)),
    "consensus_unit": Method(
        "**consensus**, unit rows", partial(consensus, normalize=True)
    ),
    "consensus_chosen": Method("**consensus**, chosen by folds", chosen_consensus),
}
