"""Singular vectors, and the nearest rotation with its derivative."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jatlas._src import arrays
from jatlas._src.arrays import Number
from jatlas._src.spectra.roots import ROUNDING


class Singular(NamedTuple):
    """Singular vectors and values; all zero where rounding hides a direction."""

    left: Float[Array, "N R"]
    values: Float[Array, " R"]
    right: Float[Array, "D R"]


def singular(matrix: Float[Array, "N D"], rounding: Number = 1.0) -> Singular:
    """The thin singular value decomposition, a constant to the gradient.

    Directions are dropped whose value is below `8 eps rounding` of the largest. A
    matrix that holds NaN gives NaN: a solver may not return of it.

    >>> singular(jnp.diag(jnp.array([3.0, 0.0]))).values
    Array([3., 0.], dtype=float32)
    """
    matrix = jax.lax.stop_gradient(matrix)
    known = jnp.all(jnp.isfinite(matrix))
    left, values, right = jnp.linalg.svd(
        jnp.where(known, matrix, 0), full_matrices=False
    )
    eps = jnp.finfo(values.dtype).eps * jnp.asarray(rounding, values.dtype)
    kept = values > ROUNDING * eps * jnp.max(values, initial=0)
    parts = Singular(left, values, right.T)
    return jax.tree.map(
        lambda part: jnp.where(known, jnp.where(kept, part, 0), jnp.nan), parts
    )


@jax.custom_jvp
def rotation(matrix: Float[Array, "D1 D2"], parts: Singular) -> Float[Array, "D1 D2"]:
    """The rotation U V' nearest to a matrix U S V'.

    Dropped directions go to zero. Between matrices of two widths it is the rotation of
    rows that are padded with zeros, less the rows and columns of the padding.

    Args:
        matrix: (D1, D2).
        parts: of this matrix, from `singular`.
    """
    return arrays.matmul(parts.left, parts.right.T)


@rotation.defjvp
def _rotation_jvp(
    primals: tuple[Array, Singular], tangents: tuple[Array, Singular]
) -> tuple[Array, Array]:
    """The derivative of the rotation, finite where singular values coincide.

    It is that of an odd function of singular values, 1 for those that are kept. Among
    these it turns by what is skew in U' dM V, over s_i + s_j; between kept and dropped
    ones by all of it, over the kept value. First derivatives only: the vectors are
    constants.
    """
    _, (left, values, right) = primals
    change = tangents[0]
    across, down = arrays.matmul(change, right), arrays.matmul(left.T, change)
    inside = arrays.matmul(left.T, across)
    total = values[:, None] + values[None, :]
    skew = arrays.safe_divide(inside - inside.T, total, 0.0)
    each = arrays.safe_divide(jnp.ones_like(values), values, 0.0)
    turned = arrays.matmul(left, arrays.matmul(skew, right.T))
    new_left = arrays.matmul((across - arrays.matmul(left, inside)) * each, right.T)
    rows = each[:, None] * (down - arrays.matmul(inside, right.T))
    new_right = arrays.matmul(left, rows)
    return arrays.matmul(left, right.T), turned + new_left + new_right
