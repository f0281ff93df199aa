"""Which samples link charts, and whether they link all of them."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jatlas._src import arrays
from jatlas._src.arrays import AnyArray

Stacked = AnyArray | Sequence[AnyArray]

# One linked sample of a chart is its own mean, and says nothing about any direction.
FEWEST = 2


def linked_samples(presence: Bool[np.ndarray, "M N"]) -> Bool[np.ndarray, " N"]:
    """The samples that two charts have, of a mask on the host.

    With one chart alone all of its samples count. `linked_rows` is for a mask on the
    device.

    >>> linked_samples(np.array([[True, True], [False, True]])).tolist()
    [False, True]
    """
    return np.asarray(presence.sum(axis=0) >= min(2, len(presence)))


def linked_rows(
    presence: Bool[AnyArray, "M N"], where: Bool[AnyArray, " N"] | None
) -> Bool[Array, "M N"]:
    """The rows of samples that two charts have.

    From these the map is learned. With one chart alone all its rows count.

    >>> linked_rows(jnp.array([[True, True], [False, True]]), None)
    Array([[False,  True],
           [False,  True]], dtype=bool)
    """
    present = jnp.asarray(presence)
    present = present if where is None else present & where
    fewest = min(2, presence.shape[0])
    return present & (jnp.sum(present, axis=0) >= fewest)


def joined(links: Float[Array, "M M"]) -> Bool[Array, ""]:
    """Whether a chain of links joins all charts."""
    num_charts = links.shape[0]
    reached = (links > 0).astype(links.dtype)
    for _ in range(max(num_charts - 1, 1).bit_length()):
        reached = (arrays.matmul(reached, reached) > 0).astype(links.dtype)
    return jnp.all(reached > 0)


def check_linked(
    presence: Bool[AnyArray, "M N"],
    where: Bool[AnyArray, " N"] | None = None,
    names: Sequence[str] | None = None,
) -> None:
    """Raise ValueError, naming the charts, unless linked samples join all of them.

    Charts are named by their numbers unless they have names.
    """
    present = np.asarray(presence)
    if where is not None:
        present = present & np.asarray(where)
    num_charts = present.shape[0]
    present = present & linked_samples(present)
    counts = present.sum(axis=1)
    few = np.flatnonzero(counts < FEWEST)
    if few.size:
        words = [f"chart {m}" for m in range(num_charts)] if names is None else names
        listed = ", ".join(f"{words[m]} has {counts[m]}" for m in few[:10])
        raise ValueError(
            f"{few.size} of {num_charts} charts have fewer than {FEWEST} linked "
            f"samples, samples that another chart has too: {listed}. Give more samples "
            "to two charts at once, or leave these charts out."
        )
    groups = _groups(present)
    if len(groups) > 1:
        of_names = groups if names is None else [[names[m] for m in g] for g in groups]
        listed = "; ".join(str(group) for group in of_names[:10])
        raise ValueError(
            f"no chain of linked samples joins all charts: there are {len(groups)} "
            f"groups that share no sample, {listed}. Let a chart of one group embed "
            "some samples of another, or merge each group by itself."
        )


def _groups(present: Bool[np.ndarray, "M N"]) -> list[list[int]]:
    """Charts that samples join to each other, directly or through others."""
    shared = present.astype(np.float32) @ present.astype(np.float32).T > 0
    remaining, groups = set(range(len(shared))), []
    while remaining:
        group, new = set(), {min(remaining)}
        while new:
            group |= new
            new = set(np.flatnonzero(shared[sorted(new)].any(axis=0)).tolist()) - group
        groups.append(sorted(group))
        remaining -= group
    return groups


def check_charts(
    embeddings: Stacked, presence: AnyArray, where: AnyArray | None
) -> None:
    """Raise ValueError unless embeddings and masks agree in M and N."""
    if not isinstance(embeddings, Sequence):
        arrays.check_equal(
            "the number of axes of stacked embeddings",
            [3, embeddings.ndim],
            "Give (M, N, D), or M arrays (N, D_m).",
        )
    if len(embeddings) == 0:
        raise ValueError("there are no charts to merge; give one at least.")
    for chart, x in enumerate(embeddings):
        arrays.check_rows(f"embeddings of chart {chart}", x)
    arrays.check_equal(
        "the number of samples N",
        [x.shape[0] for x in embeddings],
        "Charts of different samples are stacked by `jatlas.assemble`.",
    )
    num_samples = embeddings[0].shape[0]
    arrays.check_mask("presence", presence, (len(embeddings), num_samples), "(M, N)")
    arrays.check_mask("where", where, (num_samples,), "(N,)")
