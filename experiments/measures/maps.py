"""Maps fitted in float64, which two runs give with the same bits.

LAPACK shares its work out to threads by what else runs. In float32 that shows in the
last digits of a map; in float64 it is rounded away.
"""

import jax
import numpy as np

import jatlas
from jatlas.merging import Transform


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


def _rounded(exact: Transform, like: jax.Array | np.ndarray) -> Transform:
    return Transform(*(np.asarray(part, like.dtype) for part in exact))
