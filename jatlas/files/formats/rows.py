"""Rows of embeddings in a file, that can be looked at some at a time."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np


class Rows(NamedTuple):
    """(N, D) numbers that need not be in memory.

    Attributes:
        shape: (N, D).
        dtype: as the file has them.
        batches: of a size n, gives the rows in order, n at a time; fewer in the last,
            and wherever the file's own pieces end.
        whole: gives them all; mapped from the file where its format allows.
    """

    shape: tuple[int, int]
    dtype: np.dtype
    batches: Callable[[int], Iterator[np.ndarray]]
    whole: Callable[[], np.ndarray]


def rows_of(array: Any) -> Rows:
    """The rows of an array, or of what is sliced like one.

    Raises:
        ValueError: if it is no matrix of floating point numbers.
    """
    kind = getattr(array.dtype, "name", str(array.dtype))
    if len(array.shape) != 2 or "float" not in kind:
        raise ValueError(
            f"the embeddings are {kind}{tuple(array.shape)}; expected a matrix of "
            "floating point numbers, one row a sample."
        )

    def batches(size: int) -> Iterator[np.ndarray]:
        for start in range(0, array.shape[0], size):
            yield np.asarray(array[start : start + size])

    num_rows, width = array.shape
    shape = int(num_rows), int(width)
    return Rows(shape, np.dtype(array.dtype), batches, lambda: array[:])


def pick(names: dict[str, int], wanted: str | None, usual: tuple[str, ...]) -> str:
    """The name of the array, of those with so many axes, that holds the embeddings.

    It is the one that is wanted; or else the only matrix, or the one with a usual name.

    Raises:
        ValueError: if there is none, or more than one.
    """
    if wanted is not None:
        if wanted in names:
            return wanted
        raise ValueError(f"there is no {wanted!r} in it, but {list(names)[:20]}.")
    matrices = [name for name, axes in names.items() if axes == 2]
    found = [name for name in usual if name in matrices] or matrices
    if not found or (found is matrices and len(matrices) > 1):
        raise ValueError(
            f"which of {list(names)[:20]} are the embeddings, a matrix? Name them with "
            "embeddings=... (--embeddings)."
        )
    return found[0]


def pick_ids(names: list[str], wanted: str | None) -> str:
    """The name of the ids: the one that is wanted; or else "id" or "ids".

    Raises:
        ValueError: if it is not among the names.
    """
    for name in [wanted] if wanted is not None else ["id", "ids"]:
        if name in names:
            return name
    raise ValueError(
        f"there are no ids {wanted or 'id or ids'!r} in it, but {names[:20]}; name "
        "them with ids=... (--ids)."
    )
