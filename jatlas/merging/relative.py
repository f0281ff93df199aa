"""Relative representations: embeddings and anchors to similarities."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jatlas._src import arrays, border
from jatlas._src.arrays import AnyArray, Number, Precision, Shaped
from jatlas._src.pairs import arcs
from jatlas._src.pairs.differences import squared_distances

Similarity = str | Callable[..., Array]


@border.border
def relativize(
    embeddings: Float[AnyArray, "N D"],
    anchors: Float[AnyArray, "A D"],
    *,
    similarity: Similarity = "cosine",
    precision: Precision = "highest",
) -> Float[Array, "N A"]:
    """Relative representation: the similarities of N embeddings to A anchors.

    With the cosine, `r(x)[j] = x . a_j / (|x| |a_j|)`, which does not change when the
    space is rotated or rescaled. Stacked charts go through `jax.vmap(relativize)`.

    Args:
        embeddings: (N, D), floating point.
        anchors: (A, D), the same chart's embeddings of the anchors.
        similarity: a name, or a function of embeddings (N, D) and anchors (A, D) that
            gives (N, A). The names, beside those of `register_similarity`:

            - "cosine", in [-1, 1] up to rounding;
            - "angular", 1 - angle / pi, in [0, 1];
            - "inner", the inner product;
            - "euclidean", minus the Euclidean distance, so that larger is nearer;
            - "rbf", exp(-d^2 / (2 s^2)) in [0, 1] with s the root mean square distance
              between two anchors (for another width, `jatlas.merging.relative.rbf` with
              sigma in a `functools.partial`).

            A function is compiled for anew each time it is another object: make it
            once. One that has an argument `precision` is given that, too.
        precision: of the matrix products, as in `jax.lax.Precision`. Accelerators round
            their inputs unless it is "highest".

    Returns:
        (N, A) in the dtype of the inputs, computed in float32 or wider. A zero vector
        has cosine 0 and angular similarity 1/2 to everything, and gradient 0.

    Raises:
        ValueError: if the inputs are not floating point matrices of one D, the
            similarity is unknown, or a function that does not give (N, A).

    Example:
        >>> import jax.numpy as jnp
        >>> embeddings = jnp.array([[2.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
        >>> anchors = jnp.array([[1.0, 0.0], [0.0, 3.0]])
        >>> relativize(embeddings, anchors).round(3)
        Array([[1.   , 0.   ],
               [0.707, 0.707],
               [0.   , 0.   ]], dtype=float32)

    Source: Moschella et al., "Relative representations enable zero-shot latent space
    communication" (2023), equation 2.
    """
    # The function, not its name, is what is compiled for: a name can be given anew.
    function = similarity_function(similarity)
    check_not_indices(anchors, 2, "`relativize(E, E[anchors])`")
    return _relativize(embeddings, anchors, function, precision)


@partial(jax.jit, static_argnames=("function", "precision"))
def _relativize(
    embeddings: Array,
    anchors: Array,
    function: Callable[..., Array],
    precision: Precision,
) -> Float[Array, "N A"]:
    check_spaces(embeddings, anchors)
    dtype = jnp.result_type(embeddings, anchors)
    x, a = arrays.widen(embeddings), arrays.widen(anchors)
    return similarities(x, a, function, precision).astype(dtype)


@border.short
def register_similarity(name: str, function: Callable[..., Array]) -> None:
    """Give a similarity a name, for `relativize` and `merge` in this process.

    The function is tried on small arrays first. A name can be given anew: then all that
    JAX has compiled is forgotten (`jax.clear_caches`), so that programs of yours that
    use the name take the new function too.

    An atlas made with such a name cannot be saved: whoever loads it would not have the
    function.

    Args:
        name: not one of the names that `relativize` lists.
        function: of embeddings (N, D) and anchors (A, D), float32 or wider, to (N, A)
            floating point. If it has an argument `precision`, it is given that of
            `relativize`, for its matrix products.

    Raises:
        ValueError: if the name is empty, not text, or of a similarity that comes with
            the library; if the function cannot be a constant of `jax.jit` (hashable),
            fails there, or gives another shape, integers, NaN or infinity.

    Example:
        >>> import jax.numpy as jnp
        >>> def cauchy(x, anchors):
        ...     return 1 / (1 + jnp.sum((x[:, None] - anchors) ** 2, axis=-1))
        >>> register_similarity("cauchy", cauchy)
        >>> relativize(jnp.zeros((1, 2)), jnp.ones((1, 2)), similarity="cauchy")
        Array([[0.33333334]], dtype=float32)
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"the name of a similarity must be text, got {name!r}.")
    if name in SIMILARITIES:
        raise ValueError(
            f"{name!r} comes with the library, and saved atlases rely on it; take "
            "another name."
        )
    check_similarity_function(name, function)
    before = _registered.get(name, function)
    _registered[name] = function
    if before is not function:
        jax.clear_caches()


def cosine(x: Array, anchors: Array, *, precision: Precision = "highest") -> Array:
    """cos(x, a), in [-1, 1] up to rounding; zero for zero vectors."""
    return inner(arrays.unit(x), arrays.unit(anchors), precision=precision)


def angular(x: Array, anchors: Array, *, precision: Precision = "highest") -> Array:
    """1 - angle / pi, in [0, 1]; 1/2 for zero vectors.

    The angle is 2 arcsin(|u - v| / 2) on unit vectors, which keeps its digits near 0,
    where the arc cosine loses half of them. Near pi it is pi less the angle to -v.
    """
    u, v = arrays.unit(x), arrays.unit(anchors)
    known = jnp.any(x != 0, axis=1)[:, None] & jnp.any(anchors != 0, axis=1)
    return arcs.similarities(u, v, known, precision)


def inner(x: Array, anchors: Array, *, precision: Precision = "highest") -> Array:
    """The inner product, x . a."""
    return jnp.matmul(x, anchors.T, precision=precision)


def euclidean(x: Array, anchors: Array, *, precision: Precision = "highest") -> Array:
    """-|x - a|: minus the distance, so that larger is nearer."""
    del precision
    return -arrays.safe_sqrt(squared_distances(x, anchors))


def rbf(
    x: Array,
    anchors: Array,
    *,
    sigma: Number | None = None,
    precision: Precision = "highest",
) -> Array:
    """exp(-|x - a|^2 / (2 sigma^2)), in [0, 1].

    By default sigma is the root mean square distance between two different anchors, so
    that the value does not change with the scale of the space; it is 1 where that is
    zero (one anchor, or copies of one).
    """
    del precision
    if sigma is not None:
        return jnp.exp(-squared_distances(x, anchors) / (2 * sigma**2))
    rows = arrays.all_rows(anchors, None)
    residual, factor = arrays.rescaled(arrays.center(anchors, rows)[0], rows)
    # Over the pairs, the mean of |a - b|^2 is 2 sum |a - mean|^2 / (A - 1).
    square = 2 * jnp.sum(residual**2) / max(anchors.shape[0] - 1, 1)
    distances = squared_distances(x * factor, anchors * factor)
    return jnp.exp(-distances / (2 * jnp.where(square == 0, 1, square)))


# Those that come with the library, which an atlas on disk can name.
SIMILARITIES: Mapping[str, Callable[..., Array]] = MappingProxyType(
    {
        "cosine": cosine,
        "angular": angular,
        "inner": inner,
        "euclidean": euclidean,
        "rbf": rbf,
    }
)
_registered: dict[str, Callable[..., Array]] = {}


def similarity_function(similarity: Similarity) -> Callable[..., Array]:
    """The function that a similarity is, or that its name stands for.

    Raises:
        ValueError: if the name is unknown.

    >>> similarity_function("cosine") is similarity_function(cosine) is cosine
    True
    """
    if callable(similarity):
        return similarity
    function = SIMILARITIES.get(similarity) or _registered.get(similarity)
    if function is None:
        known = [*SIMILARITIES, *_registered]
        raise ValueError(
            f"unknown similarity {similarity!r}; known are {', '.join(known)}. Give "
            "one of these, or a function of embeddings (N, D) and anchors (A, D), or "
            "name yours by `jatlas.merging.register_similarity`."
        )
    return function


def similarities(
    x: Float[Array, "N D"],
    anchors: Float[Array, "A D"],
    similarity: Similarity,
    precision: Precision,
) -> Float[Array, "N A"]:
    """The similarities by a name or a function; the shape is checked."""
    function = similarity_function(similarity)
    options = {"precision": precision} if _takes_precision(function) else {}
    result = function(x, anchors, **options)
    arrays.check_equal(
        "the shape (N, A) and the shape that the similarity gave",
        [(x.shape[0], anchors.shape[0]), np.shape(result)],
        "A similarity is a function of embeddings (N, D) and anchors (A, D).",
    )
    return result


def _takes_precision(function: Callable[..., Array]) -> bool:
    try:
        return "precision" in inspect.signature(function).parameters
    except ValueError:  # of a function that is not written in Python
        return False


def check_similarity_function(name: str, function: Callable[..., Array]) -> None:
    """Raise ValueError unless the function is a similarity, by trying it."""
    # Positive, so that one for histograms can be tried too.
    x, anchors = jnp.linspace(0.5, 1.5, 12).reshape(3, 4), jnp.eye(2, 4) + 0.25
    wanted = (
        f"the similarity {name!r} must be a function in jax.numpy, of embeddings (N, D)"
        " and anchors (A, D) to (N, A) finite floating point numbers"
    )
    if not callable(function):
        raise ValueError(f"{wanted}; got {function!r}.")
    try:
        hash(function)
        tried = partial(similarities, similarity=function, precision="highest")
        result = jax.jit(tried)(x, anchors)
    except Exception as error:
        cause = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise ValueError(f"{wanted}; on (3, 4) and (2, 4): {cause}") from error
    if not jnp.issubdtype(result.dtype, jnp.floating):
        raise ValueError(f"{wanted}; on (3, 4) and (2, 4) it gave {result.dtype}.")
    if not jnp.all(jnp.isfinite(result)):
        raise ValueError(f"{wanted}; on (3, 4) and (2, 4) it gave {result.tolist()}.")


def check_not_indices(anchors: Any, rank: int, call: str) -> None:
    """Raise ValueError if indices of anchors stand for their embeddings."""
    for leaf in jax.tree.leaves(anchors):
        if np.ndim(leaf) < rank and jnp.issubdtype(jnp.result_type(leaf), jnp.integer):
            raise ValueError(
                "anchors must be embeddings of the anchors, floating point; these are "
                f"integers, {arrays.described(leaf)}. If they number the anchors, "
                f"index first: {call}."
            )


def check_spaces(embeddings: Shaped, anchors: Shaped, of: str = "") -> None:
    """Raise ValueError unless both are floating point matrices of one width D."""
    arrays.check_rows(f"embeddings{of}", embeddings)
    arrays.check_rows(f"anchors{of}", anchors)
    arrays.check_equal(
        f"the dimension D of embeddings and anchors{of}",
        [embeddings.shape[1], anchors.shape[1]],
        f"Shapes were {embeddings.shape} and {anchors.shape}: both must come from one "
        "chart.",
    )
