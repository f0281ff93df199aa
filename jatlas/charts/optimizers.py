"""The paper's optimizers, each the same object when made again."""

from functools import cache

import optax

from jatlas._src import arrays


def adam(
    learning_rate: float = 1e-3, clip_norm: float = 10.0
) -> optax.GradientTransformation:
    """Adam, the norm of the gradient clipped: the paper's optimizer.

    The same arguments give the same object, so that nothing is compiled twice.

    Args:
        learning_rate: of Adam.
        clip_norm: the largest norm of a gradient; a longer one is scaled down to it.

    Returns:
        The transformation.

    Example:
        >>> adam() is adam(learning_rate=1e-3)
        True
    """
    return _adam(learning_rate, clip_norm)


@cache
def _adam(learning_rate: float, clip_norm: float) -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(clip_norm), optax.adam(learning_rate))


def sgd_cosine(
    num_steps: int,
    learning_rate: float = 0.1,
    *,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
    clip_norm: float = 10.0,
) -> optax.GradientTransformation:
    """Stochastic gradient descent with momentum: the paper's optimizer of its ResNet.

    The learning rate falls to zero along half a cosine. The norm of the gradient is
    clipped, then the weight decay is added to it, that of biases and of the scales of
    batch norm too. The same arguments give the same object, as with `adam`.

    Args:
        num_steps: after so many the learning rate is zero: epochs times batches an
            epoch. Every chart counts its own steps.
        learning_rate: at the start.
        momentum: the share of the last update that goes on.
        weight_decay: times the parameters, added to the gradient.
        clip_norm: as in `adam`.

    Returns:
        The transformation.

    Raises:
        ValueError: if num_steps is below 1.

    Example:
        >>> sgd_cosine(100) is sgd_cosine(100, momentum=0.9)
        True

    Source: He et al., "Deep residual learning for image recognition" (2016), section
    4.2; the schedule of Loshchilov and Hutter, "SGDR" (2017), without restarts.
    """
    arrays.check_count("num_steps", num_steps, 1)
    return _sgd_cosine(num_steps, learning_rate, momentum, weight_decay, clip_norm)


@cache
def _sgd_cosine(
    num_steps: int,
    learning_rate: float,
    momentum: float,
    weight_decay: float,
    clip_norm: float,
) -> optax.GradientTransformation:
    return optax.chain(
        optax.clip_by_global_norm(clip_norm),
        optax.add_decayed_weights(weight_decay),
        optax.sgd(optax.cosine_decay_schedule(learning_rate, num_steps), momentum),
    )
