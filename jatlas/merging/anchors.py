"""Who may be an anchor, and choosing among them."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from jatlas._src import arrays
from jatlas._src.arrays import AnyArray
from jatlas._src.seeds import Seed, generator

RULES = ("shared", "unseen")


class _Pool(NamedTuple):
    """What the methods choose from: indices of A or more samples, and what is known."""

    members: np.ndarray
    labels: AnyArray | None
    embeddings: AnyArray | None


@partial(jax.jit, static_argnames="rule")
def anchor_pool(seen: Bool[Array, "M N"], rule: str) -> Bool[Array, " N"]:
    """The samples that may be anchors.

    An anchor that some charts were trained on and others were not biases the merged
    space, so it is all or none: "shared", the samples that every chart saw in training
    (for charts with common samples), or "unseen", those that no chart saw (for charts
    with none). Validation and test samples are unseen as well: take them out of the
    pool (`& ~test`), or keep samples from every chart for this, as `Tasks.held_out`.

    Args:
        seen: (M, N), True where chart m was trained on sample n.
        rule: "shared" or "unseen".

    Returns:
        (N,), boolean.

    Raises:
        ValueError: if seen is not a boolean matrix of one chart at least, or the rule
            is unknown.

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
    return jnp.all(seen, axis=0) if rule == "shared" else ~jnp.any(seen, axis=0)


def choose_anchors(
    key: Seed,
    pool: Bool[AnyArray, " N"],
    num_anchors: int,
    *,
    method: str = "uniform",
    labels: AnyArray | None = None,
    embeddings: AnyArray | None = None,
) -> np.ndarray:
    """Choose A anchors from a pool. Runs on the host.

    Args:
        key: a JAX key or an integer seed.
        pool: (N,), True for the samples that may be anchors, as from `anchor_pool`.
        num_anchors: A.
        method: "uniform"; "balanced", the same number from each of the pool's classes,
            the remainder one each from classes drawn at random (needs labels);
            "farthest", one after another the sample farthest from those chosen, the
            first drawn at random; or "kmeans", the samples nearest to A cluster
            centres. The last two go by the angle between embeddings, which they need.
        labels: (N,), class numbers.
        embeddings: (N, D), of one chart. What stands outside the pool does not matter.

    Returns:
        (A,), different indices into the N samples. Their order is the order of the
        coordinates, and the same for all charts.

    Raises:
        ValueError: if the pool is not a boolean vector, holds fewer than A samples or
            has a class too small for its share; if labels or embeddings are missing or
            of another N; if embeddings in the pool are zero, NaN or infinite; if the
            method is unknown.

    Example:
        >>> import numpy as np
        >>> pool = np.array([True, False, True, True])
        >>> sorted(choose_anchors(0, pool, 3).tolist())
        [0, 2, 3]

    Source: Moschella et al. (2023) choose uniformly; the others are ours to compare.
    """
    pool = np.asarray(pool)
    arrays.check_equal("the number of axes of pool", [1, pool.ndim], "Give (N,).")
    arrays.check_mask("pool", pool, pool.shape, "(N,)")
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; known are {', '.join(METHODS)}.")
    members = np.flatnonzero(pool)
    if not 1 <= num_anchors <= members.size:
        raise ValueError(
            f"cannot choose {num_anchors} anchors from a pool of {members.size} of "
            f"{pool.size} samples; ask for 1 to {members.size}, or widen the pool."
        )
    for name, array in (("labels", labels), ("embeddings", embeddings)):
        if array is not None:
            arrays.check_equal(
                f"the number of samples of pool and {name}",
                [pool.size, len(array)],
                "Both are over all N samples, in one order.",
            )
    return METHODS[method](
        generator(key), _Pool(members, labels, embeddings), num_anchors
    )


def check_anchors(
    anchors: AnyArray,
    presence: Bool[AnyArray, "M N"],
    *,
    seen: Bool[AnyArray, "M N"] | None = None,
    ids: AnyArray | None = None,
) -> None:
    """Raise unless these samples can be the anchors of all charts. Runs on the host.

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
    anchors, presence = np.asarray(anchors), np.asarray(presence)
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
    names = anchors if ids is None else np.asarray(ids)
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
        arrays.check_mask("seen", np.asarray(seen), presence.shape, "(M, N)")
        saw = np.asarray(seen)[:, anchors]
        some = saw.any(axis=0) & ~saw.all(axis=0)
        _refuse(names[some], "anchors seen in training by some charts only", saw)


def repeated(values: np.ndarray) -> np.ndarray:
    """The values that occur more than once, each named once, in order.

    >>> repeated(np.array([3, 1, 3, 2, 1])).tolist()
    [1, 3]
    """
    found, counts = np.unique(values, return_counts=True)
    return found[counts > 1]


def _refuse(bad: np.ndarray, what: str, held: np.ndarray | None = None) -> None:
    if bad.size == 0:
        return
    counts = "" if held is None else f" (by chart: {held.sum(axis=1).tolist()} have it)"
    raise ValueError(
        f"{bad.size} {what}: {bad[:10].tolist()}{counts}. All charts must share the "
        "same anchors, each known to all or, in training, to none; choose them from "
        "`anchor_pool`."
    )


def _uniform(rng: np.random.Generator, pool: _Pool, num: int) -> np.ndarray:
    return rng.permutation(pool.members)[:num]


def _balanced(rng: np.random.Generator, pool: _Pool, num: int) -> np.ndarray:
    if pool.labels is None:
        raise ValueError("method 'balanced' needs labels, (N,).")
    labels = np.asarray(pool.labels)
    arrays.check_equal("the number of axes of labels", [1, labels.ndim], "Give (N,).")
    classes = labels[pool.members]
    names, sizes = np.unique(classes, return_counts=True)
    share, remainder = divmod(num, names.size)
    larger = np.flatnonzero(sizes > share)
    if (sizes < share).any() or larger.size < remainder:
        small = np.flatnonzero(sizes < share + (remainder > 0))
        counts = [f"{sizes[i]} of class {names[i]}" for i in small[:10]]
        raise ValueError(
            f"{num} balanced anchors over {names.size} classes need {share} of each, "
            f"and one more of {remainder} of them; the pool has only "
            f"{', '.join(counts)}. Ask for fewer."
        )
    shares = np.full(names.size, share)
    shares[rng.permutation(larger)[:remainder]] += 1
    chosen = [
        rng.permutation(pool.members[classes == name])[:own]
        for name, own in zip(names, shares, strict=True)
    ]
    return rng.permutation(np.concatenate(chosen))


def _farthest(rng: np.random.Generator, pool: _Pool, num: int) -> np.ndarray:
    x = _directions(pool, "farthest")
    chosen = [int(rng.integers(len(x)))]
    cosine = np.full(len(x), -np.inf)
    for _ in range(num - 1):
        cosine = np.maximum(cosine, x @ x[chosen[-1]])
        cosine[chosen] = np.inf  # never twice, not even among copies
        chosen.append(int(np.argmin(cosine)))
    return pool.members[chosen]


def _kmeans(rng: np.random.Generator, pool: _Pool, num: int) -> np.ndarray:
    x = _directions(pool, "kmeans")
    centres = x[_spread(rng, x, num)]
    for _ in range(20):  # Lloyd's steps on the sphere; the gain after these is small
        nearest = np.argmax(x @ centres.T, axis=1)
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, x)
        kept = np.any(sums, axis=1)[:, None]  # a centre without samples stays
        centres = _unit_rows(np.where(kept, sums, centres))
    return pool.members[_nearest_unused(x @ centres.T)]


def _spread(rng: np.random.Generator, x: np.ndarray, num: int) -> list[int]:
    """Rows drawn one after another with odds of 1 - cosine to the nearest drawn.

    This is k-means++, as |x - y|^2 = 2 (1 - cosine) here. A start from the farthest
    rows ends in worse clusters: outliers keep a centre each.
    """
    chosen = [int(rng.integers(len(x)))]
    odds = np.full(len(x), np.inf)
    for _ in range(num - 1):
        odds = np.minimum(odds, np.maximum(1 - x @ x[chosen[-1]], 0))
        odds[chosen] = 0
        total = odds.sum()
        if total == 0:  # only copies of the drawn are left, and any will do
            unused = np.delete(np.arange(len(x)), chosen)
            chosen.append(int(rng.choice(unused)))
        else:
            chosen.append(int(rng.choice(len(x), p=odds / total)))
    return chosen


def _nearest_unused(cosines: np.ndarray) -> np.ndarray:
    """For each column its best row, no row twice."""
    chosen: list[int] = []
    for column in cosines.T.copy():
        column[chosen] = -np.inf
        chosen.append(int(np.argmax(column)))
    return np.array(chosen)


def _directions(pool: _Pool, method: str) -> np.ndarray:
    """The pool's embeddings as unit vectors."""
    members, embeddings = pool.members, pool.embeddings
    if embeddings is None:
        raise ValueError(f"method {method!r} needs embeddings, (N, D).")
    arrays.check_rows("embeddings", embeddings)
    own = np.asarray(embeddings)[members].astype(np.float64)
    finite = np.isfinite(own).all(axis=1)
    for bad, what in ((~finite, "NaN or infinity"), (~own.any(axis=1), "only zeros")):
        if bad.any():
            raise ValueError(
                f"{what} in the embeddings of {members[bad][:10].tolist()} "
                f"({bad.sum()} in all), which so have no direction; take them out of "
                "the pool."
            )
    return _unit_rows(own)


def _unit_rows(rows: np.ndarray) -> np.ndarray:
    rows = rows / np.abs(rows).max(axis=1, keepdims=True)  # squares then stay finite
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


METHODS: dict[str, Callable[[np.random.Generator, _Pool, int], np.ndarray]] = {
    "uniform": _uniform,
    "balanced": _balanced,
    "farthest": _farthest,
    "kmeans": _kmeans,
}
