"""One index of two models, most documents being in one only.

Queries are embedded by one model; their documents, which only the other model has
embedded, must be found among all of them.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jatlas
from experiments.two_encoders import cca
from experiments.two_encoders.maps import POWERS, RIDGES, rotations
from experiments.two_encoders.tables.copies import K
from jatlas.merging import Transform, choose_consensus


class Index(NamedTuple):
    """Documents in two charts, old and new, and queries by the new.

    Attributes:
        charts: (N, D1) and (N, D2); rows of absent documents are not looked at.
        presence: (2, N), boolean.
        queries: (Q, D2), the new chart's embeddings of documents that have the old one.
        answers: (Q,), those documents.
        anchors: (A,), documents that are in both charts.
    """

    charts: tuple[np.ndarray, np.ndarray]
    presence: np.ndarray
    queries: np.ndarray
    answers: np.ndarray
    anchors: np.ndarray

    @property
    def both(self) -> np.ndarray:
        """(N,), which documents are in both charts."""
        return self.presence.all(axis=0)


class Counts(NamedTuple):
    """Documents in the old chart only, both, and the new only."""

    old: int
    both: int
    new: int


Merged = tuple[Any, Any]  # rows of all documents (N, K) and of the queries (Q, K)
FIT = {
    "plain": None,
    "centered": jatlas.fit_center,
    "white": jatlas.fit_whiten,
}


def deal(
    charts: tuple[np.ndarray, np.ndarray],
    counts: Counts,
    num_queries: int,
    num_anchors: int,
    seed: int,
) -> Index:
    """Deal documents to charts, and queries for some old ones.

    Args:
        charts: of the same samples, (N, D1) and (N, D2), or more than N: the old model
            and the new.
        counts: how many documents have which.
        num_queries: of those that have the old model only.
        num_anchors: of those that have both.
        seed: draws who is which.
    """
    order = np.random.default_rng(seed).permutation(len(charts[0]))[: sum(counts)]
    old, new = (x[order] for x in charts)
    presence = np.zeros((2, len(order)), bool)
    presence[0, : counts.old + counts.both] = True
    presence[1, counts.old :] = True
    answers = np.arange(num_queries)
    anchors = np.arange(counts.old, counts.old + num_anchors)
    return Index((old, new), presence, new[answers], answers, anchors)


def atlas(index: Index, space: str, nystroem: str = "") -> Merged:
    """The atlas, perhaps in Nystroem coordinates.

    Args:
        index: whose documents they are.
        space: "plain", "centered" or "white" charts.
        nystroem: "mean" for the map of the mean kernel, "by_chart" for that of both
            charts' kernels.
    """
    charts, queries = _transformed(index, space)
    anchors = [x[index.anchors] for x in charts]
    rows = jatlas.merge(charts, anchors, index.presence)
    asked = jatlas.relativize(queries, anchors[1])
    if not nystroem:
        return rows, asked
    kernels = [jatlas.relativize(x, x) for x in anchors]
    given = {"by_chart": jnp.stack(kernels)} if nystroem == "by_chart" else {}
    coordinates = jatlas.fit_nystroem(rows[index.anchors], **given)
    return tuple(jatlas.apply_transform(coordinates, x) for x in (rows, asked))


def _transformed(index: Index, space: str) -> tuple[list[np.ndarray], np.ndarray]:
    """Both charts and the queries, transformed as fitted on each chart."""
    fit = FIT[space]
    if fit is None:
        return list(index.charts), index.queries
    fitted = [
        fit(x, where=have) for x, have in zip(index.charts, index.presence, strict=True)
    ]
    charts = [
        np.asarray(jatlas.apply_transform(*each))
        for each in zip(fitted, index.charts, strict=True)
    ]
    return charts, np.asarray(jatlas.apply_transform(fitted[1], index.queries))


def procrustes(index: Index, unit: bool = False) -> Merged:
    """Both turned into the coordinates of Procrustes on the documents of both."""
    if unit:
        charts = tuple(cca.unit(x) for x in index.charts)
        index = index._replace(charts=charts, queries=cca.unit(index.queries))
    return _mean(index, rotations(*(x[index.both] for x in index.charts)))


def whitened_cca(index: Index) -> Merged:
    """Whitened CCA; folds of shared documents choose shrinkage and power."""
    shared = [x[index.both] for x in index.charts]
    return _mean(index, cca.fit(*shared, *cca.choose(*shared)))


def _mean(index: Index, maps: Sequence[Transform]) -> Merged:
    """The mean over the charts that have a document."""
    each = zip(index.charts, maps, strict=True)
    rows = [(x - chart_map.mean) @ chart_map.scale for x, chart_map in each]
    merged = jatlas.masked_mean(jnp.stack(rows), index.presence)
    return merged, (index.queries - maps[1].mean) @ maps[1].scale


def consensus(index: Index, power: float, normalize: bool = False) -> Merged:
    """Consensus coordinates with ridge 1, fitted on the documents of both."""
    shared = [x[index.both] for x in index.charts]
    have = np.ones((2, len(shared[0])), bool)
    fitted = jatlas.fit_consensus(
        shared, have, agreement_power=power, normalize=normalize
    )
    return _in_consensus(index, fitted)


def chosen_consensus(index: Index) -> Merged:
    """Ridge and power chosen by folds of the documents of both.

    Of those held out one chart is hidden, and they are looked for among all documents.
    """
    fitted, _ = choose_consensus(
        0,
        list(index.charts),
        index.presence,
        ridges=RIDGES,
        powers=POWERS,
        among="all",
    )
    return _in_consensus(index, fitted)


def _in_consensus(index: Index, fitted: jatlas.Consensus) -> Merged:
    rows = jatlas.merge_consensus(fitted, list(index.charts), index.presence)
    return rows, jatlas.apply_consensus(fitted, 1, jnp.asarray(index.queries))


METHODS = {
    "atlas": ("**atlas**, plain", partial(atlas, space="plain")),
    "atlas_centered": ("**atlas**, centered", partial(atlas, space="centered")),
    "atlas_white": ("**atlas**, whitened", partial(atlas, space="white")),
    "nystroem": (
        "**atlas**, Nystroem of the mean kernel",
        partial(atlas, space="plain", nystroem="mean"),
    ),
    "nystroem_by_chart": (
        "**atlas**, Nystroem by chart",
        partial(atlas, space="plain", nystroem="by_chart"),
    ),
    "nystroem_centered": (
        "**atlas**, centered, Nystroem by chart",
        partial(atlas, space="centered", nystroem="by_chart"),
    ),
    "nystroem_white": (
        "**atlas**, whitened, Nystroem by chart",
        partial(atlas, space="white", nystroem="by_chart"),
    ),
    "procrustes": ("Procrustes", procrustes),
    "procrustes_unit": ("Procrustes, unit rows", partial(procrustes, unit=True)),
    "cca": ("whitened CCA with weights, chosen by folds", whitened_cca),
    "consensus_1": ("**consensus**, power 1", partial(consensus, power=1.0)),
    "consensus_2": ("**consensus**, power 2", partial(consensus, power=2.0)),
    "consensus_3": ("**consensus**, power 3", partial(consensus, power=3.0)),
    "consensus_unit": (
        "**consensus**, power 2, unit rows",
        partial(consensus, power=2.0, normalize=True),
    ),
    "chosen_all": (
        "**consensus**, chosen by folds, among all documents",
        chosen_consensus,
    ),
}
METRICS = {
    "mrr": "mean reciprocal rank",
    f"recall_{K}": f"recall at {K}",
    "old": "old only among the ten nearest",
    "both": "both",
    "new": "new only",
}


def rows(index: Index) -> list[dict[str, Any]]:
    """A row a method and metric."""
    return [
        {"method": key, "metric": metric, "value": value}
        for key, (_, merged) in METHODS.items()
        for metric, value in scores(index, *merged(index)).items()
    ]


def scores(index: Index, documents: Any, queries: Any) -> dict[str, float]:
    """How documents are found, and which ones stand among the ten nearest.

    A tie counts against the query.

    Args:
        index: whose documents they are.
        documents: (N, K), all of them in common coordinates.
        queries: (Q, K), in these too.
    """
    ranks, nearest = _ranked(
        jnp.asarray(documents), jnp.asarray(queries), jnp.asarray(index.answers)
    )
    ranks, (old, new) = np.asarray(ranks), index.presence
    kinds = {"old": old & ~new, "both": old & new, "new": new & ~old}
    return {
        "mrr": float(np.mean(1 / ranks)),
        f"recall_{K}": float(np.mean(ranks <= K)),
        **{name: float(np.mean(kind[nearest])) for name, kind in kinds.items()},
    }


@jax.jit
def _ranked(
    documents: jax.Array, queries: jax.Array, answers: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Ranks of the answers, (Q,), and the nearest documents, (Q, K)."""
    rows, asked = (
        x / jnp.maximum(jnp.linalg.norm(x, axis=1, keepdims=True), 1e-30)
        for x in (documents, queries)
    )
    similar = jnp.matmul(asked, rows.T, precision="highest")
    right = jnp.take_along_axis(similar, answers[:, None], axis=1)
    slack = 8 * jnp.finfo(similar.dtype).eps
    ahead = jnp.sum(similar >= right - slack, axis=1)
    return ahead, jax.lax.top_k(similar, K)[1]


def fair(counts: Counts) -> dict[str, float]:
    """The share of each kind of document among all."""
    return dict(
        zip(("old", "both", "new"), np.divide(counts, sum(counts)), strict=True)
    )


def synthetic(num_documents: int) -> tuple[np.ndarray, np.ndarray]:
    """24 hidden factors through two noisy random networks."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(num_documents, 24))

    def network(width: int) -> np.ndarray:
        inner = np.tanh(hidden @ rng.normal(size=(24, 2 * width)) / np.sqrt(24))
        outer = inner @ rng.normal(size=(2 * width, width)) / np.sqrt(2 * width)
        return np.float32(outer + 0.1 * rng.normal(size=outer.shape))

    return network(384), network(768)
