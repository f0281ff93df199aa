"""Maps fitted in float64, which two runs give with the same bits.

LAPACK shares its work out to threads by what else runs. In float32 that shows in the
last digits of a map; in float64 it is rounded away.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

import jatlas
from jatlas.merging import Consensus, Transform
from jatlas.running.consensus import ConsensusState

# Fixed before anything was measured: what `fit_consensus` does by itself.
CONSENSUS = {"ridge": 1.0, "agreement_power": 1.0}


def fit_nystroem(kernel: jax.Array | np.ndarray) -> Transform:
    """`jatlas.fit_nystroem` of the anchors' own rows (A, A), in their dtype."""
    with jax.enable_x64(True):
        return _rounded(jatlas.fit_nystroem(np.asarray(kernel, np.float64)), kernel)


def fit_whiten(
    x: jax.Array | np.ndarray, *, where: np.ndarray | None = None, shrinkage: float
) -> Transform:
    """`jatlas.fit_whiten` of embeddings (N, D), in their dtype."""
    wide = np.asarray(x, np.float64)
    with jax.enable_x64(True):
        fitted = jatlas.fit_whiten(wide, where=where, shrinkage=shrinkage)
        return _rounded(fitted, x)


def fit_translation(source: np.ndarray, target: np.ndarray, method: str) -> Transform:
    """`jatlas.fit_translation` of paired rows (N, D) and (N, K), in their dtype."""
    with jax.enable_x64(True):
        wide = (np.asarray(rows, np.float64) for rows in (source, target))
        return _rounded(jatlas.fit_translation(*wide, method=method), source)


def fit_consensus(embeddings: Sequence[np.ndarray], presence: np.ndarray) -> Consensus:
    """`jatlas.fit_consensus` of M charts (N, D_m), in float32.

    Raises:
        ValueError: if no chain of linked samples joins all charts, or one has too few.
    """
    with jax.enable_x64(True):
        wide = [np.asarray(x, np.float64) for x in embeddings]
        return _narrow(jatlas.fit_consensus(wide, presence, **CONSENSUS))


def consensus_of(state: ConsensusState, num_features: int) -> Consensus:
    """`jatlas.running.consensus.value` of a state, in float32."""
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda x: x.astype(jnp.float64), state)
        return _narrow(
            jatlas.running.consensus.value(wide, num_features=num_features, **CONSENSUS)
        )


def _narrow(exact: Consensus) -> Consensus:
    return jax.tree.map(lambda x: x.astype(jnp.float32), exact)


def _rounded(exact: Transform, like: jax.Array | np.ndarray) -> Transform:
    return jax.tree.map(lambda part: np.asarray(part, like.dtype), exact)
