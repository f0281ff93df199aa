"""Consensus coordinates of charts, with and without evidence as one chart more."""

from collections.abc import Sequence
from dataclasses import replace

import jax
import numpy as np

import jatlas
from jatlas import Consensus

RIDGES = (0.3, 1.0, 3.0, 10.0, 30.0)  # to choose from by held-out samples
POWERS = (0.0, 0.5, 1.0, 2.0)


def fit(charts: Sequence[np.ndarray], train: np.ndarray) -> Consensus:
    """All coordinates of these charts, without labels; ridge 1 and power 1.

    Args:
        charts: M arrays (N, D_m).
        train: (N,), the samples to fit on, which every chart embeds.

    Returns:
        Maps in float32, made in float64: LAPACK shares its work out to threads by what
        else runs, and in float32 that shows.
    """
    with jax.enable_x64(True):
        exact = jatlas.fit_consensus(
            [np.float64(x) for x in charts],
            np.ones((len(charts), train.size), bool),
            num_features=sum(x.shape[1] for x in charts),
            where=train,
        )
        return _rescaled(exact, int(train.sum()))


def choose(
    key: jax.Array, charts: Sequence[np.ndarray], train: np.ndarray, width: int
) -> Consensus:
    """As `fit`, with ridge and power chosen on held-out rows."""
    with jax.enable_x64(True):
        exact, _ = jatlas.merging.choose_consensus(
            key,
            [np.float64(x[train]) for x in charts],
            np.ones((len(charts), int(train.sum())), bool),
            ridges=RIDGES,
            powers=POWERS,
            num_features=width,
        )
        return _rescaled(exact, int(train.sum()))


def _rescaled(exact: Consensus, num_samples: int) -> Consensus:
    """In float32, with variance one where all charts agree.

    The variance of a coordinate over samples is 1 / (M S), and the paper's probe adds
    1e-5 to that of a row.
    """
    factor = np.sqrt(num_samples * len(exact.scale))
    weights = jax.tree.map(lambda x: x * factor, exact.weights)
    rescaled = replace(exact, weights=weights)
    return jax.tree.map(lambda x: x.astype(np.float32), rescaled)


def merged(
    fitted: Consensus,
    charts: Sequence[np.ndarray],
    width: int,
    *,
    presence: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """The mean over charts of the first coordinates, (N, width).

    Args:
        fitted: from `fit` or `choose`.
        charts: M arrays (N, D_m).
        width: of the space; all coordinates if there are fewer.
        presence: (M, N); everywhere if None.
        weights: (M, N); all 1 if None.
    """
    if presence is None:
        presence = np.ones((len(charts), len(charts[0])), bool)
    kept = replace(
        fitted,
        weights=jax.tree.map(lambda x: x[..., :width], fitted.weights),
        agreement=fitted.agreement[:width],
    )
    rows = jatlas.merge_consensus(kept, list(charts), presence, weights=weights)
    return np.asarray(rows)
