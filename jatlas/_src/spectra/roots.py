"""Functions of the eigenvalues of symmetric matrices, and their derivatives."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jatlas._src import arrays
from jatlas._src.arrays import AnyArray, Number, Precision

# An eigenvalue of zero is found at up to 3 eps times the largest (measured: 10 to 3,000
# features, up to 50,000 rows, kernels and covariances, LAPACK); twice that and more is
# left to the solvers of accelerators. The singular values of a root are off by as much.
ROUNDING = 8
ZERO = 64


def inverse_sqrt(
    matrix: Float[Array, "D D"], precision: Precision, added: Number = 0.0
) -> Float[Array, "D D"]:
    """(S + added I)^(-1/2), S a symmetric part; unknown directions give 0.

    What is added keeps a direction: an eigenvalue of S is known to rounding, `8 eps`
    times the largest, and one that is zero up to it counts as zero at least. With
    nothing added such directions are the null space, and mapped to zero, as are those
    whose eigenvalue is negative beyond it.

    The derivative is that of Daleckii and Krein, which stays finite where eigenvalues
    coincide: the derivative of an eigenvector, which JAX would go through, does not.
    The null space is taken to keep its dimension.

    >>> inverse_sqrt(jnp.diag(jnp.array([4.0, 0.0])), "highest")
    Array([[0.5, 0. ],
           [0. , 0. ]], dtype=float32)
    >>> inverse_sqrt(jnp.diag(jnp.array([12.0, 0.0])), "highest", 4.0)
    Array([[0.25, 0.  ],
           [0.  , 0.5 ]], dtype=float32)
    """
    return _root(matrix, jnp.asarray(added, matrix.dtype), precision)


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _root(
    matrix: Float[Array, "D D"], added: Float[Array, ""], precision: Precision
) -> Array:
    return _eigen(matrix, added, precision)[0]


def _eigen(
    matrix: Array, added: Array, precision: Precision
) -> tuple[Array, Array, Array, Array]:
    """The root, and S + added I's eigenvalues, eigenvectors and roots."""
    eye = jnp.eye(matrix.shape[0], dtype=matrix.dtype)
    values, vectors = jnp.linalg.eigh(matrix + added * eye, symmetrize_input=True)
    eps = jnp.finfo(values.dtype).eps * jnp.max(jnp.abs(values), initial=0)
    rounding = ROUNDING * eps
    no_less = jnp.abs(values - added) <= rounding
    values = jnp.where(no_less, jnp.maximum(values, added), values)
    kept = (values > rounding) | ((values >= added) & (added > eps))
    # A NaN fails every comparison; it must come out as NaN, not as a null space.
    roots = jnp.where(kept, jax.lax.rsqrt(jnp.where(kept, values, 1)), values * 0)
    root = jnp.matmul(vectors * roots, vectors.T, precision=precision)
    return root, values, vectors, roots


@_root.defjvp
def _root_jvp(
    precision: Precision, primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    root, values, vectors, roots = _eigen(*primals, precision)
    matmul = partial(jnp.matmul, precision=precision)
    # Divided differences of l^(-1/2): closed form between two kept eigenvalues, where
    # they may coincide; the plain quotient between a kept one and one of the null
    # space, where they cannot; zero within the null space.
    r, s = roots[:, None], roots[None, :]
    both = -arrays.safe_divide((r * s) ** 2, r + s, 0.0)
    gap = values[:, None] - values[None, :]
    mixed = arrays.safe_divide(r - s, jnp.where((r == 0) == (s == 0), 0, gap), 0.0)
    quotient = jnp.where((r > 0) & (s > 0), both, mixed)
    change, more = tangents
    change = (change + change.T) / 2 + more * jnp.eye(len(root), dtype=root.dtype)
    inside = matmul(matmul(vectors.T, change), vectors)
    return root, matmul(matmul(vectors, quotient * inside), vectors.T)


def reduced(x: Float[Array, "N D"]) -> Float[Array, "N R"]:
    """N rows with the same inner products, of at most N features.

    For functions of a space that depend on x x' alone. The derivative of x x' is right,
    though the basis Q of the rows is a constant to it: x Q Q' = x. That holds for the
    first derivative only.

    >>> wide = jnp.arange(8.0).reshape(2, 4)
    >>> few = reduced(wide)
    >>> few.shape, bool(jnp.allclose(few @ few.T, wide @ wide.T))
    ((2, 2), True)
    """
    if x.shape[1] <= x.shape[0]:
        return x
    basis = jnp.linalg.qr(jax.lax.stop_gradient(x).T)[0]
    return arrays.matmul(x, basis)


@jax.custom_jvp
def eigen(
    matrix: Float[AnyArray, "D D"], power: Number
) -> tuple[Float[Array, " D"], Float[Array, "D D"]]:
    """Eigenvalues w, largest first, and columns V w^power.

    They are of the symmetric part. A column is zero whose eigenvalue is negative, or
    zero up to rounding.

    Within a group of eigenvalues that coincide the columns are any basis of a space,
    and how one turns into another has no derivative. It is taken to be zero. What does
    not depend on the choice of the basis then has its right derivative, as has the sum
    of the group's eigenvalues, and all others a finite one.

    >>> values, columns = eigen(jnp.diag(jnp.array([1.0, 4.0])), jnp.array(0.5))
    >>> values
    Array([4., 1.], dtype=float32)
    >>> jnp.abs(columns)
    Array([[0., 1.],
           [2., 0.]], dtype=float32)
    """
    values, vectors = _largest_first(matrix)
    return values, vectors * _powered(values, power)


def _largest_first(matrix: AnyArray) -> tuple[Array, Array]:
    values, vectors = jnp.linalg.eigh(matrix, symmetrize_input=True)
    return values[::-1], vectors[:, ::-1]


def _rounding(values: Array) -> Array:
    return ROUNDING * jnp.finfo(values.dtype).eps * jnp.max(jnp.abs(values), initial=0)


def _powered(values: Float[Array, " D"], power: Number) -> Float[Array, " D"]:
    """w^power, or zero where w is zero up to rounding."""
    kept = values > _rounding(values)
    root = jnp.where(kept, values, 1) ** power
    # A NaN fails every comparison; it must come out as NaN, not as zero.
    return jnp.where(kept, root, values * 0)


@eigen.defjvp
def _eigen_jvp(
    primals: tuple[AnyArray, Number], tangents: tuple[AnyArray, Number]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    matrix, power = primals
    values, vectors = _largest_first(matrix)
    powered = _powered(values, power)
    change = (tangents[0] + tangents[0].T) / 2
    inside = arrays.matmul(arrays.matmul(vectors.T, change), vectors)
    gap = values[None, :] - values[:, None]
    # Both of a pair are off by rounding. Taking some more for equal costs what is
    # exact no more than that; taking too few divides rounding by rounding.
    alike = jnp.abs(gap) <= 4 * _rounding(values)
    # Between groups the vectors turn. Within one it is (V w^p V')' V: the matrix
    # function changes off its diagonal too, though the basis does not.
    turn = arrays.safe_divide(inside, jnp.where(alike, 0, gap), 0.0) * powered
    within = jnp.where(alike, inside, 0) * power * _powered(values, power - 1)
    logs = jnp.log(jnp.where(powered == 0, 1, values)) * powered
    moved = arrays.matmul(vectors, turn + within) + vectors * logs * tangents[1]
    return (values, vectors * powered), (jnp.diag(inside), moved)
