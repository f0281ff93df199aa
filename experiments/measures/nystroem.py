"""Nystroem's coordinates of rows that are made from anchors."""

import jax

import jatlas
from experiments.measures import maps


def orthonormal(rows: jax.Array, kernel: jax.Array) -> jax.Array:
    """Rows times K(anchors, anchors)^(-1/2): orthonormal coordinates of their kernel.

    Args:
        rows: (N, A), of the atlas or of a relative space.
        kernel: (A, A), the rows of the anchors themselves.

    Returns:
        (N, A).

    Source: as `jatlas.fit_nystroem`.
    """
    return jatlas.apply_transform(maps.fit_nystroem(kernel), rows)
