"""Accuracy of a fixed probe when only some charts embed a sample.

As where clients have a chart each, or modalities may be missing. The probe learns from
rows of all charts, or from rows of charts drawn anew for each sample, which a presence
mask makes no harder to merge.
"""

from collections.abc import Callable
from itertools import product
from typing import Any

import jax
import numpy as np

import jatlas
from experiments.blind import aligned, consensus, evidence, scores, spaces
from experiments.blind.cell import Cell
from experiments.measures import guesses, maps
from experiments.runs import seeds
from experiments.runs.terminal import Report

# (M, N), which charts embed a sample, to (N, K), its rows.
Rows = Callable[[np.ndarray], np.ndarray]
LEARNED_FROM = {"all": "all charts", "some": "charts drawn for each sample"}
METHODS = {
    "mean": "mean of embeddings",
    "concat": "concatenation, zeros where absent",
    "concat_white": "whitened side by side, zeros where absent",
    "gcca": "generalised CCA, mean of those present",
    "procrustes": "generalised Procrustes, mean of those present",
    "atlas": "atlas",
    "white_nystroem": "atlas, whitened, Nystroem",
    "evidence": "atlas with evidence",
    "consensus": "consensus",
    "consensus_full": "consensus, M D wide",
    "consensus_evidence": "consensus with evidence",
    "evidence_alone": "the evidence alone",
}


def measured(
    cell: Cell, width: int, key: jax.Array, report: Report
) -> list[dict[str, Any]]:
    """Test accuracies by method, probe and set of charts.

    Args:
        cell: charts and samples.
        width: of the atlases.
        key: of anchors, evidence, probes, and of which charts embed what.
        report: called with what is being done, and how much of it is done.
    """
    num_charts, size = len(cell.charts), cell.labels.size
    everywhere = np.ones((num_charts, size), bool)
    learned_from = {"all": everywhere, "some": drawn(num_charts, size, key)}
    result = []
    for done, (learned, presence) in enumerate(learned_from.items()):
        makers = _makers(cell, width, key, presence)
        for number, (method, rows) in enumerate(makers.items()):
            report(f"{method}, of {learned}", (done + number / len(makers)) / 2)
            space = rows(presence)
            probe = scores.fit(cell, space, key)
            for charts in subsets(num_charts):
                tested = rows(np.broadcast_to(charts[:, None], everywhere.shape))
                logits = np.asarray(jatlas.probe_logits(probe, tested))
                guess = guesses.likely(logits)
                result.append(
                    {
                        "method": method,
                        "learnt_from": learned,
                        "charts": np.flatnonzero(charts).tolist(),
                        "value": scores.accuracy(cell, guess, cell.test),
                    }
                )
    return result


def subsets(num_charts: int) -> list[np.ndarray]:
    """All nonempty sets of charts, each (M,), by size."""
    every = [np.array(s) for s in product([False, True], repeat=num_charts)]
    return sorted((s for s in every if s.any()), key=lambda s: int(s.sum()))


def drawn(num_charts: int, size: int, key: jax.Array) -> np.ndarray:
    """(M, N), random charts for every sample.

    The number of charts, from 1 to M, is drawn too.
    """
    rng = seeds.rng(seeds.integer(key), seeds.PRESENCE)
    count = rng.integers(1, num_charts + 1, size)
    return rng.random((num_charts, size)).argsort(axis=0).argsort(axis=0) < count


def _makers(
    cell: Cell, width: int, key: jax.Array, learned: np.ndarray
) -> dict[str, Rows]:
    """Each method's rows by presence.

    The evidence is learned from the charts that have a sample in `learned`. What needs
    no labels, whitening, generalised CCA, Procrustes and consensus, is fitted on all
    training rows, and all charts embed the anchors.
    """
    rule = spaces.anchors_by_rule(cell, width, key)
    anchors = spaces.anchors_of_all(cell, width, key)
    white, beside = cell.white, cell.beside
    everywhere = np.ones_like(learned)

    def mean(charts: list[np.ndarray], presence: np.ndarray) -> np.ndarray:
        both = zip(charts, presence, strict=True)
        total = sum(np.where(mask[:, None], x, 0) for x, mask in both)
        return np.float32(total / presence.sum(axis=0)[:, None])

    def merged(
        charts: list[np.ndarray], of: np.ndarray, presence: np.ndarray
    ) -> jax.Array:
        return jatlas.merge(charts, [x[of] for x in charts], presence)

    def present(charts: np.ndarray, presence: np.ndarray) -> np.ndarray:
        parts = np.split(charts, len(presence), axis=1)
        both = zip(parts, presence, strict=True)
        return np.concatenate(
            [np.where(mask[:, None], x, 0) for x, mask in both], axis=1
        )

    # The anchors are embedded by all charts, whoever embeds a sample: the kernel of the
    # anchors, and so the coordinates, are the same for every set of charts.
    root = maps.fit_nystroem(merged(white, anchors, everywhere)[anchors])
    everyone = learned.all()
    fitted = cell.crossfit(key) if everyone else cell.fit(key, present(beside, learned))
    all_know = evidence.roots(fitted, beside)
    with_all = spaces.with_evidence(white, all_know, all_know[anchors], anchors)
    evident = maps.fit_nystroem(with_all[anchors])

    agreed = (
        cell.evident_consensus(key)
        if everyone
        else consensus.fit([*cell.charts, all_know], cell.train)
    )

    def evident_rows(presence: np.ndarray) -> np.ndarray:
        roots = evidence.roots(fitted, present(beside, presence))
        rows = spaces.with_evidence(white, roots, all_know[anchors], anchors, presence)
        return np.asarray(jatlas.apply_transform(evident, rows))

    def agreed_rows(presence: np.ndarray) -> np.ndarray:
        roots = evidence.roots(fitted, present(beside, presence))
        of = agreed, cell.charts, roots, width
        return spaces.consensus_with_evidence(*of, presence)

    def consensus_rows(presence: np.ndarray, width: int) -> np.ndarray:
        of = cell.consensus, cell.charts, width
        return consensus.merged(*of, presence=presence)

    side_by_side = np.concatenate(cell.charts, axis=1)
    canonical, turned = aligned.gcca(cell, width), aligned.procrustes(cell)
    return {
        "mean": lambda presence: mean(cell.charts, presence),
        "concat": lambda presence: present(side_by_side, presence),
        "concat_white": lambda presence: present(beside, presence),
        "gcca": lambda presence: mean(canonical, presence),
        "procrustes": lambda presence: mean(turned, presence),
        "atlas": lambda presence: np.asarray(merged(cell.charts, rule, presence)),
        "white_nystroem": lambda presence: np.asarray(
            jatlas.apply_transform(root, merged(white, anchors, presence))
        ),
        "evidence": evident_rows,
        "consensus": lambda presence: consensus_rows(presence, width),
        "consensus_full": lambda presence: consensus_rows(
            presence, side_by_side.shape[1]
        ),
        "consensus_evidence": agreed_rows,
        "evidence_alone": lambda presence: evidence.roots(
            fitted, present(beside, presence)
        ),
    }
