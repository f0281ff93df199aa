"""Host-side assembly: (ids, embeddings) of any charts to stacked, checked arrays."""

from collections.abc import Sequence
from functools import reduce
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jatlas._src import arrays, border
from jatlas._src.arrays import AnyArray
from jatlas._src.border import on_host
from jatlas._src.ids import few, union
from jatlas.merging.pool import check_anchors, repeated

# Ids of text become an array in which all are as wide as the longest: so many
# characters at most, of 4 bytes.
MOST_CHARACTERS = 1 << 26

Ids = AnyArray | Sequence[Any]

_KINDS = {"i": "integers", "u": "integers", "U": "text", "S": "bytes"}


class Spaces(NamedTuple):
    """The embeddings of M charts over one axis of N samples.

    Attributes:
        ids: (N,), integers, text or bytes: every sample that a chart has.
        embeddings: (M, N, D); or M arrays (N, D_m) where the charts' dimensions differ.
            `merge` takes either. Zeros in the rows of absent samples.
        presence: (M, N), boolean: chart m has an embedding of sample n.
    """

    ids: np.ndarray
    embeddings: Float[np.ndarray, "M N D"] | tuple[Float[np.ndarray, "N _"], ...]
    presence: Bool[np.ndarray, "M N"]


@border.short
def assemble(charts: Sequence[tuple[Ids, AnyArray]]) -> Spaces:
    """Line up the samples of M charts, and check every value.

    It runs on the host.

    Args:
        charts: M pairs (ids, embeddings): (N_m,) integers, text or bytes that name the
            samples across charts, and (N_m, D_m) floating point. Each chart has its own
            samples, in any order, and may be of any framework that gives arrays. Charts
            need not have samples in common; anchors they do (`anchor_rows`).

    Returns:
        A `Spaces`: ids in the order in which they first appear, chart after chart;
        embeddings in the widest of the charts' dtypes, stacked if all D_m are equal and
        a tuple if they differ; presence.

    Raises:
        ValueError: if there are no charts, or a chart is no such pair, has no samples,
            ids that repeat, another number of ids than embeddings, or NaN or infinity
            in its embeddings (the first ten ids are named); if ids or embeddings are a
            masked array, or one id is so long that all, as wide in an array, would take
            far more memory than was given; if some ids are integers and others text, as
            1 and "1".

    Example:
        >>> import numpy as np
        >>> first = (["cat", "dog"], np.array([[1.0, 0.0], [0.0, 1.0]]))
        >>> second = (["owl", "dog"], np.array([[3.0, 4.0], [5.0, 6.0]]))
        >>> spaces = assemble([first, second])
        >>> spaces.ids.tolist(), spaces.embeddings.shape
        (['cat', 'dog', 'owl'], (2, 3, 2))
        >>> spaces.presence
        array([[ True,  True, False],
               [False,  True,  True]])
    """
    if len(charts) == 0:
        raise ValueError("there are no charts to assemble; give one at least.")
    names, rows = zip(
        *(_chart(m, chart) for m, chart in enumerate(charts)), strict=True
    )
    ids, places = _union(names)
    dtype = reduce(jnp.promote_types, (x.dtype for x in rows))
    presence = np.zeros((len(rows), ids.size), bool)
    embeddings = _zeros(ids.size, [x.shape[1] for x in rows], dtype)
    for m, (place, x) in enumerate(zip(places, rows, strict=True)):
        presence[m, place] = True
        embeddings[m][place] = x
    return Spaces(ids, embeddings, presence)


@border.short
def anchor_rows(
    spaces: Spaces, anchor_ids: Ids, *, seen: Bool[AnyArray, "M N"] | None = None
) -> Int[np.ndarray, " A"]:
    """Where the anchors stand among the samples.

    The anchors' own embeddings are `spaces.embeddings[:, rows]`, or, of charts of
    different dimensions, `[x[rows] for x in spaces.embeddings]`.

    Args:
        spaces: from `assemble`.
        anchor_ids: (A,), ids of samples that every chart has.
        seen: (M, N), True where chart m was trained on sample n; if it is given, an
            anchor that only some charts were trained on is refused.

    Returns:
        (A,), indices into the N samples, in the order of anchor_ids.

    Raises:
        ValueError: if an id is unknown or repeats, an anchor is absent from a chart, or
            was seen by some charts only. The message names the first ten.

    Example:
        >>> import numpy as np
        >>> chart = (["cat", "dog", "owl"], np.eye(3))
        >>> anchor_rows(assemble([chart, chart]), ["owl", "cat"])
        array([2, 0])
    """
    wanted = _ids(anchor_ids, "the anchors")
    kinds = [_KINDS[some.dtype.kind] for some in (spaces.ids, wanted)]
    arrays.check_equal(
        "the type of the ids of samples and anchors", kinds, '1 and "1" are different.'
    )
    index = {name: row for row, name in enumerate(spaces.ids.tolist())}
    unknown = [name for name in wanted.tolist() if name not in index]
    if unknown:
        raise ValueError(
            f"{len(unknown)} anchors are in no chart: {few(unknown)}; choose among "
            f"the {len(index)} ids of the charts."
        )
    rows = np.array([index[name] for name in wanted.tolist()], int)
    check_anchors(rows, spaces.presence, seen=seen, ids=spaces.ids)
    return rows


def _chart(m: int, chart: tuple[Ids, AnyArray]) -> tuple[np.ndarray, np.ndarray]:
    """One chart's ids and embeddings as arrays, checked."""
    if not isinstance(chart, tuple | list) or len(chart) != 2:
        raise ValueError(
            f"chart {m} must be a pair (ids, embeddings), got a "
            f"{type(chart).__name__}; one chart alone is given as [(ids, embeddings)]."
        )
    names = _ids(chart[0], f"chart {m}")
    x = on_host(f"the embeddings of chart {m}", chart[1])
    arrays.check_rows(f"the embeddings of chart {m}", x)
    border.check_known(f"the embeddings of chart {m}", x)
    arrays.check_equal(
        f"the number of ids and of embeddings of chart {m}",
        [names.size, x.shape[0]],
        "Give one id a row.",
    )
    if x.size == 0:
        raise ValueError(f"the embeddings of chart {m} are empty, {x.shape}.")
    twice = repeated(names)
    if twice.size:
        raise ValueError(
            f"{twice.size} ids occur more than once in chart {m}: "
            f"{few(twice)}; keep one row of each."
        )
    bad = names[~np.isfinite(x).all(axis=1)]
    if bad.size:
        raise ValueError(
            f"NaN or infinity in {bad.size} embeddings of chart {m}: ids "
            f"{few(bad)}. Leave these rows out: the samples are then absent."
        )
    return names, x


def _zeros(
    num_samples: int, widths: list[int], dtype: np.dtype
) -> np.ndarray | tuple[np.ndarray, ...]:
    """(M, N, D) for one common D, else M arrays (N, D_m)."""
    if len(set(widths)) == 1:
        return np.zeros((len(widths), num_samples, widths[0]), dtype)
    return tuple(np.zeros((num_samples, width), dtype) for width in widths)


def _union(
    names: Sequence[np.ndarray],
) -> tuple[np.ndarray, tuple[Int[np.ndarray, " _"], ...]]:
    """`union` of ids that are all of one type."""
    arrays.check_equal(
        "the type of the ids of the charts",
        [_KINDS[some.dtype.kind] for some in names],
        'Name a sample alike in all charts: 1 and "1" are different ids.',
    )
    common = np.result_type(*(some.dtype for some in names))
    if common.kind not in _KINDS:
        raise ValueError("ids of int64 and uint64 have no common type; convert them.")
    return union(names, given=sum(some.nbytes for some in names))


def _ids(ids: Ids, whose: str) -> np.ndarray:
    """Ids as a vector of integers, text or bytes, without conversion."""
    # NumPy would make a list of 1 and "1" into twice the text "1".
    kind = None if hasattr(ids, "dtype") else object
    names = on_host(f"the ids of {whose}", ids, kind)
    types = set(map(type, names.ravel()))
    if names.dtype == object and names.ndim == 1:
        kinds = {_KINDS.get(np.dtype(kind).kind) for kind in types}
        if len(kinds) == 1 and None not in kinds:
            _check_lengths(names, whose)
            names = np.array(names.tolist())
    if names.ndim != 1 or names.size == 0 or names.dtype.kind not in _KINDS:
        raise ValueError(
            f"the ids of {whose} must be a vector, not empty, of integers, of text or "
            f"of bytes; got the shape {names.shape} of "
            f"{', '.join(sorted(kind.__name__ for kind in types)) or 'nothing'}."
        )
    return names


def _check_lengths(names: np.ndarray, whose: str) -> None:
    """Raise ValueError if one long id would enlarge all of them."""
    lengths = [len(name) if isinstance(name, str | bytes) else 0 for name in names]
    longest = int(np.argmax(lengths))
    if lengths[longest] * names.size > MOST_CHARACTERS:
        raise ValueError(
            f"the ids of {whose} are too long: id {longest}, which begins with "
            f"{names[longest][:20]!r}, has {lengths[longest]} characters, and in an "
            f"array all {names.size} are as wide. Give shorter ids, a hash of the long "
            "ones, say."
        )
