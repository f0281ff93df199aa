"""The spaces compared without an oracle, by name."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from sklearn.decomposition import PCA

import jatlas
from experiments.blind import aligned, consensus, evidence, spaces
from experiments.blind.cell import Cell
from experiments.runs import seeds


class Method(NamedTuple):
    """A way to one space.

    Attributes:
        title: in words.
        make: (cell, width, key) to (N, width). Some have a width of their own, and do
            not look at the one that is asked for.
        wide: whether it is also made as wide as all charts side by side.
    """

    title: str
    make: Callable[[Cell, int, jax.Array], np.ndarray]
    wide: bool = False


def _relative(cell: Cell, width: int, key: jax.Array) -> np.ndarray:
    anchors = spaces.anchors_by_rule(cell, width, key)
    return np.asarray(jatlas.relativize(cell.reference, cell.reference[anchors]))


def _atlas(cell: Cell, width: int, key: jax.Array) -> np.ndarray:
    return np.asarray(
        spaces.merged(cell.charts, spaces.anchors_by_rule(cell, width, key))
    )


def _atlas_white(cell: Cell, width: int, key: jax.Array) -> np.ndarray:
    anchors = spaces.anchors_by_rule(cell, width, key)
    return np.asarray(spaces.merged(cell.white_by_task, anchors))


def _nystroem(cell: Cell, width: int, key: jax.Array) -> np.ndarray:
    anchors = spaces.anchors_by_rule(cell, width, key)
    return spaces.orthonormal(spaces.merged(cell.charts, anchors), anchors)


def _white_nystroem(cell: Cell, width: int, key: jax.Array) -> np.ndarray:
    anchors = spaces.anchors_of_all(cell, width, key)
    return spaces.orthonormal(spaces.merged(cell.white, anchors), anchors)


def _evidence_atlas(cell: Cell, width: int, key: jax.Array) -> np.ndarray:
    anchors, roots = spaces.anchors_of_all(cell, width, key), _evidence(cell, key)
    return spaces.orthonormal(
        spaces.with_evidence(cell.white, roots, roots[anchors], anchors), anchors
    )


def _evidence_alone(cell: Cell, width: int, key: jax.Array) -> np.ndarray:
    return _evidence(cell, key)


def _evidence(cell: Cell, key: jax.Array) -> np.ndarray:
    return evidence.roots(cell.crossfit(key), cell.beside)


def _end_to_end_evidence(cell: Cell, width: int, key: jax.Array) -> np.ndarray:
    unit = evidence.side_by_side([cell.reference])
    roots = evidence.roots(cell.fit(key, unit), unit)
    return np.concatenate([unit, roots], axis=1)


def _gcca(cell: Cell, width: int, key: jax.Array) -> np.ndarray:
    return np.mean(aligned.gcca(cell, width), axis=0)


def _procrustes(cell: Cell, width: int, key: jax.Array) -> np.ndarray:
    return np.mean(aligned.procrustes(cell), axis=0)


def _consensus(cell: Cell, width: int, key: jax.Array) -> np.ndarray:
    return consensus.merged(cell.consensus, cell.charts, width)


def _consensus_chosen(cell: Cell, width: int, key: jax.Array) -> np.ndarray:
    chosen = consensus.choose(key, cell.charts, cell.train, width)
    return consensus.merged(chosen, cell.charts, width)


def _consensus_evidence(cell: Cell, width: int, key: jax.Array) -> np.ndarray:
    return spaces.consensus_with_evidence(
        cell.evident_consensus(key), cell.charts, _evidence(cell, key), width
    )


def _pca(cell: Cell, width: int, key: jax.Array) -> np.ndarray:
    rows = np.concatenate(cell.charts, axis=1)
    seed = seeds.integer(seeds.fold(key, seeds.PCA))
    fitted = PCA(min(width, rows.shape[1]), random_state=seed).fit(rows[cell.train])
    return np.float32(fitted.transform(rows))


METHODS: dict[str, Method] = {
    "end_to_end": Method("end-to-end", lambda cell, width, key: cell.reference),
    "end_to_end_rel": Method("end-to-end, relative", _relative),
    "end_to_end_white": Method(
        "end-to-end, whitened",
        lambda cell, width, key: evidence.white(cell.reference, cell.train),
    ),
    "mean": Method(
        "mean of embeddings", lambda cell, width, key: np.mean(cell.charts, axis=0)
    ),
    "concat": Method(
        "concatenation",
        lambda cell, width, key: np.concatenate(cell.charts, axis=1),
    ),
    "concat_pca": Method("concatenation, PCA", _pca),
    "gcca": Method("generalised CCA", _gcca),
    "procrustes": Method("generalised Procrustes", _procrustes),
    "atlas": Method("atlas", _atlas, wide=True),
    "atlas_white": Method("atlas, whitened by own task", _atlas_white, wide=True),
    "nystroem": Method("atlas, Nystroem", _nystroem, wide=True),
    "white_nystroem": Method("atlas, whitened, Nystroem", _white_nystroem, wide=True),
    "evidence": Method("atlas with evidence", _evidence_atlas, wide=True),
    "consensus": Method("consensus", _consensus, wide=True),
    "consensus_chosen": Method("consensus, ridge and power chosen", _consensus_chosen),
    "consensus_evidence": Method(
        "consensus with evidence", _consensus_evidence, wide=True
    ),
    "evidence_alone": Method("the evidence alone", _evidence_alone),
    "end_to_end_evidence": Method("end-to-end with its evidence", _end_to_end_evidence),
}
# Those that are drawn as accuracy against width.
CURVES = (
    "concat_pca",
    "atlas",
    "nystroem",
    "white_nystroem",
    "evidence",
    "consensus",
)
