"""The masked mean over charts."""

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from jatlas._src import arrays, border
from jatlas._src.arrays import Number
from jatlas._src.weights import Weights, chart_weights


@border.jit(static_argnames="dtype")
def masked_mean(
    relative: Float[Array, "M N A"],
    presence: Bool[Array, "M N"],
    *,
    weights: Weights | None = None,
    empty: Number = jnp.nan,
    dtype: DTypeLike | None = None,
) -> Float[Array, "N A"]:
    """The merged space: the mean over the charts that have the sample.

    r(x) = (1/K) sum over the K charts that have x of r_k(x).

    Args:
        relative: (M, N, A), each chart's relative representation. Rows of absent
            samples are not looked at and may hold anything, NaN too.
        presence: (M, N), boolean.
        weights: (M,) or (M, N), not negative (else NaN); the mean is then weighted. All
            1 if None.
        empty: what stands in the rows of a sample in no chart, or whose weights are
            all zero. In a loss give 0.0 and mask these rows out: the gradient of
            parameters that a NaN meets is NaN, even where the loss leaves it out.
        dtype: of the result, floating point; that of relative if None.

    Returns:
        (N, A), computed in float32 or wider and rounded once: to bfloat16 off by up to
        2^-8 of a value, 2.0e-3 of a cosine, which `dtype=jnp.float32` spares. Gradients
        are finite, and zero for absent rows.

    Raises:
        ValueError: if the shapes or dtypes are not these.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> relative = jnp.array([[[0.2], [0.4], [0.6]], [[0.4], [0.0], [0.0]]])
        >>> presence = jnp.array([[True, True, False], [True, False, False]])
        >>> masked_mean(relative, presence)
        Array([[0.3],
               [0.4],
               [nan]], dtype=float32)

        A loss with parameters after the mean:

        >>> def loss(head):
        ...     rows = masked_mean(relative, presence, empty=0.0) @ head
        ...     return jnp.sum(jnp.where(presence.any(axis=0)[:, None], rows, 0))
        >>> bool(jnp.isfinite(jax.grad(loss)(jnp.ones((1, 1)))).all())
        True

    Source: Crisostomi et al., "From Charts to Atlas" (2023), section 3.
    """
    arrays.check_equal(
        "the number of axes of relative", [3, relative.ndim], "Give (M, N, A)."
    )
    arrays.check_floating("relative", relative)
    num_charts, num_samples, _ = relative.shape
    wide = arrays.widen(relative)
    w = chart_weights(presence, weights, (num_charts, num_samples), wide.dtype)
    kept = jnp.where(presence[..., None], wide, 0)
    total = jnp.einsum("mna,mn->na", kept, w, precision="highest")
    mean = arrays.safe_divide(total, w.sum(axis=0)[:, None], empty)
    return mean.astype(relative.dtype if dtype is None else floating(dtype))


def floating(dtype: DTypeLike) -> jnp.dtype:
    """The result's dtype in JAX; ValueError unless it is floating point."""
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(
            f"dtype must be floating point, as jnp.float32, got {jnp.dtype(dtype)}."
        )
    return jax.dtypes.canonicalize_dtype(dtype)
