"""What blind spaces are made of: anchors, whitening, coordinates, evidence."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

import jatlas
from experiments.blind.cell import Cell
from experiments.measures import nystroem

SHRINKAGE = 0.3  # of the covariances: of the charts when whitened, and of GCCA's
FOLDS = 4  # of the cross-fitted probe
# How much the evidence counts beside the mean of the charts' kernels.
EVIDENCE = 0.3


def anchors_by_rule(cell: Cell, width: int, key: jax.Array) -> np.ndarray:
    """(A,), drawn at random from the paper's pool: seen by every chart, or by none."""
    return np.asarray(jatlas.choose_anchors(key, cell.pool, width))


def anchors_of_all(cell: Cell, width: int, key: jax.Array) -> np.ndarray:
    """(A,), as many of each class, of all that spaces may be fitted on.

    The paper's rule keeps what a chart knows of an anchor alike in all charts. As
    landmarks of a kernel the anchors need to lie where the samples are: in all classes.
    """
    pool = cell.train | cell.tasks.held_out
    return np.asarray(
        jatlas.choose_anchors(key, pool, width, method="balanced", labels=cell.labels)
    )


def whitened(cell: Cell, rows: Sequence[np.ndarray] | None = None) -> list[np.ndarray]:
    """The charts, each whitened on `rows`, M masks (N,); on all of train if None."""
    where = [cell.train] * len(cell.charts) if rows is None else rows
    return [white(x, own) for x, own in zip(cell.charts, where, strict=True)]


def merged(charts: Sequence[np.ndarray], anchors: np.ndarray) -> jax.Array:
    """(N, A), the plain atlas: every chart embeds every sample."""
    everywhere = np.ones((len(charts), len(charts[0])), bool)
    return jatlas.merge(list(charts), [x[anchors] for x in charts], everywhere)


def orthonormal(rows: jax.Array, anchors: np.ndarray) -> np.ndarray:
    """(N, A), the same in Nystroem's coordinates."""
    return np.asarray(nystroem.orthonormal(rows, rows[anchors]))


def side_by_side(charts: Sequence[np.ndarray]) -> np.ndarray:
    """(N, M D), unit rows of every chart: what the evidence is learnt from."""
    unit = [
        x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in charts
    ]
    return np.concatenate(unit, axis=1)


def evidence(cell: Cell, rows: np.ndarray, key: jax.Array) -> np.ndarray:
    """(N, C), square roots of class probabilities, by probes that have not learnt x."""
    fitted = jatlas.probes.fit_crossfit(
        key,
        rows,
        cell.labels,
        cell.num_classes,
        folds=FOLDS,
        where=cell.train,
        validation=cell.stop,
    )
    found = jatlas.probes.crossfit_probabilities(fitted, rows, fitted.fold)
    return np.sqrt(np.asarray(found))


def with_evidence(
    charts: Sequence[np.ndarray],
    roots: np.ndarray,
    anchor_roots: np.ndarray,
    anchors: np.ndarray,
    presence: np.ndarray | None = None,
) -> jax.Array:
    """(N, A), the atlas of the charts and of the evidence, which is a chart more.

    Args:
        charts: M arrays (N, D).
        roots: (N, C), from `evidence`.
        anchor_roots: (A, C), those of the anchors.
        anchors: (A,).
        presence: (M, N); everywhere if None. The charts together always weigh the same.
    """
    if presence is None:
        presence = np.ones((len(charts), len(roots)), bool)
    shares = presence / presence.sum(axis=0)
    weights = np.float32(np.vstack([shares, np.full((1, len(roots)), EVIDENCE)]))
    return jatlas.merge(
        [*charts, roots],
        [*(x[anchors] for x in charts), anchor_roots],
        np.vstack([presence, np.ones((1, len(roots)), bool)]),
        weights=weights,
    )


def white(x: np.ndarray, where: np.ndarray) -> np.ndarray:
    """(N, D), whitened on these rows, (N,)."""
    fitted = jatlas.fit_whiten(jnp.asarray(x), where=where, shrinkage=SHRINKAGE)
    return np.asarray(jatlas.apply_transform(fitted, x))
