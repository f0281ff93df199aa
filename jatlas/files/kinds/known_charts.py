"""Charts that an atlas knows, and new ones that join its recipe."""

from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from jatlas._src.ids import few, find
from jatlas.files.coordinates import fit_chart, take_rows
from jatlas.files.formats.faults import BadFile
from jatlas.files.formats.places import chart_name, ending
from jatlas.files.formats.sources import Source, say_notes
from jatlas.files.kinds.consensus import joined_maps, without_anchors
from jatlas.files.kinds.doubts import FEWEST_SHARED, same_model, warn
from jatlas.files.kinds.linked_rows import linked_rows
from jatlas.files.maps import SHRINKAGE
from jatlas.files.quality import differing, flat, same_encoder
from jatlas.files.readers import OPENERS, file_hash
from jatlas.files.recipe import AtlasFile, Recipe
from jatlas.files.reports import Advance, Say
from jatlas.files.survey import missing_anchors
from jatlas.merging.assembly import union

_KNOWN = (
    "Samples of a chart that is in the atlas are appended with add --chart NAME, and "
    "projected with project --chart NAME (chart=...)."
)


def joined(
    recipe: Recipe, source: Source, batch_size: int, advance: Advance, say: Say
) -> Recipe:
    """The recipe with a new chart that shares samples."""
    places = find(source.ids, recipe.anchor_ids)
    if (places < 0).any():
        missing = recipe.anchor_ids[places < 0]
        raise BadFile(f"{missing_anchors(source.path, missing)} {_KNOWN}")
    fields = _names_with(recipe, source)
    shrinkage = recipe.shrinkage
    whitened = any(np.ndim(t.scale) == 2 for t in recipe.transforms)
    if whitened and shrinkage is None:  # of a recipe that does not say it
        shrinkage = SHRINKAGE
    center = bool(recipe.transforms) and not whitened
    fitted = fit_chart(source, places, shrinkage, batch_size, advance, center)
    for m, anchors in enumerate(recipe.anchors):
        if same_encoder(fitted.anchors, anchors):
            raise BadFile(_same(recipe, m, source, "the anchors"))
    say_notes([source], say)
    for warning in flat(source, *fitted.seen[1:], dropped=fitted.dropped):
        say(f"warning: {warning}")
    added = () if fitted.transform is None else (fitted.transform,)
    return recipe._replace(
        anchors=(*recipe.anchors, fitted.anchors),
        transforms=(*recipe.transforms, *added),
        **fields,
    )


def joined_consensus(
    atlas: AtlasFile, source: Source, batch_size: int, advance: Advance, say: Say
) -> Recipe:
    """The recipe with a new chart that shares samples."""
    recipe = atlas.recipe
    maps = recipe.consensus
    assert maps is not None
    fields = _names_with(recipe, source)
    _, (_, place) = union([atlas.ids, source.ids])
    shared = place < atlas.ids.size
    if shared.sum() < FEWEST_SHARED:
        raise BadFile(
            f"{source.path}: it shares {shared.sum()} samples with the atlas, and "
            f"{FEWEST_SHARED} are needed to map a new chart to {recipe.kind} "
            f"coordinates (more are better). {_KNOWN}"
        )
    of_atlas = np.arange(place.max() + 1) < atlas.ids.size
    rows = linked_rows(source, place, of_atlas, batch_size, advance)
    for m in range(len(recipe.anchors)):
        ids, embeddings = recipe.known_samples(m)
        where = find(atlas.ids, ids)
        both = (where >= 0) & np.isin(where, rows.samples)
        if both.sum() > 1 and same_encoder(rows.of(where[both]), embeddings[both]):
            raise BadFile(_same(recipe, m, source, "common samples"))
    say_notes([source], say)
    changed = joined_maps(maps, rows, atlas.merged, atlas.ids)
    grown = recipe._replace(**without_anchors(changed), **fields)
    num_shared = [0] * len(recipe.anchors)
    if atlas.presence is not None:
        num_shared = atlas.presence[rows.samples].sum(axis=0).tolist()
    warn(same_model(grown, len(recipe.anchors), num_shared), say)
    return grown


def _same(recipe: Recipe, chart: int, source: Source, of: str) -> str:
    """The message about a file of a known encoder."""
    name = recipe.charts[chart] if recipe.charts else chart
    return (
        f"{source.path}: its embeddings of {of} are those of chart {chart} of the "
        f"atlas, {name!r}: it is of the same encoder, and would count twice. {_KNOWN}"
    )


def _names_with(recipe: Recipe, source: Source) -> dict[str, Any]:
    """Names and hashes with a new chart; ValueError if known."""
    path, number = source.path, len(recipe.anchors)
    charts = recipe.charts or tuple(map(str, range(number)))
    short = chart_name(path, OPENERS)
    name = short if short not in charts else str(path)
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
            f"a chart joins once. {_KNOWN}"
        )
    return {"charts": (*charts, name), "hashes": (*hashes, digest)}


def chart_number(recipe: Recipe, chart: int | str) -> int:
    """The number of a recipe's chart, from its name or number."""
    size = len(recipe.anchors)
    names = recipe.charts
    if chart not in names and isinstance(chart, str):  # a file's name, as tables print
        file = Path(chart)
        short = chart_name(file, OPENERS) if ending(file) in OPENERS else chart
        chart = short if short in names else chart
    meant = {names.index(chart)} if chart in names else set()
    if str(chart).isdecimal() and int(chart) < size:
        meant.add(int(chart))
    if len(meant) == 1:
        return meant.pop()
    if meant:
        raise ValueError(
            f"{chart!r} is the name of chart {names.index(chart)} and the "
            "number of another; in Python, chart=0, without quotes, is a number."
        )
    near = get_close_matches(str(chart), names, n=1)
    asked = f"; did you mean {near[0]!r}?" if near else "."
    raise ValueError(
        f"there is no chart {chart!r} in the recipe; it has 0 to {size - 1}, "
        f"{list(names)}{asked} A chart has the name of the file or folder that it was "
        "merged from. Only for a model that the atlas does not know leave --chart out."
    )


def check_encoder(
    recipe: Recipe,
    chart: int,
    source: Source,
    batch_size: int,
    advance: Advance,
    say: Say,
) -> int:
    """The file's number of anchors; ValueError for another encoder."""
    ids, embeddings = recipe.known_samples(chart)
    width, wanted = source.rows.shape[1], embeddings.shape[1]
    if width != wanted:
        raise BadFile(
            f"{source.path}: its embeddings have {width} dimensions, those of chart "
            f"{chart} {wanted}: they are of another encoder. Give the number of its "
            "chart, or, if it is a new one, none (without --chart)."
        )
    places = find(source.ids, ids)
    held = places >= 0
    taken = take_rows(source, places[held], batch_size, advance)
    far = differing(taken.rows, embeddings[held])
    what = "anchors" if recipe.consensus is None else "samples that it is known by"
    if far.any():
        raise BadFile(
            f"{source.path}: its embeddings of {far.sum()} {what} are not "
            f"those of chart {chart}, {few(ids[held][far])}: they are of "
            "another encoder, or of other weights. Give the number of its chart, or, "
            "if it is a new one, none (without --chart)."
        )
    say_notes([source], say)
    if recipe.transforms and recipe.transforms[chart].mean.dtype == np.float64:
        taken = taken._replace(hidden=0)  # it is centered in float64
    if recipe.consensus is not None:  # it centers, in float64
        taken = taken._replace(hidden=0)
    for warning in flat(source, *taken[1:]):
        say(f"warning: {warning}")
    return int(held.sum())


def known_text(recipe: Recipe, known: int) -> str:
    """How many samples of a file its encoder was checked by."""
    of = "anchors" if recipe.consensus is None else "known samples"
    if known:
        return f"{known} {of} among them"
    return f"no {of} among them, so that the encoder is not checked"
