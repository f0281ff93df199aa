"""New samples for an atlas, from its charts or a new one."""

import numpy as np

from jatlas._src import arrays, border
from jatlas.files.coordinates import through_nystroem
from jatlas.files.formats.columns.beside import id_column
from jatlas.files.formats.names import check_ids, check_one_kind, near_ids
from jatlas.files.kinds.known_charts import (
    chart_number,
    check_encoder,
    joined,
    known_text,
)
from jatlas.files.kinds.rows import chart_rows
from jatlas.files.readers import File, Reading, open_embeddings
from jatlas.files.recipe import (
    AtlasFile,
    Recipe,
    check_atlas,
    check_recipe,
    num_averaged,
)
from jatlas.files.reports import Progress, Say, counted, quiet


@border.promoting
def project_file(
    recipe: Recipe,
    path: File,
    *,
    chart: int | str | None,
    ids: str | None = None,
    embeddings: str | None = None,
    reading: Reading | None = None,
    batch_size: int = 1024,
    say: Say | None = None,
    progress: Progress | None = None,
) -> AtlasFile:
    """Put new samples into an atlas, from any chart.

    It is one of the atlas's charts, or a new one. A sample of one chart gets the
    coordinates that the merge would have given it, to the last bit on one machine and
    with one batch_size. One that several charts have is the mean of its projections.

    Args:
        recipe: of the atlas, from `load_recipe`.
        path: of a file as `read_embeddings` reads it.
        chart: the number, from 0, or the name of the chart that the embeddings are of,
            or the name of its file;
            None if they are of a new one: then the anchors must be among the samples.
            In consensus coordinates a new chart joins with `add_file` only.
        ids: the name of the ids in the file, as in `read_embeddings`.
        embeddings: that of the embeddings.
        reading: a `Reading`: whether ids are converted, and invalid rows left out.
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
    source = open_embeddings(path, ids=ids, embeddings=embeddings, reading=reading)
    known_ids, _ = recipe.known_samples(0)
    kinds = [("the anchors", check_ids("the ids of the anchors", known_ids))]
    check_one_kind([*kinds, (str(source.path), check_ids("its ids", source.ids))])
    known_by = [recipe.known_samples(m)[0] for m in range(len(recipe.anchors))]
    for warning in near_ids(source.ids, *known_by):
        say(f"warning: {warning}")
    advance = counted(progress, 2 * source.ids.size)
    if chart is None:
        if recipe.consensus is not None:
            raise ValueError(
                f"a new chart is mapped to {recipe.kind} coordinates by the samples "
                "that it shares with the atlas, whose rows it takes: join it with add. "
                "Of a chart that is in the atlas, give chart=... (project --chart)."
            )
        number = len(recipe.anchors)
        recipe = joined(recipe, source, batch_size, advance, say)
        say(f"a new chart, {number}: {source.ids.size} samples, all the anchors")
    else:
        number = chart_number(recipe, chart)
        known = check_encoder(recipe, number, source, batch_size, advance, say)
        size = source.ids.size
        say(f"chart {number}: {size} samples, {known_text(recipe, known)}")
    merged = np.empty((source.ids.size, num_averaged(recipe)), np.float32)
    for start, rows in chart_rows(recipe, number, source, batch_size, say):
        merged[start : start + len(rows)] = rows
        advance(len(rows))
    count = np.ones(source.ids.size, np.int32)
    alone = np.full(source.ids.size, np.nan, np.float32)
    merged = through_nystroem(recipe, merged, batch_size)
    presence = np.zeros((source.ids.size, len(recipe.anchors)), bool)
    presence[:, number] = True
    id_name = id_column(source.rows.id_name)
    atlas = AtlasFile(source.ids, merged, count, alone, recipe, presence, id_name)
    check_atlas(atlas)
    return atlas
