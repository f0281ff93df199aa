"""Compare files of embeddings on the samples that they share."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jatlas._src import arrays, border
from jatlas.files.comparison.common import common_rows
from jatlas.files.comparison.grams import GRAMS, gram_of, grams_tested
from jatlas.files.comparison.measures import (
    MEASURES,
    NEAREST,
    TRANSLATED,
    USUAL,
    Measure,
)
from jatlas.files.comparison.results import Comparison, Likeness
from jatlas.files.coordinates import take_rows
from jatlas.files.formats.names import near_ids
from jatlas.files.formats.rows import AT_ONCE
from jatlas.files.formats.sources import Source, say_notes
from jatlas.files.quality import Reach, cosines_hidden
from jatlas.files.readers import File, Names, Reading, open_all
from jatlas.files.reports import Progress, Say, counted, quiet
from jatlas.metrics.permutation import PermutationTest, permuted
from jatlas.metrics.resampling import BootstrapInterval, halves

LEVEL = 0.95  # of intervals
_MOST_NUMBERS = 1 << 27  # in matrices that are kept, half a gigabyte


class _Counts(NamedTuple):
    """How many neighbours, pairings and halves there are."""

    neighbors: int
    permutations: int
    bootstrap: int


@border.promoting
def compare_files(
    files: Sequence[File],
    *,
    ids: Names = None,
    embeddings: Names = None,
    reading: Reading | None = None,
    measures: Sequence[str] | None = None,
    neighbors: int = 10,
    samples: int = 1000,
    permutations: int = 199,
    bootstrap: int = 0,
    seed: int = 0,
    say: Say | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare each pair of files on the samples that all have.

    Samples are drawn once, so all pairs are measured on the same ones, shuffled in the
    same ways.

    Args:
        files: paths of two files or more, as `read_embeddings` reads them; an atlas is
            one too.
        ids: the name of the ids in the files, as in `read_embeddings`: one for all, or
            one a file.
        embeddings: that of the embeddings, in the same way.
        reading: a `Reading`: whether ids are converted, and invalid rows left out.
        measures: names of some of `MEASURES`; the first six if None.
        neighbors: k of the nearest neighbours, by cosine.
        samples: how many of the common samples are drawn, at most: time grows with
            their square.
        permutations: random pairings of the samples that the values are held against.
        bootstrap: random halves of the samples that give an interval of 95 % (see
            `jatlas.metrics.bootstrap_interval`); no interval if 0.
        seed: of all draws.
        say: gets lines about the columns that were taken, rows left out, and warnings.
        progress: gets, again and again, how many measures of pairs are done, and of how
            many.

    Returns:
        A `Comparison`.

    Raises:
        ValueError: if a file is not what it should be (see `read_embeddings`), there
            are fewer than two, ids are of two types, there are too few common samples,
            4, or k + 2 where neighbours are looked at, twice as many for intervals,
            fewer are to be drawn, or a measure is unknown.
        OSError: if a file cannot be read.

    Example:
        >>> import tempfile
        >>> rows = np.random.default_rng(0).normal(size=(20, 4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(folder + "/x.npz", id=np.arange(20), x=rows)
        ...     comparison = compare_files(
        ...         [folder + "/x.npz"] * 2, measures=["cka-linear"], permutations=19)
        >>> (linear,) = comparison.likenesses
        >>> round(linear.value, 3), round(linear.p_value, 3)
        (1.0, 0.05)
        >>> comparison.matrix("cka-linear").shape
        (2, 2)
    """
    if isinstance(files, str | Path) or len(files) < 2:
        raise ValueError(f"files must be two paths or more, in a list; got {files!r}.")
    arrays.check_counts(1, neighbors=neighbors, permutations=permutations)
    arrays.check_count("samples", samples, 4)
    arrays.check_count("bootstrap", bootstrap, 2 if bootstrap else 0)
    wanted = list(MEASURES)[:USUAL] if measures is None else list(measures)
    if unknown := [name for name in wanted if name not in MEASURES]:
        raise ValueError(f"no measures {unknown}; known are {', '.join(MEASURES)}.")
    least = _least(wanted, neighbors, bootstrap)
    if samples < least:
        raise ValueError(
            f"samples (--samples) must be {least} at least for {neighbors} neighbors "
            f"(--neighbors){' and intervals' * bool(bootstrap)}, got {samples}."
        )
    sources = open_all(files, ids, embeddings, reading)
    _describe(sources, say or quiet)
    places, common = common_rows(sources, least, samples, seed)
    spaces = [_space(s, rows) for s, rows in zip(sources, places, strict=True)]
    counts = _Counts(neighbors, permutations, bootstrap)
    measured = _likenesses(spaces, wanted, seed, counts, progress)
    blind = [name for name in wanted if name not in TRANSLATED]
    hidden = _hidden(blind, spaces)
    unknown = list(dict.fromkeys(m.measure for m in measured if np.isnan(m.value)))
    unknown = [name for name in unknown if not (hidden and name in blind)]
    reasons = _reasons(unknown, spaces) + hidden
    paths = tuple(space.path for space in spaces)
    return Comparison(common, len(spaces[0].rows), measured, reasons, paths)


def _likenesses(
    spaces: Sequence["_Space"],
    measures: Sequence[str],
    seed: int,
    counts: _Counts,
    progress: Progress | None,
) -> tuple[Likeness, ...]:
    """All measures of all pairs of spaces."""
    pairs = list(combinations(range(len(spaces)), 2))
    advance = counted(progress, len(measures) * len(pairs))
    key, result = jax.random.key(seed), []
    wide = any(space.wide for space in spaces)
    for name in measures:
        with jax.enable_x64(wide and name not in TRANSLATED):
            rows = [_rows_for(name, space, wide) for space in spaces]
            tests = _tests(key, name, rows, counts)
            for (i, j), test in zip(pairs, tests, strict=True):
                value, chance, p_value = map(
                    float, (test.value, jnp.mean(test.null), test.p_value)
                )
                ends = None
                if counts.bootstrap:
                    ends = _interval(key, rows[i], rows[j], MEASURES[name], counts)
                result.append(Likeness(name, value, chance, p_value, (i, j), ends))
                advance(1)
    return tuple(result)


def _rows_for(name: str, space: "_Space", wide: bool) -> Array:
    """The rows of a space that a measure takes."""
    if name in TRANSLATED:
        return space.centered
    return jnp.asarray(space.exact, jnp.float64) if wide else space.rows


def _tests(
    key: PRNGKeyArray, name: str, rows: Sequence[Array], counts: _Counts
) -> Iterator[PermutationTest]:
    """The permutation test of each pair, by matrices if they fit."""
    pairs = combinations(range(len(rows)), 2)
    if name in GRAMS and len(rows) * len(rows[0]) ** 2 <= _MOST_NUMBERS:
        grams = [gram_of(x, GRAMS[name], counts.neighbors) for x in rows]
        for i, j in pairs:
            yield grams_tested(key, grams[i], grams[j], counts.permutations)
    else:
        for i, j in pairs:
            yield _tested(key, rows[i], rows[j], MEASURES[name], counts)


def _least(measures: Sequence[str], neighbors: int, bootstrap: int) -> int:
    """How many samples the measures need."""
    least = max(neighbors + 2, 4) if NEAREST & set(measures) else 4
    return 2 * least if bootstrap else least


@partial(jax.jit, static_argnames=("measure", "counts"))
def _tested(
    key: PRNGKeyArray,
    x: Float[Array, "n D1"],
    y: Float[Array, "n D2"],
    measure: Measure,
    counts: _Counts,
) -> PermutationTest:
    """The permutation test of a measure, in one program."""
    statistic = measure(x, y, counts.neighbors)
    return permuted(
        key,
        statistic(x, y),
        lambda places: statistic(x, y[places]),
        len(x),
        counts.permutations,
    )


def _interval(
    key: PRNGKeyArray, x: Array, y: Array, measure: Measure, counts: _Counts
) -> tuple[float, float]:
    """The interval of a measure."""
    ends = _halves(jax.random.fold_in(key, 1), x, y, measure, counts)
    return float(ends.low), float(ends.high)


@partial(jax.jit, static_argnames=("measure", "counts"))
def _halves(
    key: PRNGKeyArray,
    x: Float[Array, "n D1"],
    y: Float[Array, "n D2"],
    measure: Measure,
    counts: _Counts,
) -> BootstrapInterval:
    statistic = measure(x, y, counts.neighbors)
    return halves(key, statistic, x, y, counts.bootstrap, LEVEL)


class _Space(NamedTuple):
    """The rows of a file that are compared, in float32.

    Attributes:
        path: of the file.
        exact: (n, D), as they are in the file.
        wide: whether cosines of its rows differ by less than float32 holds. Then what
            looks at cosines does so in float64.
        rows: (n, D), as they are.
        centered: (n, D), less their mean if the file is in float64: taken off in it,
            lest what varies be lost beside a large mean.
        hidden: how many features vary by less than float32 holds beside their size.
    """

    path: str
    exact: np.ndarray
    wide: bool
    rows: Array
    centered: Array
    hidden: int


def _space(source: Source, rows: Int[np.ndarray, " n"]) -> _Space:
    wide = source.rows.dtype == np.float64
    dtype = np.float64 if wide else np.float32
    x = take_rows(source, rows, AT_ONCE, lambda done: None, dtype).rows
    plain = jnp.asarray(x, jnp.float32)
    if not wide:
        return _Space(str(source.path), x, cosines_hidden(x), plain, plain, 0)
    centered = jnp.asarray(x - x.mean(axis=0), jnp.float32)
    hidden = Reach.empty(x.shape[1]).with_rows(x).hidden()
    return _Space(str(source.path), x, cosines_hidden(x), plain, centered, hidden)


def _describe(sources: Sequence[Source], say: Say) -> None:
    """Say which columns and rows were taken, and warnings."""
    say_notes(sources, say)
    if len({source.ids.dtype.kind for source in sources}) == 1:
        for warning in near_ids(*(source.ids for source in sources)):
            say(f"warning: {warning}")


def _reasons(measures: Sequence[str], spaces: Sequence[_Space]) -> tuple[str, ...]:
    """Why the measures are NaN: what does not vary is like nothing."""
    if not measures:
        return ()
    which, reasons = ", ".join(measures), []
    for space in spaces:
        path, units, centered = space.path, arrays.unit(space.rows), space.centered
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
        f"{which}: not to be trusted, for {s.hidden} of the {s.rows.shape[1]} features "
        f"of {s.path} vary by less than float32 holds beside their size; take the mean "
        "off the embeddings before."
        for s in spaces
        if measures and s.hidden
    )
