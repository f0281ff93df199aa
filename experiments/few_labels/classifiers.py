"""Two classifiers for few labels, fitted for many draws at once."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import jatlas
from experiments.measures import guesses

# Of ridge; rows have a mean squared norm of 1, so that one number means the same in
# spaces of any width and for any number of labels.
RIDGES = np.float32(10.0 ** np.arange(-4, 1.5, 0.5))
# With one label a class, leave-one-out would leave a class without a sample.
RIDGE_OF_ONE = 0.01
# (labeled rows (n, K), their labels (n,), C, rows (T, K)) to the guesses, (T,).
Classify = Callable[[jax.Array, jax.Array, int, jax.Array], jax.Array]


def ridge(
    rows: jax.Array, labels: jax.Array, num_classes: int, new: jax.Array
) -> jax.Array:
    """Ridge regression to the classes, as strong as is best by leave-one-out.

    `RIDGE_OF_ONE` where there is no more than a label a class.

    Centered rows X = U diag(s) V', with Y the centered one-hot labels. With a ridge r
    the residuals are E = Y - U diag(s^2 / (s^2 + r)) U'Y, and without sample i its
    residual is E_i / (1 - h_i), where h_i = 1 / n + sum over k of
    U_ik^2 s_k^2 / (s_k^2 + r) holds for the mean that is refitted too. The ridge with
    the least sum of squares of these is taken.

    Source: Golub, Heath and Wahba, "Generalized cross-validation as a method for
    choosing a good ridge parameter" (1979), for leave-one-out in closed form.
    """
    mean = rows.mean(axis=0)
    scale = jnp.sqrt(jnp.sum((rows - mean) ** 2, axis=1).mean())
    scale = jnp.where(scale > 0, scale, 1)
    left, values, right = jnp.linalg.svd((rows - mean) / scale, full_matrices=False)
    one_hot = jax.nn.one_hot(labels, num_classes)
    targets = one_hot - one_hot.mean(axis=0)
    turned = left.T @ targets  # (k, C)

    def left_out(strength: jax.Array) -> jax.Array:
        kept = values**2 / (values**2 + strength)
        residual = targets - left @ (kept[:, None] * turned)
        without = 1 - 1 / len(rows) - left**2 @ kept
        return jnp.sum((residual / jnp.maximum(without, 1e-6)[:, None]) ** 2)

    strengths = jnp.asarray(RIDGES)
    best = strengths[jnp.argmin(jax.vmap(left_out)(strengths))]
    if len(rows) <= num_classes:
        best = jnp.asarray(RIDGE_OF_ONE, rows.dtype)
    weights = right.T @ ((values / (values**2 + best))[:, None] * turned)
    return guesses.likely((new - mean) / scale @ weights + one_hot.mean(axis=0))


def class_means(
    rows: jax.Array, labels: jax.Array, num_classes: int, new: jax.Array
) -> jax.Array:
    """The class whose mean is nearest.

    With one label a class it is the nearest neighbor.
    """
    means = jatlas.probes.class_means(rows, labels, num_classes)
    return jatlas.probes.nearest_class_mean(means, new)


CLASSIFIERS: dict[str, Classify] = {"ridge": ridge, "class_means": class_means}


@partial(jax.jit, static_argnames=("name", "num_classes"))
def accuracies(
    name: str,
    rows: jax.Array,
    labels: jax.Array,
    num_classes: int,
    new: jax.Array,
    new_labels: jax.Array,
) -> jax.Array:
    """(R,), the accuracy of a classifier for each draw of the labels.

    Args:
        name: one of `CLASSIFIERS`.
        rows: (R, n, K), the labeled rows of each draw.
        labels: (R, n).
        num_classes: C.
        new: (T, K), rows to be classified.
        new_labels: (T,), what is right.
    """
    classify = CLASSIFIERS[name]
    guess = jax.vmap(lambda x, y: classify(x, y, num_classes, new))(rows, labels)
    return jnp.mean(guess == new_labels, axis=1)
