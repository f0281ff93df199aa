"""The spaces that are compared when nothing is known of a sample."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from cca_zoo.linear import GCCA
from scipy.linalg import orthogonal_procrustes
from sklearn.decomposition import PCA

import jatlas
from experiments.blind.cell import Cell

SHRINKAGE = 0.3  # of the covariances: of the charts when whitened, and of GCCA's
FOLDS = 4  # of the cross-fitted probe
# How much the evidence counts beside the mean of the charts' kernels.
EVIDENCE = 0.3
_ROUNDS = 10  # of Procrustes: the mean then moves by less than 1e-4 of its length


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
    return [_white(x, own) for x, own in zip(cell.charts, where, strict=True)]


def merged(charts: Sequence[np.ndarray], anchors: np.ndarray) -> jax.Array:
    """(N, A), the plain atlas: every chart embeds every sample."""
    everywhere = np.ones((len(charts), len(charts[0])), bool)
    return jatlas.merge(list(charts), [x[anchors] for x in charts], everywhere)


def orthonormal(rows: jax.Array, anchors: np.ndarray) -> np.ndarray:
    """(N, A), the same in Nystroem's coordinates."""
    return np.asarray(jatlas.apply_transform(jatlas.nystroem(rows[anchors]), rows))


def side_by_side(charts: Sequence[np.ndarray]) -> np.ndarray:
    """(N, M D), unit rows of every chart: what the evidence is learnt from."""
    unit = [
        x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in charts
    ]
    return np.concatenate(unit, axis=1)


def evidence(cell: Cell, rows: np.ndarray, key: jax.Array) -> np.ndarray:
    """(N, C), square roots of class probabilities, by probes that have not learnt x."""
    fitted = jatlas.crossfit_probe(
        key,
        rows,
        cell.labels,
        cell.num_classes,
        folds=FOLDS,
        where=cell.train,
        validation=cell.stop,
    )
    found = jatlas.crossfit_probabilities(fitted, rows, fitted.fold)
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


def _white(x: np.ndarray, where: np.ndarray) -> np.ndarray:
    fitted = jatlas.fit_whiten(jnp.asarray(x), where=where, shrinkage=SHRINKAGE)
    return np.asarray(jatlas.apply_transform(fitted, x))


def _relative(cell: Cell, width: int, key: jax.Array) -> np.ndarray:
    anchors = anchors_by_rule(cell, width, key)
    return np.asarray(jatlas.relativize(cell.reference, cell.reference[anchors]))


def _atlas(cell: Cell, width: int, key: jax.Array) -> np.ndarray:
    return np.asarray(merged(cell.charts, anchors_by_rule(cell, width, key)))


def _atlas_white(cell: Cell, width: int, key: jax.Array) -> np.ndarray:
    charts = whitened(cell, cell.tasks.seen)
    return np.asarray(merged(charts, anchors_by_rule(cell, width, key)))


def _nystroem(cell: Cell, width: int, key: jax.Array) -> np.ndarray:
    anchors = anchors_by_rule(cell, width, key)
    return orthonormal(merged(cell.charts, anchors), anchors)


def _white_nystroem(cell: Cell, width: int, key: jax.Array) -> np.ndarray:
    anchors = anchors_of_all(cell, width, key)
    return orthonormal(merged(whitened(cell), anchors), anchors)


def _evidence_atlas(cell: Cell, width: int, key: jax.Array) -> np.ndarray:
    charts, anchors = whitened(cell), anchors_of_all(cell, width, key)
    roots = evidence(cell, side_by_side(charts), key)
    return orthonormal(with_evidence(charts, roots, roots[anchors], anchors), anchors)


def _evidence_alone(cell: Cell, width: int, key: jax.Array) -> np.ndarray:
    return evidence(cell, side_by_side(whitened(cell)), key)


def _end_to_end_evidence(cell: Cell, width: int, key: jax.Array) -> np.ndarray:
    unit = side_by_side([cell.reference])
    return np.concatenate([unit, evidence(cell, unit, key)], axis=1)


def _pca(cell: Cell, width: int, key: jax.Array) -> np.ndarray:
    rows = np.concatenate(cell.charts, axis=1)
    seed = int(jax.random.randint(key, (), 0, 2**31 - 1))
    fitted = PCA(min(width, rows.shape[1]), random_state=seed).fit(rows[cell.train])
    return np.float32(fitted.transform(rows))


def _gcca(cell: Cell, width: int, key: jax.Array) -> np.ndarray:
    """The mean of what generalised CCA (MAXVAR) makes of the charts; at most D wide."""
    width = min(width, *(x.shape[1] for x in cell.charts))
    charts = [_centred(x, cell.train) for x in cell.charts]
    fitted = GCCA(width, shrinkage=SHRINKAGE).fit([x[cell.train] for x in charts])
    return np.float32(np.mean(fitted.transform(charts), axis=0))


def _procrustes(cell: Cell, width: int, key: jax.Array) -> np.ndarray:
    """The mean of the charts, each turned towards it."""
    charts = [_centred(x, cell.train) for x in cell.charts]
    # Rotations depend on the inner products of features alone. A root of those has
    # M D rows in place of N.
    beside = np.hstack([x[cell.train] for x in charts])
    values, vectors = np.linalg.eigh(beside.T @ beside)
    root = np.sqrt(np.maximum(values, 0))[:, None] * vectors.T
    few = np.split(root, len(charts), axis=1)
    mean = few[0]
    for _ in range(_ROUNDS):
        turns = [orthogonal_procrustes(x, mean)[0] for x in few]
        mean = np.mean([x @ turn for x, turn in zip(few, turns, strict=True)], axis=0)
    turned = [x @ turn for x, turn in zip(charts, turns, strict=True)]
    return np.float32(np.mean(turned, axis=0))


def _centred(x: np.ndarray, where: np.ndarray) -> np.ndarray:
    """In float64, with mean 0 and mean variance 1 on these rows."""
    rest = np.float64(x) - np.float64(x)[where].mean(axis=0)
    return rest / np.sqrt(np.mean(rest[where] ** 2))


METHODS: dict[str, Method] = {
    "end_to_end": Method("end-to-end", lambda cell, width, key: cell.reference),
    "end_to_end_rel": Method("end-to-end, relative", _relative),
    "end_to_end_white": Method(
        "end-to-end, whitened",
        lambda cell, width, key: _white(cell.reference, cell.train),
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
    "evidence_alone": Method("the evidence alone", _evidence_alone),
    "end_to_end_evidence": Method("end-to-end with its evidence", _end_to_end_evidence),
}
# Those that are drawn as accuracy against width.
CURVES = ("concat_pca", "atlas", "nystroem", "white_nystroem", "evidence")
