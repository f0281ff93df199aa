"""Consensus coordinates of the charts so far.

The map is fitted on the public samples, which every chart embeds, from the running
moments of their rows. A chart that joins changes the map of every chart before it, and
its moments with these need their rows: of the public samples every chart's embeddings
are kept, as a concatenation keeps them, and the moments are summed anew.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jatlas
from experiments.measures import maps
from jatlas.merging import Consensus
from jatlas.running.consensus import ConsensusState


class Joined(NamedTuple):
    """What the charts so far come to.

    Attributes:
        state: the moments of their rows of the public samples.
        consensus: their maps.
        merged: (K, F), the mean of all charts' coordinates of the K samples.
    """

    state: ConsensusState
    consensus: Consensus
    merged: jax.Array


def join(charts: Sequence[jax.Array], public: np.ndarray, num_features: int) -> Joined:
    """The consensus of these charts.

    Args:
        charts: each chart's embeddings (K, D_m).
        public: (K,), of which samples it is fitted.
        num_features: F at most; fewer where the charts together are not as wide.
    """
    state = moments(charts, public)
    width = min(num_features, sum(state.dimensions))
    consensus = maps.consensus_of(state, width)
    everywhere = jnp.ones((len(charts), len(public)), bool)
    merged = jatlas.merge_consensus(consensus, list(charts), everywhere)
    return Joined(state, consensus, merged)


def moments(charts: Sequence[jax.Array], public: np.ndarray) -> ConsensusState:
    """The running state of the charts' rows of the public samples."""
    rows = [chart[np.flatnonzero(public)] for chart in charts]
    state = jatlas.running.consensus.empty([x.shape[1] for x in rows])
    have = jnp.ones((len(rows), len(rows[0])), bool)
    return jatlas.running.consensus.add(state, rows, have)
