"""Who may be an anchor of all charts."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jatlas._src import arrays, border
from jatlas._src.arrays import AnyArray
from jatlas._src.border import on_host
from jatlas._src.ids import few

Stacked = Float[AnyArray, "M N D"] | Sequence[Float[AnyArray, "N _"]]

RULES = ("shared", "unseen")


@border.jit(static_argnames="rule")
def anchor_pool(
    seen: Bool[Array, "M N"],
    rule: str,
    *,
    embeddings: Float[AnyArray, "M N D"]
    | Sequence[Float[AnyArray, "N _"]]
    | None = None,
) -> Bool[Array, " N"]:
    """The samples that may be anchors.

    An anchor that some charts were trained on and others were not biases the merged
    space, so it is all or none: "shared", the samples that every chart saw in training
    (for charts with common samples), or "unseen", those that no chart saw (for charts
    with none). Validation and test samples are unseen as well: take them out of the
    pool (`& ~test`), or keep samples from every chart for this, as `Tasks.held_out`.

    Args:
        seen: (M, N), True where chart m was trained on sample n.
        rule: "shared" or "unseen".
        embeddings: (M, N, D), or M arrays (N, D_m). If given, the pool leaves out the
            samples whose embedding is zero, NaN or infinite in any chart: an anchor
            that is a zero vector has cosine 0 to every sample of that chart, and its
            coordinate says nothing. `pool.sum()` tells how many are left.

    Returns:
        (N,), boolean.

    Raises:
        ValueError: if seen is not a boolean matrix of one chart at least, the rule is
            unknown, or the embeddings are not of M charts and N samples.

    Example:
        >>> import jax.numpy as jnp
        >>> seen = jnp.array([[True, True, False], [True, False, False]])
        >>> anchor_pool(seen, "shared"), anchor_pool(seen, "unseen")
        (Array([ True, False, False], dtype=bool), Array([False, False,  True], dtype=bool))

    Source: Crisostomi et al., "From Charts to Atlas" (2023), section 3.
    """  # noqa: E501 - the output of the example is one line
    arrays.check_equal("the number of axes of seen", [2, seen.ndim], "Give (M, N).")
    arrays.check_mask("seen", seen, seen.shape, "(M, N)")
    if seen.shape[0] == 0:
        raise ValueError("seen has no charts, (0, N); give one row a chart.")
    if rule not in RULES:
        raise ValueError(f"unknown rule {rule!r}; known are {', '.join(RULES)}.")
    pool = jnp.all(seen, axis=0) if rule == "shared" else ~jnp.any(seen, axis=0)
    return pool if embeddings is None else pool & _pointing(embeddings, seen.shape)


def _pointing(embeddings: Stacked, shape: tuple[int, ...]) -> Bool[Array, " N"]:
    """The samples that have a direction in every chart."""
    arrays.check_equal(
        "the number of charts M of seen and embeddings",
        [shape[0], len(embeddings)],
        "Give (M, N, D), or one array (N, D) a chart.",
    )
    pool = jnp.ones(shape[1], bool)
    for chart, x in enumerate(embeddings):
        arrays.check_rows(f"embeddings of chart {chart}", x)
        arrays.check_equal(
            f"the number of samples N of seen and of chart {chart}",
            [shape[1], x.shape[0]],
            "Both are over all N samples, in one order.",
        )
        pool &= jnp.any(x != 0, axis=1) & jnp.all(jnp.isfinite(x), axis=1)
    return pool


@border.short
def check_anchors(
    anchors: AnyArray,
    presence: Bool[AnyArray, "M N"],
    *,
    seen: Bool[AnyArray, "M N"] | None = None,
    ids: AnyArray | None = None,
) -> None:
    """Raise unless these samples can be the anchors of all charts.

    It runs on the host.

    Args:
        anchors: (A,), indices into the N samples.
        presence: (M, N), True where chart m has an embedding of sample n, be it of its
            task or not: not the presence of `Tasks`, in which held-out anchors are in
            no task.
        seen: (M, N), True where chart m was trained on sample n, if that is known.
            Leave it out to allow anchors that only some charts were trained on, which
            bias the merged space.
        ids: (N,), names of the samples for the message; their indices if None.

    Raises:
        ValueError: if an index is out of range or repeats, an anchor is absent from a
            chart, or an anchor was seen in training by some charts only. The message
            names the first ten.

    Example:
        >>> import numpy as np
        >>> check_anchors(np.array([1]), np.array([[True, True], [False, True]]))
    """
    anchors, presence = on_host("anchors", anchors), on_host("presence", presence)
    arrays.check_equal(
        "the number of axes of presence", [2, presence.ndim], "Give (M, N)."
    )
    arrays.check_mask("presence", presence, presence.shape, "(M, N)")
    if anchors.size == 0:
        raise ValueError("there are no anchors; choose one at least.")
    if not np.issubdtype(anchors.dtype, np.integer) or anchors.ndim != 1:
        raise ValueError(
            f"anchors must be a vector of indices, got {anchors.dtype}{anchors.shape}; "
            "of a boolean mask, np.flatnonzero gives them."
        )
    last = presence.shape[1] - 1
    names = anchors if ids is None else on_host("ids", ids)
    _refuse(
        anchors[(anchors < 0) | (anchors > last)], f"anchors out of range 0..{last}"
    )
    if ids is not None:
        arrays.check_equal(
            "the number of samples of presence and ids",
            [last + 1, len(names)],
            "Give one id a sample.",
        )
        names = names[anchors]
    _refuse(repeated(names), "anchors named more than once")
    held = presence[:, anchors]
    _refuse(names[~held.all(axis=0)], "anchors absent from a chart", held)
    if seen is not None:
        seen = on_host("seen", seen)
        arrays.check_mask("seen", seen, presence.shape, "(M, N)")
        saw = seen[:, anchors]
        some = saw.any(axis=0) & ~saw.all(axis=0)
        _refuse(names[some], "anchors seen in training by some charts only", saw)


def repeated(values: np.ndarray) -> np.ndarray:
    """The values that occur more than once, each named once, in order.

    >>> repeated(np.array([3, 1, 3, 2, 1])).tolist()
    [1, 3]
    """
    named, counts = np.unique(values, return_counts=True)
    return named[counts > 1]


def _refuse(bad: np.ndarray, what: str, held: np.ndarray | None = None) -> None:
    if bad.size == 0:
        return
    counts = "" if held is None else f" (by chart: {held.sum(axis=1).tolist()} have it)"
    raise ValueError(
        f"{bad.size} {what}: {few(bad)}{counts}. All charts must share the "
        "same anchors, each known to all or, in training, to none; choose them from "
        "`anchor_pool`."
    )
