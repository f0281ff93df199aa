"""Merge files of embeddings, of any encoders, into one atlas."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float

from jatlas._src import arrays, border
from jatlas.files.coordinates import (
    Fitted,
    fit_chart,
    relative_rows,
    similar_to_anchors,
    through_nystroem,
)
from jatlas.files.formats.faults import BadFile
from jatlas.files.maps import SHRINKAGE, FittedMap, fit_nystroem
from jatlas.files.quality import flat, same_encoder
from jatlas.files.readers import Source, file_hash, open_embeddings
from jatlas.files.recipe import AtlasFile, Recipe, check_atlas, check_shrinkage
from jatlas.files.reports import Advance, Progress, Say, counted, quiet, unseen
from jatlas.files.sums import add_rows, disagreement, empty_running
from jatlas.files.survey import Survey, describe, redrawn, survey, warnings
from jatlas.merging.relative import SIMILARITIES


@border.promoting
def merge_files(
    paths: Sequence[str | Path],
    *,
    ids: str | None = None,
    embeddings: str | None = None,
    id_type: str | None = None,
    anchors: str = "shared:256",
    similarity: str = "cosine",
    whiten: bool = False,
    shrinkage: float | None = None,
    nystroem: bool = False,
    seed: int = 0,
    batch_size: int = 1024,
    say: Say | None = None,
    progress: Progress = unseen,
) -> AtlasFile:
    """Merge embeddings in files, of any encoders and widths, into one space.

    The files are read twice, some rows at a time, and once more for their hashes: what
    they hold need not fit in memory, only the atlas, (N, A), and the ids.

    Args:
        paths: of M files, one a chart, as `read_embeddings` reads them.
        ids: the name of the ids in the files, as in `read_embeddings`.
        embeddings: that of the embeddings.
        id_type: "text" or "integers", to have the ids converted.
        anchors: "shared:256" for so many, drawn among the samples that every file has
            and that are zero in none;
            or a file of ids, .txt (one a line) or .npy.
        similarity: the name of one of `relativize`.
        whiten: whether each chart is whitened first (`fit_whiten`, fitted on 50,000 of
            its rows at most). A file in float64 is centered in float64.
        shrinkage: of these covariances, 0 to 1; that of `fit_whiten` if None. A chart
            that joins later is whitened with the same.
        nystroem: whether the merged rows are made orthonormal coordinates, by the map
            of `fit_nystroem` with `by_chart`.
        seed: of the draw of the anchors.
        batch_size: rows that are read and sent to the device at once.
        say: gets in a table what is in the files, and warnings.
        progress: gets, again and again, how many rows are done, and of how many.

    Returns:
        An `AtlasFile`: samples in order of first appearance, merged rows in float32.

    Raises:
        ValueError: if a file is not what it should be (see `read_embeddings`), ids are
            of two types, two files are the same byte for byte or have the same
            embeddings of the anchors, anchors are missing or too few, an option is
            unknown, or similarities are too large for float32.
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
    say = say or quiet
    arrays.check_count("batch_size", batch_size, 1)
    shrinkage = _shrinkage(whiten, shrinkage)
    if similarity not in SIMILARITIES:
        known = ", ".join(SIMILARITIES)
        raise ValueError(f"unknown similarity {similarity!r}; known are {known}.")
    opened = [
        open_embeddings(path, ids=ids, embeddings=embeddings, id_type=id_type)
        for path in paths
    ]
    samples = survey(opened, anchors, id_type=id_type, seed=seed)
    say(describe(samples))
    for warning in warnings(samples):
        say(f"warning: {warning}")
    for source in samples.sources:
        if source.rows.note:
            say(f"{source.path}: {source.rows.note}")
    advance = counted(progress, 2 * int(samples.presence.sum()))
    hashes = _hashes(samples.sources)
    recipe = _recipe(samples, similarity, shrinkage, batch_size, advance, say)
    again = redrawn(
        samples, anchors, recipe.anchors, seed=seed, batch_size=batch_size, say=say
    )
    if again is not samples:
        samples, skip = again, lambda _: None
        recipe = _recipe(samples, similarity, shrinkage, batch_size, skip, quiet)
    recipe = recipe._replace(hashes=hashes)
    state = empty_running(samples.ids.size, recipe.anchor_ids.size)
    for m, (source, place) in enumerate(
        zip(samples.sources, samples.places, strict=True)
    ):
        for start, rows in relative_rows(recipe, m, source, batch_size, say):
            add_rows(state, place[start : start + len(rows)], rows)
            advance(len(rows))
    merged = state.merged
    if nystroem:
        fitted = _orthonormal(recipe, merged[samples.anchors])
        recipe = recipe._replace(nystroem=fitted.transform)
        if fitted.dropped:
            say(
                f"warning: Nystroem's map drops {fitted.dropped} of the "
                f"{samples.anchors.size} directions of the merged rows: rounding does "
                "not tell them from none. Are anchors the same, or zero?"
            )
        merged = through_nystroem(recipe, merged, batch_size)
    atlas = AtlasFile(samples.ids, merged, state.count, disagreement(state), recipe)
    check_atlas(atlas)
    return atlas


def _hashes(sources: Sequence[Source]) -> tuple[str, ...]:
    """Of each file; ValueError if two, by whatever names, are the same."""
    hashes: dict[str, Source] = {}
    for source in sources:
        digest = file_hash(source.path)
        if digest in hashes:
            raise ValueError(
                f"{hashes[digest].path} and {source.path} are the same byte for byte; "
                "a chart joins once. Leave one out."
            )
        hashes[digest] = source
    return tuple(hashes)


def _shrinkage(whiten: bool, shrinkage: float | None) -> float | None:
    """That of the whitening; None if there is none."""
    check_shrinkage(shrinkage)
    if not whiten and shrinkage is not None:
        raise ValueError(
            "shrinkage (--shrinkage) is that of the whitening: give whiten=True "
            "(--whiten) too, or leave it out."
        )
    if not whiten:
        return None
    return SHRINKAGE if shrinkage is None else float(shrinkage)


def _recipe(
    samples: Survey,
    similarity: str,
    shrinkage: float | None,
    batch_size: int,
    advance: Advance,
    say: Say,
) -> Recipe:
    """The charts' anchors and transforms, from a first reading."""
    charts: list[Fitted] = []
    for source, place in zip(samples.sources, samples.places, strict=True):
        where = np.full(samples.ids.size, -1)
        where[place] = np.arange(place.size)
        fitted = fit_chart(
            source, where[samples.anchors], shrinkage, batch_size, advance
        )
        for m, other in enumerate(charts):
            if same_encoder(fitted.anchors, other.anchors):
                raise BadFile(
                    f"{source.path}: its embeddings of the anchors are those of "
                    f"{samples.sources[m].path}: both are of one encoder, which would "
                    "count twice. Give one file with all of its samples."
                )
        charts.append(fitted)
        for warning in flat(source, *fitted.seen[1:], dropped=fitted.dropped):
            say(f"warning: {warning}")
    transforms = [fitted.transform for fitted in charts]
    return Recipe(
        samples.ids[samples.anchors],
        tuple(fitted.anchors for fitted in charts),
        tuple(transform for transform in transforms if transform is not None),
        None,
        similarity,
        samples.charts,
        versions=_versions(),
        shrinkage=shrinkage,
    )


def _orthonormal(recipe: Recipe, rows: Float[np.ndarray, "A A"]) -> FittedMap:
    """Nystroem's map from the anchors' merged rows, by chart kernels.

    Also where every sample is in every chart: a new sample can come from one of them,
    and the map of the mean kernel alone sorts such samples by chart.
    """
    charts = enumerate(recipe.anchors)
    kernels = [similar_to_anchors(recipe, m, anchors) for m, anchors in charts]
    return fit_nystroem(rows, kernels)


def _versions() -> dict[str, str]:
    versions = {"jax": jax.__version__, "numpy": np.__version__}
    try:
        return {"jatlas": version("jatlas")} | versions
    except PackageNotFoundError:  # run from a checkout that is not installed
        return versions
