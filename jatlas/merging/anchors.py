"""Choosing anchors among the samples that may be anchors."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from jatlas._src import arrays, border
from jatlas._src.arrays import AnyArray
from jatlas._src.border import on_host
from jatlas._src.seeds import Seed, generator


class _Pool(NamedTuple):
    """The candidates of the methods: A or more indices, with statistics."""

    members: np.ndarray
    labels: AnyArray | None
    embeddings: np.ndarray | None


@border.short
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
            centers. The last two go by the angle between embeddings, which they need.
        labels: (N,), class numbers.
        embeddings: (N, D), of one chart. What stands outside the pool does not matter.
            Inside, none may be zero, whatever the method.

    Returns:
        (A,), different indices into the N samples. Their order is the order of the
        coordinates, and the same for all charts.

    Raises:
        ValueError: if the pool is not a boolean vector, holds fewer than A samples or
            has a class too small for its share; if labels or embeddings are missing or
            of another N; if embeddings in the pool are zero, NaN or infinite; if the
            method is unknown; if an array is masked, or of a `jax.jit` around the call.

    Example:
        >>> import numpy as np
        >>> pool = np.array([True, False, True, True])
        >>> sorted(choose_anchors(0, pool, 3).tolist())
        [0, 2, 3]

    Source: Moschella et al. (2023) choose uniformly; the others are ours to compare.
    """
    pool = on_host("pool", pool)
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
    known = _Pool(
        members,
        labels,
        None if embeddings is None else on_host("embeddings", embeddings),
    )
    _check_directions(known)
    return METHODS[method](generator(key), known, num_anchors)


def _uniform(rng: np.random.Generator, pool: _Pool, num: int) -> np.ndarray:
    return rng.permutation(pool.members)[:num]


def _balanced(rng: np.random.Generator, pool: _Pool, num: int) -> np.ndarray:
    if pool.labels is None:
        raise ValueError("method 'balanced' needs labels, (N,).")
    labels = on_host("labels", pool.labels)
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
        rng.permutation(pool.members[classes == name])[:size]
        for name, size in zip(names, shares, strict=True)
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
    centers = x[_spread(rng, x, num)]
    for _ in range(20):  # Lloyd's steps on the sphere; the gain after these is small
        nearest = np.argmax(x @ centers.T, axis=1)
        sums = np.zeros_like(centers)
        np.add.at(sums, nearest, x)
        kept = np.any(sums, axis=1)[:, None]  # a centre without samples stays
        centers = _unit_rows(np.where(kept, sums, centers))
    return pool.members[_nearest_unused(x @ centers.T)]


def _spread(rng: np.random.Generator, x: np.ndarray, num: int) -> list[int]:
    """Draw rows in turn, with odds 1 - cosine to the nearest.

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
    if pool.embeddings is None:
        raise ValueError(f"method {method!r} needs embeddings, (N, D).")
    return _unit_rows(pool.embeddings[pool.members].astype(np.float64))


def _check_directions(pool: _Pool) -> None:
    """Raise ValueError unless all embeddings in the pool have a direction."""
    if pool.embeddings is None:
        return
    arrays.check_rows("embeddings", pool.embeddings)
    members, rows = pool.members, pool.embeddings[pool.members]
    finite = np.isfinite(rows).all(axis=1)
    for bad, what in ((~finite, "NaN or infinity"), (~rows.any(axis=1), "only zeros")):
        if bad.any():
            raise ValueError(
                f"{what} in the embeddings of {members[bad][:10].tolist()} "
                f"({bad.sum()} in all), which so have no direction; take them out of "
                "the pool, as `anchor_pool` does with the embeddings of all charts."
            )


def _unit_rows(rows: np.ndarray) -> np.ndarray:
    rows = rows / np.abs(rows).max(axis=1, keepdims=True)  # squares then stay finite
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


METHODS: dict[str, Callable[[np.random.Generator, _Pool, int], np.ndarray]] = {
    "uniform": _uniform,
    "balanced": _balanced,
    "farthest": _farthest,
    "kmeans": _kmeans,
}
