"""The classifier on a space, and what it says of rows."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jatlas._src import arrays, border
from jatlas._src.arrays import AnyArray

_EPSILON = 1e-5  # added to the variance of a row


class Probe(NamedTuple):
    """A classifier: linear, ReLU, linear, on rows standardised each by itself.

    Attributes:
        hidden_kernel, hidden_bias: (A, hidden) and (hidden,).
        kernel, bias: (hidden, C) and (C,).
        validation_loss: (), the mean cross-entropy (nats) of the validation rows at the
            epoch that was kept. If there were none, that of the rows learned from,
            which says nothing of new rows.
        best_epoch: (), the epoch that was kept, counted from 0.
    """

    hidden_kernel: Float[Array, "A hidden"]
    hidden_bias: Float[Array, " hidden"]
    kernel: Float[Array, "hidden C"]
    bias: Float[Array, " C"]
    validation_loss: Float[Array, ""]
    best_epoch: Int[Array, ""]


# The first four of a `Probe`: those that are trained.
Weights = tuple[Array, Array, Array, Array]


@border.jit()
def probe_logits(params: Probe, space: Float[AnyArray, "N A"]) -> Float[Array, "N C"]:
    """The logits of a fitted probe.

    Args:
        params: as from `fit_probe`.
        space: (N, A), floating point; any rows of a space made in the same way.

    Returns:
        (N, C), in float32 or wider, on several devices as the space is. A row that
        holds a NaN gets NaN.

    Raises:
        ValueError: if the space is not a floating point matrix of width A.

    Example:
        >>> import jax
        >>> from jatlas.probes import fit_probe
        >>> space = jax.random.normal(jax.random.key(0), (6, 4))
        >>> labels = jax.numpy.arange(6) % 2
        >>> probe = fit_probe(jax.random.key(1), space, labels, 2, max_epochs=1)
        >>> probe_logits(probe, space).shape
        (6, 2)
    """
    arrays.check_rows("space", space)
    arrays.check_equal(
        "the width A of the space and of the probe",
        [space.shape[1], params.hidden_kernel.shape[0]],
        "A probe goes with spaces of the width that it was trained on.",
    )
    return logits_of(params[:4], standardized(space))


def initial_weights(
    key: Array, num_features: int, hidden: int, num_classes: int, like: Array
) -> Weights:
    """Weights uniform within 1 / sqrt(fan-in), as in the paper's code."""
    shapes = (num_features + 1, hidden), (hidden + 1, num_classes)
    sizes = [rows * columns for rows, columns in shapes]
    drawn = jax.random.uniform(key, (sum(sizes),), like.dtype, -1, 1)
    first, second = (
        part.reshape(shape) / jnp.sqrt(shape[0] - 1)
        for part, shape in zip(jnp.split(drawn, sizes[:1]), shapes, strict=True)
    )
    return first[1:], first[0], second[1:], second[0]


def standardized(space: AnyArray) -> Float[Array, "N A"]:
    """Each row less its own mean, over its own standard deviation.

    (x - mean) / sqrt(variance + 1e-5), as torch's `layer_norm` in the paper's code.
    """
    x = arrays.widen(space)
    x = x - jnp.mean(x, axis=1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.mean(x**2, axis=1, keepdims=True) + _EPSILON)


def logits_of(weights: Weights, x: Array) -> Float[Array, "N C"]:
    """The logits of standardized rows."""
    hidden_kernel, hidden_bias, kernel, bias = weights
    return jax.nn.relu(x @ hidden_kernel + hidden_bias) @ kernel + bias
