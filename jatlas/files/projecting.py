"""New samples for an atlas, from its charts or a new one."""

from pathlib import Path

import numpy as np

from jatlas._src import arrays, border
from jatlas.files.adding import joined
from jatlas.files.coordinates import relative_rows, take_rows, through_nystroem
from jatlas.files.formats.faults import BadFile
from jatlas.files.formats.names import check_ids, check_one_kind, find
from jatlas.files.quality import differing, flat
from jatlas.files.readers import Source, open_embeddings
from jatlas.files.recipe import AtlasFile, Recipe, check_atlas, check_recipe
from jatlas.files.reports import Advance, Progress, Say, counted, quiet, unseen


@border.promoting
def project_file(
    recipe: Recipe,
    path: str | Path,
    *,
    chart: int | str | None,
    ids: str | None = None,
    embeddings: str | None = None,
    id_type: str | None = None,
    batch_size: int = 1024,
    say: Say | None = None,
    progress: Progress = unseen,
) -> AtlasFile:
    """Put new samples into an atlas, from any chart.

    It is one of the atlas's charts, or a new one. A sample of one chart gets the
    coordinates that the merge would have given it, to the last bit on one machine and
    with one batch_size. One that several charts have is the mean of its projections.

    Args:
        recipe: of the atlas, from `load_recipe`.
        path: of a file as `read_embeddings` reads it.
        chart: the number, from 0, or the name of the chart that the embeddings are of;
            None if they are of a new one: then the anchors must be among the samples.
        ids: the name of the ids in the file, as in `read_embeddings`.
        embeddings: that of the embeddings.
        id_type: "text" or "integers", to have the ids converted.
        batch_size: rows that are read and sent to the device at once.
        say: gets in a line what is in the file, and warnings.
        progress: gets, again and again, how many rows are done, and of how many.

    Returns:
        An `AtlasFile` of the samples in the file, with the recipe, which a new chart
        has joined.

    Raises:
        ValueError: if the file is not what it should be (see `read_embeddings`), has
            another dimension than the chart or other embeddings of the anchors; if it
            lacks anchors for a new chart, or is of one that is in the atlas; if a name
            is another chart's number; if similarities are too large for float32.
        OSError: if it cannot be read.

    Example:
        >>> import tempfile
        >>> recipe = Recipe(np.array([7, 8]), (np.eye(2, dtype=np.float32),))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(folder + "/new.npz", id=[9], x=[[3.0, 4.0]])
        ...     project_file(recipe, folder + "/new.npz", chart=0).merged.round(3)
        array([[0.6, 0.8]], dtype=float32)
    """
    check_recipe(recipe)
    say = say or quiet
    arrays.check_count("batch_size", batch_size, 1)
    source = open_embeddings(path, ids=ids, embeddings=embeddings, id_type=id_type)
    kinds = [("the anchors", check_ids("the ids of the anchors", recipe.anchor_ids))]
    check_one_kind([*kinds, (str(path), check_ids("its ids", source.ids))])
    advance = counted(progress, 2 * source.ids.size)
    if chart is None:
        number = len(recipe.anchors)
        recipe = joined(recipe, source, batch_size, advance, say)
        say(f"a new chart, {number}: {source.ids.size} samples, all the anchors")
    else:
        number = _number(recipe, chart)
        known = _check_encoder(recipe, number, source, batch_size, advance, say)
        say(f"chart {number}: {source.ids.size} samples, {known} anchors among them")
        if not known:
            say(
                "warning: with no anchor among them nobody can check if the encoder "
                "is the same"
            )
    merged = np.empty((source.ids.size, recipe.anchor_ids.size), np.float32)
    for start, rows in relative_rows(recipe, number, source, batch_size, say):
        merged[start : start + len(rows)] = rows
        advance(len(rows))
    count = np.ones(source.ids.size, np.int32)
    alone = np.full(source.ids.size, np.nan, np.float32)
    merged = through_nystroem(recipe, merged, batch_size)
    atlas = AtlasFile(source.ids, merged, count, alone, recipe)
    check_atlas(atlas)
    return atlas


def _number(recipe: Recipe, chart: int | str) -> int:
    """The number of a recipe's chart, from its name or number."""
    size = len(recipe.anchors)
    meant = {recipe.charts.index(chart)} if chart in recipe.charts else set()
    if str(chart).isdecimal() and int(chart) < size:
        meant.add(int(chart))
    if len(meant) == 1:
        return meant.pop()
    if meant:
        raise ValueError(
            f"{chart!r} is the name of chart {recipe.charts.index(chart)} and the "
            "number of another; in Python, chart=0, without quotes, is a number."
        )
    raise ValueError(
        f"there is no chart {chart!r} in the recipe; it has 0 to {size - 1}, "
        f"{list(recipe.charts)}. For a new chart leave it out."
    )


def _check_encoder(
    recipe: Recipe,
    chart: int,
    source: Source,
    batch_size: int,
    advance: Advance,
    say: Say,
) -> int:
    """The file's number of anchors; ValueError for another encoder."""
    anchors = recipe.anchors[chart]
    width, wanted = source.rows.shape[1], anchors.shape[1]
    if width != wanted:
        raise BadFile(
            f"{source.path}: its embeddings have {width} dimensions, those of chart "
            f"{chart} {wanted}: they are of another encoder. Give the number of its "
            "chart, or, if it is a new one, none (project without --chart)."
        )
    places = find(source.ids, recipe.anchor_ids)
    held = places >= 0
    taken = take_rows(source, places[held], batch_size, advance)
    far = differing(taken.rows, anchors[held])
    if far.any():
        raise BadFile(
            f"{source.path}: its embeddings of {far.sum()} anchors are not those of "
            f"chart {chart}, {recipe.anchor_ids[held][far][:10].tolist()}: they are of "
            "another encoder, or of other weights. Give the number of its chart, or, "
            "if it is a new one, none (project without --chart)."
        )
    if source.rows.note:
        say(f"{source.path}: {source.rows.note}")
    if recipe.transforms and recipe.transforms[chart].mean.dtype == np.float64:
        taken = taken._replace(hidden=0)  # it is centered in float64
    for warning in flat(source, *taken[1:]):
        say(f"warning: {warning}")
    return int(held.sum())
