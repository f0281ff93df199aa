"""Nystroem's coordinates of rows that are made from anchors."""

import jax
import jax.numpy as jnp
import numpy as np

import jatlas
from jatlas.merging import Transform


def orthonormal(rows: jax.Array, kernel: jax.Array) -> jax.Array:
    """Rows times K(anchors, anchors)^(-1/2): orthonormal coordinates of their kernel.

    Args:
        rows: (N, A), of the atlas or of a relative space.
        kernel: (A, A), the rows of the anchors themselves.

    Returns:
        (N, A).

    The map is made in float64 and then rounded, so that two runs give the same bits:
    LAPACK shares its work out to threads by what else runs, and in float32 that shows.

    Source: as `jatlas.fit_nystroem`.
    """
    with jax.enable_x64(True):
        exact = jatlas.fit_nystroem(jnp.asarray(np.asarray(kernel, np.float64)))
        mean, scale = (np.asarray(x, kernel.dtype) for x in exact)
    return jatlas.apply_transform(Transform(mean, scale), rows)
