"""Merge files of embeddings, of any encoders, into one atlas."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jatlas._src import arrays, border
from jatlas.files.coordinates import through_nystroem
from jatlas.files.formats.columns.beside import id_column
from jatlas.files.kinds.fitting import with_nystroem
from jatlas.files.kinds.options import RELATIVE, checked
from jatlas.files.kinds.planning import plan_merge
from jatlas.files.kinds.rows import chart_rows
from jatlas.files.readers import File, Names, Reading, open_all
from jatlas.files.recipe import AtlasFile, check_atlas, num_averaged
from jatlas.files.reports import Progress, Say, quiet
from jatlas.files.sums import add_rows, disagreement, empty_running


@border.promoting
def merge_files(
    paths: Sequence[File],
    *,
    ids: Names = None,
    embeddings: Names = None,
    reading: Reading | None = None,
    coordinates: str = RELATIVE,
    anchors: str | Path | None = None,
    similarity: str = "cosine",
    center: bool = False,
    whiten: bool = False,
    shrinkage: float | None = None,
    ridge: float | None = None,
    power: float | None = None,
    features: int | None = None,
    seed: int = 0,
    batch_size: int = 1024,
    say: Say | None = None,
    progress: Progress | None = None,
) -> AtlasFile:
    """Merge embeddings in files, of any encoders and widths, into one space.

    The files are read twice, three times for consensus coordinates with a held-out
    score, some rows at a time, once more for their hashes, and once for invalid rows if
    those are dropped: what they hold need not fit in memory, only the atlas and the
    ids. The next rows are read while these are computed with. Rows of linked samples
    lie in temporary files for consensus coordinates, if they take more than 1/8 GiB.

    Args:
        paths: of M files, one a chart, as `read_embeddings` reads them.
        ids: the name of the ids in the files, as in `read_embeddings`: one for all, or
            a sequence with one a file.
        embeddings: that of the embeddings, in the same way.
        reading: a `Reading`: whether ids are converted, and invalid rows left out.
        coordinates: "relative", similarities to anchors; "nystroem", these made
            orthonormal by the map of `fit_nystroem` with `by_chart`; "consensus", the
            maps of `fit_consensus` from all linked samples, those that two files have,
            for which no sample need be in all files; "procrustes", the rotations of
            `fit_procrustes` from the same samples; or "auto", whichever finds
            held-out linked samples best, plain, centered or whitened, by their mean
            reciprocal rank; relative if fewer than 100 samples are linked.
        anchors: "shared:256" for so many, drawn among the samples that every file has,
            which None means too; or a file of ids, .txt (one a line) or .npy. Consensus
            coordinates take none.
        similarity: the name of one of `relativize`.
        center: whether each chart's mean is taken off first (`fit_center`, fitted on
            the same rows).
        whiten: whether each chart is whitened first (`fit_whiten`, fitted on 50,000 of
            its rows at most). A file in float64 is centered in float64.
        shrinkage: of these covariances, 0 to 1; that of `fit_whiten` if None. A chart
            that joins later is whitened with the same.
        ridge: of consensus coordinates, as in `fit_consensus`; chosen by held-out
            linked samples if None, and 1 if there are too few.
        power: of the agreement there, chosen in the same way.
        features: how many consensus coordinates, or those of Procrustes; as many as the
            widest chart has, if None.
        seed: of the draw of the anchors, and of held-out samples.
        batch_size: rows that are read and sent to the device at once.
        say: gets in a table what is in the files, warnings, and the held-out score.
        progress: gets, again and again, how many rows are done, and of how many.

    Returns:
        An `AtlasFile`: samples in order of first appearance, merged rows in float32.

    Warns:
        UserWarning: if held-out samples are found hardly better than by chance, where
            there is a score; if consensus coordinates are learned from few samples; or
            if two charts seem to be of one encoder.

    Raises:
        ValueError: if a file is not what it should be (see `read_embeddings`), ids are
            of two types, two files are the same byte for byte or have the same
            embeddings of common samples, anchors are missing or too few, no chain of
            samples joins the files, "auto" finds fewer than 20 linked samples and no
            anchors, an option is unknown or another kind's, or
            similarities are too large for float32.
        OSError: if a file cannot be read.

    Example:
        >>> import tempfile
        >>> rows = np.random.default_rng(0).normal(size=(9, 4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(folder + "/a.npz", id=np.arange(9), x=rows)
        ...     np.savez(folder + "/b.npz", id=np.arange(3, 9), x=rows[3:, :3])
        ...     files = [folder + "/a.npz", folder + "/b.npz"]
        ...     atlas = merge_files(files, anchors="shared:5")
        >>> atlas.merged.shape, atlas.count.tolist()
        ((9, 5), [1, 1, 1, 2, 2, 2, 2, 2, 2])
    """
    kind = checked(
        coordinates,
        anchors,
        similarity,
        center,
        whiten,
        shrinkage,
        ridge,
        power,
        features,
    )
    arrays.check_count("batch_size", batch_size, 1)
    plan = plan_merge(
        open_all(paths, ids, embeddings, reading),
        kind,
        anchors,
        id_type=(reading or Reading()).id_type,
        seed=seed,
        batch_size=batch_size,
        say=say,
        progress=progress,
    )
    samples, recipe = plan.samples, plan.recipe
    say = say or quiet
    state = empty_running(samples.ids.size, num_averaged(recipe))
    for m, (source, place) in enumerate(
        zip(samples.sources, samples.places, strict=True)
    ):
        for start, rows in chart_rows(recipe, m, source, batch_size, say):
            add_rows(state, place[start : start + len(rows)], rows)
            plan.advance(len(rows))
    merged = state.merged
    if plan.nystroem:
        recipe = with_nystroem(recipe, merged[samples.anchors], say)
        merged = through_nystroem(recipe, merged, batch_size)
    atlas = AtlasFile(
        samples.ids,
        merged,
        state.count,
        disagreement(state),
        recipe,
        np.ascontiguousarray(samples.presence.T),
        id_column(samples.sources[0].rows.id_name),
    )
    check_atlas(atlas)
    return atlas
