"""What blind spaces are made of: anchors, coordinates, evidence beside the charts."""

from collections.abc import Sequence

import jax
import numpy as np

import jatlas
from experiments.blind import consensus
from experiments.blind.cell import Cell
from experiments.measures import nystroem
from jatlas import Consensus

# How much the evidence counts beside the mean of the charts' kernels.
EVIDENCE = 0.3


def anchors_by_rule(cell: Cell, width: int, key: jax.Array) -> np.ndarray:
    """(A,), drawn at random from the paper's anchor pool.

    Each is seen by every chart, or by none.
    """
    return np.asarray(jatlas.choose_anchors(key, cell.pool, width))


def anchors_of_all(cell: Cell, width: int, key: jax.Array) -> np.ndarray:
    """(A,), as many of each class, of all fitting samples.

    The paper's rule keeps what a chart knows of an anchor alike in all charts. As
    landmarks of a kernel the anchors need to lie where the samples are: in all classes.
    """
    pool = cell.train | cell.tasks.held_out
    return np.asarray(
        jatlas.choose_anchors(key, pool, width, method="balanced", labels=cell.labels)
    )


def merged(charts: Sequence[np.ndarray], anchors: np.ndarray) -> jax.Array:
    """(N, A), the plain atlas: every chart embeds every sample."""
    everywhere = np.ones((len(charts), len(charts[0])), bool)
    return jatlas.merge(list(charts), [x[anchors] for x in charts], everywhere)


def orthonormal(rows: jax.Array, anchors: np.ndarray) -> np.ndarray:
    """(N, A), the same in Nystroem's coordinates."""
    return np.asarray(nystroem.orthonormal(rows, rows[anchors]))


def with_evidence(
    charts: Sequence[np.ndarray],
    roots: np.ndarray,
    anchor_roots: np.ndarray,
    anchors: np.ndarray,
    presence: np.ndarray | None = None,
) -> jax.Array:
    """(N, A), the atlas of the charts and the evidence.

    The evidence is one more chart.

    Args:
        charts: M arrays (N, D).
        roots: (N, C), the evidence.
        anchor_roots: (A, C), those of the anchors.
        anchors: (A,).
        presence: (M, N); everywhere if None. The charts together always weigh the same.
    """
    if presence is None:
        presence = np.ones((len(charts), len(roots)), bool)
    everyone, weights = beside_charts(presence)
    return jatlas.merge(
        [*charts, roots],
        [*(x[anchors] for x in charts), anchor_roots],
        everyone,
        weights=weights,
    )


def beside_charts(presence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Presence and weights, (M + 1, N) each, evidence last.

    Args:
        presence: (M, N), of the charts, which together weigh 1 for every sample.
    """
    shares = presence / presence.sum(axis=0)
    always = np.ones((1, presence.shape[1]))
    weights = np.float32(np.vstack([shares, EVIDENCE * always]))
    return np.vstack([presence, always.astype(bool)]), weights


def consensus_with_evidence(
    fitted: Consensus,
    charts: Sequence[np.ndarray],
    roots: np.ndarray,
    width: int,
    presence: np.ndarray | None = None,
) -> np.ndarray:
    """(N, width), the consensus of the charts and the evidence.

    Args:
        fitted: of M + 1 charts, of which the evidence is the last.
        charts: M arrays (N, D).
        roots: (N, C), the evidence.
        width: of the space.
        presence: (M, N); everywhere if None.
    """
    if presence is None:
        presence = np.ones((len(charts), len(roots)), bool)
    everyone, weights = beside_charts(presence)
    return consensus.merged(
        fitted, [*charts, roots], width, presence=everyone, weights=weights
    )
