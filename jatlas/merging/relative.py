"""Relative representations: embeddings and anchors to similarities."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from jatlas._src import arrays, border
from jatlas._src.arrays import Number, Precision, Shaped

Similarity = str | Callable[[Array, Array], Array]


@border.jit(static_argnames=("similarity", "precision"))
def relativize(
    embeddings: Float[Array, "N D"],
    anchors: Float[Array, "A D"],
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
        similarity: the name of one of `SIMILARITIES`, or a function of embeddings
            (N, D) and anchors (A, D) that gives (N, A). The names:

            - "cosine", in [-1, 1] up to rounding;
            - "angular", 1 - angle / pi, in [0, 1];
            - "inner", the inner product;
            - "euclidean", minus the Euclidean distance, so that larger is nearer;
            - "rbf", exp(-d^2 / (2 s^2)) in [0, 1] with s the root mean square distance
              between two anchors (for another width, `jatlas.merging.relative.rbf` with
              sigma in a `functools.partial`).

            A function is compiled for anew each time it is another object: make it
            once.
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
    check_spaces(embeddings, anchors)
    dtype = jnp.result_type(embeddings, anchors)
    x, a = arrays.widen(embeddings), arrays.widen(anchors)
    return similarities(x, a, similarity, precision).astype(dtype)


def cosine(x: Array, anchors: Array, *, precision: Precision = "highest") -> Array:
    """cos(x, a), in [-1, 1] up to rounding; 0 for a zero vector."""
    return inner(arrays.unit(x), arrays.unit(anchors), precision=precision)


def angular(x: Array, anchors: Array, *, precision: Precision = "highest") -> Array:
    """1 - angle(x, a) / pi, in [0, 1]; 1/2 for a zero vector.

    The angle is Kahan's 2 atan2(|u - v|, |u + v|) on unit vectors, which keeps its
    digits near 0 and pi, where the arc cosine loses half of them. With the sides
    exchanged it is pi less the angle, which is what is wanted here.
    """
    del precision  # no matrix product
    u, v = arrays.unit(x), arrays.unit(anchors)
    apart = arrays.safe_sqrt(arrays.squared_distances(u, v))
    together = arrays.safe_sqrt(arrays.squared_distances(u, -v))
    both_zero = (apart == 0) & (together == 0)
    apart, together = (jnp.where(both_zero, 1, side) for side in (apart, together))
    return jnp.arctan2(together, apart) / (jnp.pi / 2)


def inner(x: Array, anchors: Array, *, precision: Precision = "highest") -> Array:
    """The inner product, x . a."""
    return jnp.matmul(x, anchors.T, precision=precision)


def euclidean(x: Array, anchors: Array, *, precision: Precision = "highest") -> Array:
    """-|x - a|: minus the distance, so that larger is nearer."""
    del precision
    return -arrays.safe_sqrt(arrays.squared_distances(x, anchors))


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
        return jnp.exp(-arrays.squared_distances(x, anchors) / (2 * sigma**2))
    rows = arrays.all_rows(anchors, None)
    rest, factor = arrays.rescaled(arrays.centre(anchors, rows)[0], rows)
    # Over the pairs, the mean of |a - b|^2 is 2 sum |a - mean|^2 / (A - 1).
    square = 2 * jnp.sum(rest**2) / max(anchors.shape[0] - 1, 1)
    distances = arrays.squared_distances(x * factor, anchors * factor)
    return jnp.exp(-distances / (2 * jnp.where(square == 0, 1, square)))


SIMILARITIES: dict[str, Callable[..., Array]] = {
    "cosine": cosine,
    "angular": angular,
    "inner": inner,
    "euclidean": euclidean,
    "rbf": rbf,
}


def similarities(
    x: Float[Array, "N D"],
    anchors: Float[Array, "A D"],
    similarity: Similarity,
    precision: Precision,
) -> Float[Array, "N A"]:
    """What `similarity` gives, be it a name or a function; its shape is checked."""
    if callable(similarity):
        result = similarity(x, anchors)
    elif similarity in SIMILARITIES:
        result = SIMILARITIES[similarity](x, anchors, precision=precision)
    else:
        raise ValueError(
            f"unknown similarity {similarity!r}; known are {', '.join(SIMILARITIES)}, "
            "or give a function of embeddings (N, D) and anchors (A, D)."
        )
    arrays.check_equal(
        "the shape (N, A) and the shape that the similarity gave",
        [(x.shape[0], anchors.shape[0]), jnp.shape(result)],
        "A similarity is a function of embeddings (N, D) and anchors (A, D).",
    )
    return result


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
