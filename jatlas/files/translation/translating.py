"""Translate a file of one model's rows into another model's space."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jatlas._src import arrays, border
from jatlas.files.coordinates import filled
from jatlas.files.formats.faults import BadFile
from jatlas.files.formats.sources import Source, batches, check_mapped, few_common
from jatlas.files.kinds.doubts import (
    FEWEST_SHARED,
    asked_at_chance,
    few_linked,
    warn,
)
from jatlas.files.kinds.held_out_score import FEWEST, can_be_held_out, draw_sample
from jatlas.files.kinds.linked_rows import LinkedRows, dtype_of, linked_rows
from jatlas.files.quality import Reach, cosines_hidden, same_encoder
from jatlas.files.readers import File, Names, Reading, open_all
from jatlas.files.reports import Advance, Progress, Say, counted, quiet
from jatlas.files.survey import Survey, say_survey, survey
from jatlas.files.translation.scores import (
    ASKED,
    Scored,
    fitted,
    score_merging,
    score_text,
    score_translations,
)
from jatlas.merging.scoring import MergeScore
from jatlas.merging.transforms import Transform, apply_transform
from jatlas.merging.translation.fitting import METHODS

AUTO = "auto"
# A translation is fitted on so many at most, in float64.
MOST_PAIRS = 20_000


_STILL = "are translated too (--real-rows, real_rows=True takes the new file's)"


class TranslatedFile(NamedTuple):
    """The rows of a file in the space of another.

    Attributes:
        ids: (N,), of the translated file, in its order.
        embeddings: (N, K), its rows in the other file's space, in float32; the other
            file's own where it has the sample and real rows are asked for.
        transform: the map, in float64; `apply_transform` takes it for more rows.
        method: of `fit_translation`.
        pairs: how many samples it was fitted on.
        ways: the names of what was scored: methods, and the merge. Empty if fewer than
            100 samples are in both files.
        scores: a `jatlas.merging.MergeScore` each; entry [1, 0] is for the other file's
            rows that look for the translated ones, [0, 1] for the way back.
        summary: the first of these in a table.
    """

    ids: np.ndarray
    embeddings: Float[np.ndarray, "N K"]
    transform: Transform
    method: str
    pairs: int
    ways: tuple[str, ...]
    scores: tuple[MergeScore, ...]
    summary: str


@border.promoting
def translate_file(
    path: File,
    *,
    to: File,
    method: str = AUTO,
    real_rows: bool = False,
    ids: Names = None,
    embeddings: Names = None,
    reading: Reading | None = None,
    seed: int = 0,
    batch_size: int = 1024,
    say: Say | None = None,
    progress: Progress | None = None,
) -> TranslatedFile:
    """Translate all rows of a file into the space of another.

    The map is learned from the samples that both files have, 20,000 at most. How good
    it is, is measured on some that are held out, as `evaluate_files` does: each is
    looked for by its row in the other file, among the translated rows and the other
    file's. Beside it stands the score of merging the two files in consensus
    coordinates, with the best of its settings.

    Args:
        path: of the file to be translated, as `read_embeddings` reads it: the old
            model's.
        to: of the file whose space it is: the new model's.
        method: of `fit_translation`, or "auto" for the one with the best held-out mean
            reciprocal rank; ridge, if fewer than 100 samples are in both files.
        real_rows: whether samples that both files have get the other file's row, as it
            is there, instead of a translated one.
        ids: the name of the ids in the files, as in `read_embeddings`: one for both, or
            two.
        embeddings: that of the embeddings, in the same way.
        reading: a `Reading`: whether ids are converted, and invalid rows left out.
        seed: of the draws.
        batch_size: rows that are read at once.
        say: gets in a table what is in the files, warnings, and the scores.
        progress: gets, again and again, how many rows are done, and of how many.

    Returns:
        A `TranslatedFile`.

    Warns:
        UserWarning: if held-out samples are found hardly better than by chance.

    Raises:
        ValueError: if a file is not what it should be (see `read_embeddings`), ids are
            of two types, fewer than 20 samples are in both files, these have the same
            embeddings in both, or the method is unknown.
        OSError: if a file cannot be read.

    Example:
        >>> import tempfile
        >>> x = np.random.default_rng(0).normal(size=(60, 4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(folder + "/old.npz", id=np.arange(60), x=x)
        ...     np.savez(folder + "/new.npz", id=np.arange(30), x=2 * x[:30, ::-1] + 1)
        ...     result = translate_file(folder + "/old.npz", to=folder + "/new.npz")
        >>> result.method, np.abs(result.embeddings - 2 * x[:, ::-1] - 1).max().round(1)
        ('ridge', np.float64(0.0))
    """
    if method not in (AUTO, *METHODS):
        known = ", ".join((AUTO, *METHODS))
        raise ValueError(f"unknown method {method!r} (--method); known are {known}.")
    arrays.check_count("batch_size", batch_size, 1)
    samples = survey(open_all((path, to), ids, embeddings, reading))
    _check_pairs(samples)
    say, held = say or quiet, can_be_held_out(samples)
    num_rows, num_old = int(samples.presence.sum()), samples.sources[0].ids.size
    advance = counted(progress, (1 + held) * num_rows + num_old)
    lines: list[str] = []
    pair = _pairs(samples, batch_size, advance, lines.append)
    scored, summary = _scores(samples, method, seed, batch_size, advance)
    chosen = _chosen(scored, method)
    say_survey(samples, say)
    for line in lines:
        say(line)
    say(summary)
    for one in scored:
        if one.name == chosen:
            warn(asked_at_chance(one.score, *ASKED), say)
    if few := few_linked(samples):
        say(f"warning: {few}")
    transform = _fitted(pair, chosen, seed)
    rows = np.empty((num_old, pair[1].rows.shape[1]), np.float32)
    for start, x in _translated(transform, samples.sources[0], batch_size):
        rows[start : start + len(x)] = x
        advance(len(x))
    shared = pair[1].samples.size
    if real_rows:  # the samples of the first file stand first, in its order
        rows[pair[1].samples] = pair[1].rows
    used = min(shared, MOST_PAIRS)
    say(
        f"method: {chosen}, fitted on {used} samples; {num_old} rows, "
        f"{num_old - shared} of which the new file does not have, and which are "
        f"translated; the {shared} others "
        + ("are the new file's" if real_rows else _STILL)
    )
    return TranslatedFile(
        samples.sources[0].ids,
        rows,
        transform,
        chosen,
        used,
        tuple(one.name for one in scored),
        tuple(one.score for one in scored),
        summary,
    )


def _check_pairs(samples: Survey) -> None:
    """Raise ValueError unless enough samples are in both files."""
    first, second = samples.sources
    if samples.num_linked < FEWEST_SHARED:
        needed = f"{FEWEST_SHARED} are needed to translate"
        raise ValueError(few_common(first, second, samples.num_linked, needed))


def _scores(
    samples: Survey, method: str, seed: int, batch_size: int, advance: Advance
) -> tuple[list[Scored], str]:
    """The scores of the methods that are asked for, and of merging."""
    if not can_be_held_out(samples):
        return [], (
            f"no held-out score: fewer than {2 * FEWEST} samples are in both files"
        )
    sample = draw_sample(
        samples, None, seed=seed, batch_size=batch_size, advance=advance
    )
    methods = METHODS if method == AUTO else (method,)
    scored = score_translations(sample, methods)
    paths = [str(source.path) for source in samples.sources]
    scored += score_merging(sample, paths)
    return scored, score_text(sample, samples.charts, scored)


def _chosen(scored: list[Scored], method: str) -> str:
    """The wanted method, or the one that scores best."""
    if method != AUTO:
        return method
    translations = [one for one in scored if one.name in METHODS]
    return max(translations, key=Scored.asked).name if translations else METHODS[0]


def _pairs(
    samples: Survey, batch_size: int, advance: Advance, say: Say
) -> tuple[LinkedRows, LinkedRows]:
    """Both files' rows of common samples, in one order."""
    one, other = (
        linked_rows(source, place, samples.linked, batch_size, advance)
        for source, place in zip(samples.sources, samples.places, strict=True)
    )
    first, second = samples.sources
    if same_encoder(one.rows[:MOST_PAIRS], other.rows[:MOST_PAIRS]):
        raise BadFile(
            f"{second.path}: its embeddings of common samples are those of "
            f"{first.path}: both are of one encoder, and there is nothing to translate."
        )
    if other.rows.dtype == np.float64:
        width = other.rows.shape[1]
        hidden = Reach.empty(width).with_rows(other.rows[:MOST_PAIRS]).hidden()
        if hidden:
            say(
                f"warning: {second.path}: {hidden} of its {width} features vary by "
                "less than float32 holds beside their size, and translated rows are in "
                "float32: take the mean off in the file."
            )
        elif cosines_hidden(other.rows[:MOST_PAIRS]):
            say(
                f"warning: {second.path}: cosines between its rows differ by less than "
                "float32 holds, for their mean is far from zero, and translated rows "
                "are in float32: take the mean off in both before you search."
            )
    return one, other


def _fitted(pair: tuple[LinkedRows, LinkedRows], method: str, seed: int) -> Transform:
    """The map fitted on common samples, some if there are many."""
    size = pair[0].samples.size
    some = np.arange(size)
    if size > MOST_PAIRS:
        some = np.sort(np.random.default_rng(seed).permutation(size)[:MOST_PAIRS])
    source, target = (np.asarray(side.rows[some]) for side in pair)
    return fitted(source, target, method, np.ones(some.size, bool))


def _translated(
    transform: Transform, source: Source, batch_size: int
) -> Iterator[tuple[int, Float[np.ndarray, "n K"]]]:
    """The rows of a file through the map, some at a time."""
    mean = np.asarray(transform.mean)
    narrow = jax.tree.map(
        lambda part: jnp.asarray(part, jnp.float32),
        transform._replace(mean=jnp.zeros_like(mean)),
    )
    for start, x in batches(source, batch_size, dtype_of(source)):
        with np.errstate(over="ignore"):
            centered = (x - mean).astype(np.float32)
        rows = np.asarray(apply_transform(narrow, filled(centered, batch_size)))
        rows = rows[: len(x)]
        check_mapped(source, start, rows)
        yield start, rows
