"""Measures as products of (n, n) matrices, one a space.

A measure in `GRAMS` is the sum of the products of the entries of two matrices, each
made of one space. Under another pairing of the samples one of them has its rows and its
columns in another order. So a matrix is made once a space, and a pairing costs n^2,
whatever the measure and the number of features.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jatlas._src import arrays
from jatlas._src.pairs import tiles
from jatlas._src.pairs.differences import squared_distances
from jatlas._src.pairs.median import median_distance
from jatlas.metrics.neighborhoods.nearest import nearest_neighbors
from jatlas.metrics.permutation import PermutationTest, permuted

Gram = Callable[[Array, int], Array]


def _linear(
    x: Float[Array, "n D"], k: int, *, debiased: bool = False
) -> Float[Array, "n n"]:
    """The centered kernel of inner products, of length one."""
    rows = jnp.ones(len(x), bool)
    x = arrays.center(arrays.rescaled(x, rows)[0], rows)[0]
    return _centered(arrays.matmul(x, x.T), debiased)


def _rbf(
    x: Float[Array, "n D"], k: int, *, debiased: bool = False
) -> Float[Array, "n n"]:
    """That of an RBF kernel whose width is the median distance."""
    x = arrays.rescaled(x, jnp.ones(len(x), bool))[0]
    width = median_distance(x)
    squares = squared_distances(x, x)
    return _centered(jnp.exp(-squares / (2 * width**2)), debiased)


def _centered(kernel: Float[Array, "n n"], debiased: bool) -> Float[Array, "n n"]:
    """A kernel less its means, of length one; NaN if nothing varies.

    Debiased, the diagonal is left out, and the means are so taken that products of two
    such kernels have the mean zero for independent spaces (Szekely and Rizzo, 2014).
    """
    n = len(kernel)
    if debiased:
        kernel = kernel * (1 - jnp.eye(n, dtype=kernel.dtype))
    less = (2, 1) if debiased else (0, 0)
    sums = jnp.sum(kernel, axis=1) / (n - less[0])
    centered = kernel - sums[:, None] - sums + jnp.sum(sums) / (n - less[1])
    if debiased:
        centered = centered * (1 - jnp.eye(n, dtype=kernel.dtype))
    energy = tiles.total(centered**2)
    floor = 32 * jnp.finfo(kernel.dtype).eps * tiles.total(kernel**2)
    energy = jnp.where(energy <= (floor if debiased else 0), 0, energy)
    return arrays.safe_divide(centered, arrays.safe_sqrt(energy))


def _neighbors(x: Float[Array, "n D"], k: int) -> Float[Array, "n n"]:
    """The matrix of k nearest by cosine, of length one."""
    rows = jnp.ones(len(x), bool)
    x = arrays.unit(x)
    (nearest,) = nearest_neighbors([x], rows, k, "inner")
    size = jnp.sqrt(jnp.asarray(nearest.size, x.dtype))
    near = jnp.zeros((len(x), len(x)), x.dtype)
    near = near.at[jnp.arange(len(x))[:, None], nearest].set(1 / size)
    return jnp.where(jnp.all(jnp.isfinite(x)), near, jnp.nan)


def _self_similarity(x: Float[Array, "n D"], k: int) -> Float[Array, "n n"]:
    """The cosines of each sample with all, standardized by row."""
    x = arrays.unit(x)
    cosines = arrays.matmul(x, x.T)
    cosines -= jnp.mean(cosines, axis=1, keepdims=True)
    squares = jnp.sum(cosines**2, axis=1, keepdims=True)
    floor = len(x) * (4 * jnp.finfo(x.dtype).eps) ** 2
    squares = jnp.where(squares <= floor, 0, squares)
    return arrays.safe_divide(cosines, arrays.safe_sqrt(len(x) * squares))


GRAMS: dict[str, Gram] = {
    "cka-linear": _linear,
    "cka-linear-debiased": partial(_linear, debiased=True),
    "cka-rbf": _rbf,
    "cka-rbf-debiased": partial(_rbf, debiased=True),
    "neighbors": _neighbors,
    "self-similarity": _self_similarity,
}


@partial(jax.jit, static_argnames=("gram", "neighbors"))
def gram_of(x: Float[Array, "n D"], gram: Gram, neighbors: int) -> Float[Array, "n n"]:
    """The matrix of a space."""
    return gram(x, neighbors)


@partial(jax.jit, static_argnames="permutations")
def grams_tested(
    key: PRNGKeyArray,
    a: Float[Array, "n n"],
    b: Float[Array, "n n"],
    permutations: int,
) -> PermutationTest:
    """The permutation test of a measure, from the matrices of two spaces."""

    def paired(places: Int[Array, " n"]) -> Float[Array, ""]:
        return tiles.total(a * b[places][:, places])

    return permuted(key, tiles.total(a * b), paired, len(a), permutations)
