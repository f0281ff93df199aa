"""The predicted class of each row, and the accuracy."""

from typing import TypeVar

import jax
import numpy as np

Logits = TypeVar("Logits", np.ndarray, jax.Array)


def likely(logits: Logits) -> Logits:
    """The most likely class of each row; -1 for NaN.

    A bare argmax takes NaN for the largest: such rows would be right wherever the label
    is the place of the first NaN, which is class 0 if all are NaN.

    Args:
        logits: (R, C), of NumPy or of JAX, under `jax.jit` too.

    Returns:
        (R,), of the same kind.

    Example:
        >>> likely(np.array([[0.1, 0.7], [np.nan, np.nan]])).tolist()
        [1, -1]
    """
    xp = logits.__array_namespace__()
    unknown = xp.any(xp.isnan(logits), axis=1)
    return xp.where(unknown, -1, xp.argmax(logits, axis=1))


def accuracy(guess: np.ndarray, labels: np.ndarray, scored: np.ndarray) -> float:
    """The accuracy; NaN for no rows or a missing guess (-1)."""
    known = scored.any() and (guess[scored] >= 0).all()
    return float((guess == labels)[scored].mean()) if known else float("nan")
