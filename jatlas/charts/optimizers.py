"""The paper's optimizers, each the same object when made again."""

from functools import cache

import optax

from jatlas._src import arrays, border

# The paper's: the largest norm of a gradient, and the share of the last update kept.
_CLIP, _MOMENTUM = 10.0, 0.9


@border.short
def adam(learning_rate: float = 1e-3) -> optax.GradientTransformation:
    """Adam, the norm of the gradient clipped to 10: the paper's optimizer.

    The same arguments give the same object, so that nothing is compiled twice.

    Args:
        learning_rate: of Adam. For another norm, or none, compose your own in optax:
            `fit_charts` takes any.

    Returns:
        The transformation.

    Example:
        >>> adam() is adam(learning_rate=1e-3)
        True
    """
    return _adam(learning_rate)


@cache
def _adam(learning_rate: float) -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(_CLIP), optax.adam(learning_rate))


@border.short
def sgd_cosine(
    num_steps: int,
    learning_rate: float = 0.1,
    *,
    weight_decay: float = 1e-4,
) -> optax.GradientTransformation:
    """Stochastic gradient descent with momentum 0.9: the paper's optimizer for ResNet.

    The learning rate falls to zero along half a cosine. The norm of the gradient is
    clipped to 10, then the weight decay is added to it, that of biases and of the
    scales of batch norm too. The same arguments give the same object, as with `adam`.

    Args:
        num_steps: after so many the learning rate is zero: epochs times batches an
            epoch. Every chart counts its own steps.
        learning_rate: at the start.
        weight_decay: times the parameters, added to the gradient.

    Returns:
        The transformation.

    Raises:
        ValueError: if num_steps is below 1.

    Example:
        >>> sgd_cosine(100) is sgd_cosine(100, learning_rate=0.1)
        True

    Source: He et al., "Deep residual learning for image recognition" (2016), section
    4.2; the schedule of Loshchilov and Hutter, "SGDR" (2017), without restarts.
    """
    arrays.check_count("num_steps", num_steps, 1)
    return _sgd_cosine(num_steps, learning_rate, weight_decay)


@cache
def _sgd_cosine(
    num_steps: int, learning_rate: float, weight_decay: float
) -> optax.GradientTransformation:
    return optax.chain(
        optax.clip_by_global_norm(_CLIP),
        optax.add_decayed_weights(weight_decay),
        optax.sgd(optax.cosine_decay_schedule(learning_rate, num_steps), _MOMENTUM),
    )
