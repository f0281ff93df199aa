"""The samples that all files have, drawn once."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Int

from jatlas._src.ids import find
from jatlas.files.formats.names import check_ids, check_one_kind
from jatlas.files.formats.sources import Source, few_common


def common_rows(
    sources: Sequence[Source], least: int, most: int, seed: int
) -> tuple[list[Int[np.ndarray, " n"]], int]:
    """The rows of n common samples in each file, and their number.

    Raises:
        ValueError: if ids are of two types, or there are fewer than `least`.
    """
    check_one_kind([(str(s.path), check_ids("its ids", s.ids)) for s in sources])
    first = sources[0].ids
    places = np.stack([find(source.ids, first) for source in sources])
    rows = np.flatnonzero((places >= 0).all(axis=0))
    if rows.size < least:
        _refuse(sources, rows.size, least)
    drawn = np.random.default_rng(seed).permutation(rows)[:most]
    drawn.sort()
    return list(places[:, drawn]), rows.size


def _refuse(sources: Sequence[Source], common: int, least: int) -> None:
    """Raise ValueError about the two files with the fewest common samples."""
    shared = {
        (i, j): int((find(sources[j].ids, sources[i].ids) >= 0).sum())
        for i, j in combinations(range(len(sources)), 2)
    }
    i, j = min(shared, key=shared.__getitem__)
    start = ""
    if len(sources) > 2:
        start = (
            f"{common} samples are in all {len(sources)} files; all pairs are measured "
            "on the same ones. Leave a file out: "
        )
    needed = f"{least} are needed"
    raise ValueError(start + few_common(sources[i], sources[j], shared[i, j], needed))
