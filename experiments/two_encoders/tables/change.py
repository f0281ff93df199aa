"""A new model takes over an index of old vectors.

A few of the documents are re-embedded. Queries are embedded by the new model. What they
find is compared with what they would find if every document had been re-embedded.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

import jatlas
from experiments.two_encoders import cca, maps
from experiments.two_encoders.maps import Joined, Side
from experiments.two_encoders.tables import index
from experiments.two_encoders.tables.copies import K
from experiments.two_encoders.tables.index import Index
from jatlas.merging import choose_consensus, score_merge

# By pair: the old encoder and the new one, by their places among the charts.
CHANGES = {"sentences": ("ba", "bc"), "images": ("ab",)}
TITLES = {
    ("sentences", "ba"): "TF-IDF to all-MiniLM-L6-v2",
    ("sentences", "bc"): "TF-IDF of words to TF-IDF of letters",
    ("images", "ab"): "EfficientNet-Lite0 to last block of Lite1",
}
MOST_ANCHORS = 300  # of the plain atlas
METRICS = {
    "recall": f"recall at {K}",
    "found": "documents found",
}
BEFOREHAND = {
    "held_out": "held-out linked documents found",
    "alike": "neighbours in common on re-embedded documents",
}


class Change(NamedTuple):
    """Documents and queries of an index whose model changes.

    Attributes:
        index: the old chart has all N documents, the new one those re-embedded. Its
            queries, by the new model, are first Q documents with the old vector only,
            `index.answers`, then Q texts that are no documents.
        old_queries: (2 Q, D1), the same by the old model.
        nearest: (Q, 10), what the last Q find if every document is re-embedded.
    """

    index: Index
    old_queries: np.ndarray
    nearest: np.ndarray


Rows = tuple[Any, Any]  # of all documents, NaN if not searched, and of all queries


def deal(
    charts: tuple[np.ndarray, np.ndarray],
    num_indexed: int,
    num_known: int,
    num_queries: int,
    seed: int,
) -> Change:
    """Draw documents, those that are re-embedded, and queries.

    Args:
        charts: the old model and the new, (N, D1) and (N, D2), of the same samples.
        num_indexed: how many of these are documents.
        num_known: how many documents are re-embedded.
        num_queries: Q, of either kind.
        seed: draws who is which.
    """
    order = np.random.default_rng(seed).permutation(len(charts[0]))
    old, new = (x[order[: num_indexed + num_queries]] for x in charts)
    presence = np.ones((2, num_indexed), bool)
    presence[1, num_known:] = False
    answers = np.arange(num_known, num_known + num_queries)
    asked = np.r_[answers, num_indexed : num_indexed + num_queries]
    documents = old[:num_indexed], new[:num_indexed]
    similar = _similar(new[num_indexed:], documents[1])
    anchors = np.arange(min(num_known, MOST_ANCHORS))
    return Change(
        Index(documents, presence, new[asked], answers, anchors),
        old[asked],
        _nearest(similar),
    )


def everything(change: Change) -> Rows:
    """Every document is re-embedded."""
    return change.index.charts[1], change.index.queries


def unchanged(change: Change) -> Rows:
    """The old model stays, for queries as well."""
    return change.index.charts[0], change.old_queries


def known_only(change: Change) -> Rows:
    """No document is searched that is not re-embedded."""
    there = change.index.both[:, None]
    return np.where(there, change.index.charts[1], np.nan), change.index.queries


def documents_translated(change: Change, join: Callable[[Side, Side], Joined]) -> Rows:
    """Old vectors are translated into the new model's space.

    Those that are re-embedded are taken as they are.
    """
    (old, new), there = change.index.charts, change.index.both
    turned, real = join(Side(old[there], old), Side(new[there], new))
    queries = change.index.queries - new[there].mean(axis=0)
    return np.where(there[:, None], real, turned), queries


def queries_translated(change: Change, join: Callable[[Side, Side], Joined]) -> Rows:
    """Queries are translated into the old model's space."""
    (old, new), there = change.index.charts, change.index.both
    queries, documents = join(
        Side(new[there], change.index.queries), Side(old[there], old)
    )
    return documents, queries


def of_index(change: Change, merged: Callable[[Index], Rows]) -> Rows:
    """A method of one index of two models."""
    return merged(change.index)


METHODS: dict[str, tuple[str, Callable[[Change], Rows]]] = {
    "everything": ("everything re-embedded", everything),
    "unchanged": ("the old model for queries too", unchanged),
    "known": ("re-embedded documents alone", known_only),
    "procrustes": (
        "Procrustes, documents translated",
        partial(documents_translated, join=maps.procrustes),
    ),
    "procrustes_queries": (
        "Procrustes, queries translated",
        partial(queries_translated, join=maps.procrustes),
    ),
    "ridge": (
        "ridge, documents translated",
        partial(documents_translated, join=maps.ridge),
    ),
    "ridge_queries": (
        "ridge, queries translated",
        partial(queries_translated, join=maps.ridge),
    ),
    "atlas": (
        "**atlas**, plain",
        partial(of_index, merged=partial(index.atlas, space="plain")),
    ),
    "consensus_1": (
        "**consensus**, power 1",
        partial(of_index, merged=partial(index.consensus, power=1.0)),
    ),
}
CHOSEN = "chosen"
TITLE_OF = {key: title for key, (title, _) in METHODS.items()} | {
    CHOSEN: "**consensus**, chosen by held-out documents"
}


def rows(change: Change) -> list[dict[str, Any]]:
    """A row a method and metric, and what is known beforehand."""
    scored = {key: scores(change, *made(change)) for key, (_, made) in METHODS.items()}
    fitted, _ = choose_consensus(
        0, list(change.index.charts), change.index.presence, among="all"
    )
    scored[CHOSEN] = scores(change, *_in_consensus(change.index, fitted))
    scored[CHOSEN] |= beforehand(change.index, fitted)
    return [
        {"method": key, "metric": metric, "value": value}
        for key, values in scored.items()
        for metric, value in values.items()
    ]


def _in_consensus(documents: Index, fitted: jatlas.Consensus) -> Rows:
    merged = jatlas.merge_consensus(fitted, list(documents.charts), documents.presence)
    return merged, jatlas.apply_consensus(fitted, 1, jnp.asarray(documents.queries))


def beforehand(documents: Index, fitted: jatlas.Consensus) -> dict[str, float]:
    """What linked documents say before the merge is used.

    Args:
        documents: of the index.
        fitted: its consensus, whose ridge and power are taken.

    Returns:
        held_out: the share of linked documents, held out from the fit, that the new
        model's row finds among the ten nearest of all documents. alike: the share of
        the ten nearest among linked documents that both models agree about.
    """

    def coordinates(charts: Any, presence: Any, where: Any) -> list[Any]:
        maps_of = jatlas.fit_consensus(
            charts,
            presence,
            where=where,
            ridge=float(fitted.ridge),
            agreement_power=float(fitted.agreement_power),
        )
        return [
            jatlas.apply_consensus(maps_of, chart, jnp.asarray(x))
            for chart, x in enumerate(charts)
        ]

    score = score_merge(
        0, coordinates, list(documents.charts), documents.presence, among="all"
    )
    linked = (jnp.asarray(cca.unit(x[documents.both])) for x in documents.charts)
    return {
        "held_out": float(score.recall_at_10[1, 0]),
        "alike": float(jatlas.metrics.mutual_neighbors(*linked, K)),
    }


def scores(change: Change, documents: Any, queries: Any) -> dict[str, float]:
    """Recall against everything re-embedded, and documents that are found.

    Args:
        change: whose documents they are.
        documents: (N, K), NaN in rows that are not searched.
        queries: (2 Q, K).

    Returns:
        recall: the share of the ten nearest by the new model that are among the ten
        nearest here, over texts that are no documents. found: the share of documents
        with the old vector only that their vector by the new model finds among the ten
        nearest; ties count against it.
    """
    answers = change.index.answers
    similar = _similar(np.asarray(queries), np.asarray(documents))
    known, fresh = similar[: len(answers)], similar[len(answers) :]
    right = known[np.arange(len(answers)), answers][:, None]
    slack = 8 * np.finfo(similar.dtype).eps
    ranks = np.sum(known >= right - slack, axis=1)
    same = _nearest(fresh)[:, :, None] == change.nearest[:, None]
    return {
        "recall": float(same.any(axis=1).mean()),
        "found": float(np.mean(ranks <= K)),
    }


def _similar(queries: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """Cosines, (Q, N), minus infinity for a document of NaN."""
    cosines = cca.unit(np.float32(queries)) @ cca.unit(np.float32(documents)).T
    return np.where(np.isnan(cosines), -np.inf, cosines)


def _nearest(similar: np.ndarray) -> np.ndarray:
    return np.argpartition(-similar, K, axis=1)[:, :K]
