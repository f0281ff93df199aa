"""Join a new chart to an atlas, or append samples."""

from functools import partial

import numpy as np
from jaxtyping import Bool, Int

from jatlas._src import arrays, border
from jatlas._src.ids import few, union
from jatlas.files.coordinates import through_nystroem
from jatlas.files.formats.faults import BadFile
from jatlas.files.formats.names import check_ids, check_one_kind, near_ids
from jatlas.files.formats.sources import Source
from jatlas.files.kinds.known_charts import (
    chart_number,
    check_encoder,
    joined,
    joined_consensus,
    known_text,
)
from jatlas.files.kinds.rows import chart_rows
from jatlas.files.readers import File, Reading, open_embeddings
from jatlas.files.recipe import AtlasFile, Recipe, check_atlas
from jatlas.files.reports import Advance, Progress, Say, counted, quiet
from jatlas.files.sums import add_rows, disagreement, running_of


@border.promoting
def add_file(
    atlas: AtlasFile,
    path: File,
    *,
    chart: int | str | None = None,
    ids: str | None = None,
    embeddings: str | None = None,
    reading: Reading | None = None,
    batch_size: int = 1024,
    say: Say | None = None,
    progress: Progress | None = None,
) -> AtlasFile:
    """Join a new chart to an atlas, or append known samples.

    In relative coordinates it is the same as to merge all files again with the same
    anchors, without the others: the mean over the charts is a running one. The file
    then holds the anchors; its other samples may be in the atlas or not. In consensus
    coordinates a new chart is mapped by ridge regression of the rows that it shares
    with the atlas, X, onto the atlas's rows of these, G: (X'X + ridge I)^(-1) X'G; the
    other charts' maps stay as they are.

    Args:
        atlas: from `load`, or of a merge.
        path: of a file as `read_embeddings` reads it.
        chart: the number or name of the chart that the file holds more samples of; None
            for a new chart. Samples that the atlas has from this chart stay as they
            are.
        ids: the name of the ids in the file, as in `read_embeddings`.
        embeddings: that of the embeddings.
        reading: a `Reading`: whether ids are converted, and invalid rows left out.
        batch_size: rows that are read and sent to the device at once.
        say: gets in a line what is in the file, and warnings.
        progress: gets, again and again, how many rows are done, and of how many.

    Returns:
        An `AtlasFile` with the samples of the atlas, in their order, and after them the
        new ones; rows in float32.

    Raises:
        ValueError: if the atlas is in Nystroem coordinates, which a new chart changes;
            the new chart is in it already, or another file of the same encoder, which
            its embeddings of common samples tell; the known chart is not in it, or of
            another encoder; or the file is not what it should be (see
            `read_embeddings`), lacks anchors, shares fewer than 20 samples with an
            atlas in consensus coordinates, or has similarities that are too large for
            float32.
        OSError: if it cannot be read.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> recipe = Recipe(np.array([7]), (np.array([[1.0, 0.0]]),))
        >>> rows = np.array([[1.0], [0.5]]), np.array([1, 1]), np.full(2, np.nan)
        >>> atlas = AtlasFile(np.array([7, 8]), *rows, recipe)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(folder + "/b.npz", id=[9, 8, 7], x=np.eye(3)[[0, 1, 1]])
        ...     grown = add_file(atlas, folder + "/b.npz")
        >>> grown.ids.tolist(), grown.merged.tolist(), grown.count.tolist()
        ([7, 8, 9], [[1.0], [0.75], [0.0]], [2, 2, 1])
    """
    check_atlas(atlas)
    source = open_embeddings(path, ids=ids, embeddings=embeddings, reading=reading)
    return grown_atlas(atlas, source, chart, batch_size, say or quiet, progress)


@border.promoting
def grown_atlas(
    atlas: AtlasFile,
    source: Source,
    chart: int | str | None,
    batch_size: int,
    say: Say,
    progress: Progress | None,
    *,
    in_place: bool = False,
) -> AtlasFile:
    """`add_file` of an open file, for an atlas that was checked.

    In place, the given atlas's rows become the result's, and are lost if it fails.
    """
    arrays.check_count("batch_size", batch_size, 1)
    if chart is None and atlas.recipe.nystroem is not None:
        raise ValueError(
            "the atlas is in Nystroem coordinates, and each new chart changes what "
            "these are: merge all files again, with --coordinates consensus or "
            "relative if more charts will come. More samples of a known model join "
            "with chart=... (--chart NAME)."
        )
    kinds = [("the atlas", check_ids("the ids of the atlas", atlas.ids))]
    check_one_kind([*kinds, (str(source.path), check_ids("its ids", source.ids))])
    advance = counted(progress, 2 * source.ids.size)
    every, (_, place) = union([atlas.ids, source.ids], partial(_id_text, source))
    for warning in near_ids(every):
        say(f"warning: {warning}")
    new = every.size - atlas.ids.size
    if chart is None:
        number, keep = len(atlas.recipe.anchors), np.ones(source.ids.size, bool)
        recipe = _joined(atlas, source, batch_size, advance, say)
        say(f"a new chart, {number}: {source.ids.size} samples, {new} of them new")
    else:
        recipe, number = atlas.recipe, chart_number(atlas.recipe, chart)
        keep = _appended(atlas, number, source, place)
        known = check_encoder(recipe, number, source, batch_size, advance, say)
        say(
            f"chart {number}: {source.ids.size} samples, {new} of them new, "
            f"{int(keep.sum()) - new} in the atlas by other charts alone, and now at "
            f"the mean with this one, {np.sum(~keep)} in it by this chart, and left as "
            f"they are; {known_text(recipe, known)}"
        )
    state = running_of(atlas, every.size, in_place)
    for start, rows in chart_rows(recipe, number, source, batch_size, say):
        here = slice(start, start + len(rows))
        rows = through_nystroem(recipe, rows, batch_size)[keep[here]]
        add_rows(state, place[here][keep[here]], rows)
        advance(here.stop - start)
    presence = _presence(atlas, recipe, every.size, place, number)
    sums = (state.merged, state.count, disagreement(state))
    grown = AtlasFile(every, *sums, recipe, presence, atlas.id_name)
    check_atlas(grown)
    return grown


def _id_text(source: Source, number: int, row: int) -> str:
    """An id in messages, of the atlas or of the file."""
    return source.id_text(row) if number else f"the atlas: the id in row {row}"


def _joined(
    atlas: AtlasFile, source: Source, batch_size: int, advance: Advance, say: Say
) -> Recipe:
    """The recipe after a new chart has joined."""
    if atlas.recipe.consensus is not None:
        return joined_consensus(atlas, source, batch_size, advance, say)
    return joined(atlas.recipe, source, batch_size, advance, say)


def _appended(
    atlas: AtlasFile, chart: int, source: Source, place: Int[np.ndarray, " n"]
) -> Bool[np.ndarray, " n"]:
    """The rows that the atlas has not from this chart yet.

    Raises:
        ValueError: if there are none, or the atlas cannot tell.
    """
    in_atlas = place < atlas.ids.size
    keep = ~in_atlas
    if not in_atlas.any():
        return keep
    if atlas.presence is None:
        raise BadFile(
            f"{source.path}: {in_atlas.sum()} of its samples are in the atlas, which "
            "does not say by which charts, as an older jatlas wrote it. Leave them "
            "out, or merge all files again."
        )
    keep[in_atlas] = ~atlas.presence[place[in_atlas], chart]
    if not keep.any():
        raise BadFile(f"{source.path}: all of its samples are in the atlas already.")
    others = np.flatnonzero(keep & in_atlas)
    if others.size and atlas.recipe.nystroem is not None:
        raise BadFile(
            f"{source.path}: the atlas has {others.size} of its samples from other "
            f"charts ({few(source.ids[others])}), and in Nystroem coordinates "
            "what charts say of a sample is no longer told apart. Leave them out, or "
            "merge all files again."
        )
    return keep


def _presence(
    atlas: AtlasFile,
    recipe: Recipe,
    num_samples: int,
    place: Int[np.ndarray, " n"],
    chart: int,
) -> Bool[np.ndarray, "N M"] | None:
    """Which charts have each sample, with these of one chart too."""
    old = atlas.presence
    if old is None:
        return None
    presence = np.zeros((num_samples, len(recipe.anchors)), bool)
    presence[: len(old), : old.shape[1]] = old
    presence[place, chart] = True
    return presence
