"""Compare two files of embeddings on the samples that they share."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from jatlas._src import arrays, border
from jatlas._src.pairs.median import median_distance
from jatlas.files.coordinates import take_rows
from jatlas.files.formats.names import check_ids, check_one_kind, find, near_ids
from jatlas.files.formats.rows import AT_ONCE
from jatlas.files.formats.sources import Source, say_notes
from jatlas.files.quality import Reach
from jatlas.files.readers import Names, Reading, open_all
from jatlas.files.reports import Progress, Say, counted, quiet
from jatlas.metrics.alignment import cka
from jatlas.metrics.neighborhoods.neighbors import mutual_neighbors
from jatlas.metrics.permutation import permutation_test
from jatlas.metrics.self_similarity import self_similarity_correlation

Statistic = Callable[[Array, Array], Array]


class Likeness(NamedTuple):
    """One measure of how alike two spaces are.

    Attributes:
        measure: its name.
        value: of the spaces as they are.
        chance: the mean over random pairings of their samples.
        p_value: the odds of such a value, or a larger, by chance alone.
    """

    measure: str
    value: float
    chance: float
    p_value: float


class Comparison(NamedTuple):
    """How alike two files are.

    Attributes:
        common: how many samples they share.
        compared: how many of these were compared.
        likenesses: one a measure.
        reasons: why values are NaN, or not to be trusted, in sentences; none if none
            is.
    """

    common: int
    compared: int
    likenesses: tuple[Likeness, ...]
    reasons: tuple[str, ...] = ()


def _rbf(x: Array, y: Array, k: int, *, debiased: bool = False) -> Statistic:
    """CKA with widths fixed once: shuffling the samples keeps them."""
    widths = float(median_distance(x)), float(median_distance(y))
    return partial(cka, kernel="rbf", sigma=widths, debiased=debiased)


def _neighbors(x: Array, y: Array, k: int) -> Statistic:
    """Mutual neighbours by cosine."""

    def shared(x: Array, y: Array) -> Array:
        return mutual_neighbors(arrays.unit(x), arrays.unit(y), k)

    return shared


MEASURES: dict[str, Callable[[Array, Array, int], Statistic]] = {
    "cka-linear": lambda x, y, k: cka,
    "cka-linear-debiased": lambda x, y, k: partial(cka, debiased=True),
    "cka-rbf": _rbf,
    "cka-rbf-debiased": partial(_rbf, debiased=True),
    "neighbors": _neighbors,
    "self-similarity": lambda x, y, k: self_similarity_correlation,
}

# Those that a mean taken off the rows does not change.
_TRANSLATED = {name for name in MEASURES if name.startswith("cka")}


@border.promoting
def compare_files(
    x: str | Path,
    y: str | Path,
    *,
    ids: Names = None,
    embeddings: Names = None,
    reading: Reading | None = None,
    measures: Sequence[str] | None = None,
    neighbors: int = 10,
    samples: int = 1000,
    permutations: int = 199,
    seed: int = 0,
    say: Say | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare two files of embeddings on the samples that both have.

    Args:
        x: path of a file as `read_embeddings` reads it; an atlas is one too.
        y: path of another.
        ids: the name of the ids in the files, as in `read_embeddings`: one for both, or
            two.
        embeddings: that of the embeddings, in the same way.
        reading: a `Reading`: whether ids are converted, and invalid rows left out.
        measures: names of some of `MEASURES`; all if None.
        neighbors: k of the mutual neighbours, by cosine.
        samples: how many of the common samples are drawn, at most: time grows with
            their square.
        permutations: random pairings of the samples that the values are held against.
        seed: of both draws.
        say: gets lines about the columns that were taken, rows left out, and warnings.
        progress: gets, again and again, how many measures are done, and of how many.

    Returns:
        A `Comparison`.

    Raises:
        ValueError: if a file is not what it should be (see `read_embeddings`), ids are
            of two types, there are too few common samples, 4, or k + 2 for the measure
            neighbors, fewer are to be drawn, or a measure is unknown.
        OSError: if a file cannot be read.

    Example:
        >>> import tempfile
        >>> rows = np.random.default_rng(0).normal(size=(20, 4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(folder + "/x.npz", id=np.arange(20), x=rows)
        ...     comparison = compare_files(
        ...         folder + "/x.npz", folder + "/x.npz", measures=["cka-linear"],
        ...         permutations=19)
        >>> (linear,) = comparison.likenesses
        >>> round(linear.value, 3), round(linear.p_value, 3)
        (1.0, 0.05)
    """
    arrays.check_counts(1, neighbors=neighbors, permutations=permutations)
    arrays.check_count("samples", samples, 4)
    wanted = list(MEASURES if measures is None else measures)
    if unknown := [name for name in wanted if name not in MEASURES]:
        raise ValueError(f"no measures {unknown}; known are {', '.join(MEASURES)}.")
    least = 4
    if "neighbors" in wanted:
        least = max(neighbors + 2, least)
        if samples < least:
            raise ValueError(
                f"samples (--samples) must be {least} at least for {neighbors} "
                f"neighbors (--neighbors), got {samples}."
            )
    first, second = open_all((x, y), ids, embeddings, reading)
    _describe(first, second, say or quiet)
    places, common = _common(first, second, least, samples, seed)
    spaces = [
        _space(source, rows)
        for source, rows in zip((first, second), places, strict=True)
    ]
    key, likenesses = jax.random.key(seed), []
    advance = counted(progress, len(wanted))
    for name in wanted:
        a, b = (s.centered if name in _TRANSLATED else s.rows for s in spaces)
        test = permutation_test(
            key,
            MEASURES[name](a, b, neighbors),
            a,
            b,
            permutations=permutations,
        )
        chance, value = float(jnp.mean(test.null)), float(test.value)
        likenesses.append(Likeness(name, value, chance, float(test.p_value)))
        advance(1)
    blind = [name for name in wanted if name not in _TRANSLATED]
    hidden = _hidden(blind, spaces)
    unknown = [one.measure for one in likenesses if np.isnan(one.value)]
    unknown = [name for name in unknown if not (hidden and name in blind)]
    reasons = _reasons(unknown, spaces) + hidden
    return Comparison(common, len(spaces[0].rows), tuple(likenesses), reasons)


class _Space(NamedTuple):
    """The rows of a file that are compared, in float32.

    Attributes:
        path: of the file.
        rows: (n, D), as they are.
        centered: (n, D), less their mean if the file is in float64: taken off in it,
            lest what varies be lost beside a large mean.
        hidden: how many features vary by less than float32 holds beside their size.
    """

    path: str
    rows: Array
    centered: Array
    hidden: int


def _space(source: Source, rows: Int[np.ndarray, " n"]) -> _Space:
    wide = source.rows.dtype == np.float64
    dtype = np.float64 if wide else np.float32
    x = take_rows(source, rows, AT_ONCE, lambda done: None, dtype).rows
    plain = jnp.asarray(x, jnp.float32)
    if not wide:
        return _Space(str(source.path), plain, plain, 0)
    centered = jnp.asarray(x - x.mean(axis=0), jnp.float32)
    hidden = Reach.empty(x.shape[1]).with_rows(x).hidden()
    return _Space(str(source.path), plain, centered, hidden)


def _describe(first: Source, second: Source, say: Say) -> None:
    """Say which columns and rows were taken, and warnings."""
    say_notes((first, second), say)
    if first.ids.dtype.kind == second.ids.dtype.kind:
        for warning in near_ids(np.union1d(first.ids, second.ids)):
            say(f"warning: {warning}")


def _reasons(measures: Sequence[str], spaces: Sequence[_Space]) -> tuple[str, ...]:
    """Why the measures are NaN: what does not vary is like nothing."""
    if not measures:
        return ()
    which, reasons = ", ".join(measures), []
    for path, rows, centered, _ in spaces:
        units = arrays.unit(rows)
        if bool(jnp.allclose(centered, centered[0], rtol=1e-6, atol=0)):
            reasons.append(f"all compared rows of {path} are the same")
        elif bool(jnp.allclose(units, units[0], atol=1e-6)):
            reasons.append(f"all compared rows of {path} point in one direction")
    reasons = reasons or ["too little varies in one of the spaces"]
    return tuple(f"{which}: nan, for {reason}." for reason in reasons)


def _hidden(measures: Sequence[str], spaces: Sequence[_Space]) -> tuple[str, ...]:
    """The message about measures that a large mean spoils."""
    which = ", ".join(measures)
    return tuple(
        f"{which}: not to be trusted, for {hidden} of the {rows.shape[1]} features of "
        f"{path} vary by less than float32 holds beside their size; take the mean off "
        "the embeddings before."
        for path, rows, _, hidden in spaces
        if measures and hidden
    )


def _common(
    x: Source, y: Source, least: int, most: int, seed: int
) -> tuple[list[Int[np.ndarray, " n"]], int]:
    """The rows of n common samples in each file, and their number."""
    check_one_kind([(str(s.path), check_ids("its ids", s.ids)) for s in (x, y)])
    places = find(y.ids, x.ids)
    rows = np.flatnonzero(places >= 0)
    if rows.size < least:
        raise ValueError(
            f"{x.path} and {y.path} have {rows.size} samples in common, and {least} "
            f"are needed; their ids begin with {x.ids[:3].tolist()} and "
            f"{y.ids[:3].tolist()}. Name a sample alike in both."
        )
    drawn = np.random.default_rng(seed).permutation(rows)[:most]
    drawn.sort()
    return [drawn, places[drawn]], rows.size
