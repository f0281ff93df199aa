"""Join a new chart to an atlas: its recipe and its rows."""

from pathlib import Path

from jatlas._src import arrays, border
from jatlas.files.coordinates import fit_chart, relative_rows
from jatlas.files.formats.faults import BadFile
from jatlas.files.formats.names import check_ids, check_one_kind, find
from jatlas.files.maps import SHRINKAGE
from jatlas.files.quality import flat, same_encoder
from jatlas.files.readers import Source, file_hash, open_embeddings
from jatlas.files.recipe import AtlasFile, Recipe, check_atlas
from jatlas.files.reports import Advance, Progress, Say, counted, quiet, unseen
from jatlas.files.sums import add_rows, disagreement, running_of
from jatlas.files.survey import missing_anchors
from jatlas.merging.assembly import union


@border.promoting
def add_file(
    atlas: AtlasFile,
    path: str | Path,
    *,
    ids: str | None = None,
    embeddings: str | None = None,
    id_type: str | None = None,
    batch_size: int = 1024,
    say: Say | None = None,
    progress: Progress = unseen,
) -> AtlasFile:
    """The atlas after a new chart, from a file, has joined it.

    The same as to merge all files again with the same anchors, without the others: the
    mean over the charts is a running one. The file holds the anchors; its other samples
    may be in the atlas or not.

    Args:
        atlas: from `load`, or of a merge.
        path: of a file as `read_embeddings` reads it.
        ids: the name of the ids in the file, as in `read_embeddings`.
        embeddings: that of the embeddings.
        id_type: "text" or "integers", to have the ids converted.
        batch_size: rows that are read and sent to the device at once.
        say: gets in a line what is in the file, and warnings.
        progress: gets, again and again, how many rows are done, and of how many.

    Returns:
        An `AtlasFile` with the samples of the atlas, in their order, and after them the
        new ones; rows in float32.

    Raises:
        ValueError: if the atlas is in Nystroem coordinates, which a new chart changes;
            the chart is in it already, or another file of the same encoder, which its
            embeddings of the anchors tell; or the file is not what it should be (see
            `read_embeddings`), lacks anchors, or has similarities that are too large
            for float32.
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
    say = say or quiet
    arrays.check_count("batch_size", batch_size, 1)
    if atlas.recipe.nystroem is not None:
        raise ValueError(
            "the atlas is in Nystroem coordinates, and each chart changes what these "
            "are: merge all files again, or add to an atlas without them."
        )
    source = open_embeddings(path, ids=ids, embeddings=embeddings, id_type=id_type)
    kinds = [("the atlas", check_ids("the ids of the atlas", atlas.ids))]
    check_one_kind([*kinds, (str(path), check_ids("its ids", source.ids))])
    advance = counted(progress, 2 * source.ids.size)
    recipe = joined(atlas.recipe, source, batch_size, advance, say)
    every, (_, place) = union([atlas.ids, source.ids])
    number, new = len(recipe.anchors) - 1, every.size - atlas.ids.size
    say(f"a new chart, {number}: {source.ids.size} samples, {new} of them new")
    state = running_of(atlas, every.size)
    for start, rows in relative_rows(recipe, number, source, batch_size, say):
        add_rows(state, place[start : start + len(rows)], rows)
        advance(len(rows))
    grown = AtlasFile(every, state.merged, state.count, disagreement(state), recipe)
    check_atlas(grown)
    return grown


def joined(
    recipe: Recipe, source: Source, batch_size: int, advance: Advance, say: Say
) -> Recipe:
    """The recipe after a new chart has joined, which knows the anchors."""
    places = find(source.ids, recipe.anchor_ids)
    if (places < 0).any():
        missing = recipe.anchor_ids[places < 0]
        raise BadFile(
            f"{missing_anchors(source.path, missing)} Of a chart that is in the atlas, "
            "give chart=... (project --chart)."
        )
    path, number = source.path, len(recipe.anchors)
    charts = recipe.charts or tuple(map(str, range(number)))
    name = path.stem if path.stem not in charts else str(path)
    if name in charts:
        raise BadFile(
            f"{path}: another chart of the atlas has its name; rename the file."
        )
    digest = file_hash(path)
    hashes = recipe.hashes or ("",) * number
    if digest in hashes:
        m = hashes.index(digest)
        raise BadFile(
            f"{path}: it is chart {m} of the atlas, {charts[m]!r}, byte for byte; "
            "a chart joins once. To project it, give chart=... (project --chart)."
        )
    shrinkage = recipe.shrinkage
    if recipe.transforms and shrinkage is None:  # of a recipe that does not say it
        shrinkage = SHRINKAGE
    fitted = fit_chart(source, places, shrinkage, batch_size, advance)
    for m, anchors in enumerate(recipe.anchors):
        if same_encoder(fitted.anchors, anchors):
            raise BadFile(
                f"{path}: its embeddings of the anchors are those of chart {m} of the "
                f"atlas, {charts[m]!r}: it is of the same encoder, and would count "
                "twice. To project its samples, give chart=... (project --chart)."
            )
    if source.rows.note:
        say(f"{path}: {source.rows.note}")
    for warning in flat(source, *fitted.seen[1:], dropped=fitted.dropped):
        say(f"warning: {warning}")
    added = () if fitted.transform is None else (fitted.transform,)
    return recipe._replace(
        anchors=(*recipe.anchors, fitted.anchors),
        transforms=(*recipe.transforms, *added),
        charts=(*charts, name),
        hashes=(*hashes, digest),
    )
