"""Recipes fitted to files: anchors and transforms, or consensus maps."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import jax
import numpy as np
from jaxtyping import Float

from jatlas.files.coordinates import Fitted, Taken, fit_chart, similar_to_anchors
from jatlas.files.formats.faults import BadFile
from jatlas.files.kinds.consensus import fit, recipe_of
from jatlas.files.kinds.options import PROCRUSTES, Kind
from jatlas.files.maps import FittedMap, fit_nystroem
from jatlas.files.quality import flat, same_encoder
from jatlas.files.recipe import Recipe
from jatlas.files.reports import Advance, Say
from jatlas.files.survey import Survey


def fitted_recipe(
    samples: Survey,
    *,
    kind: Kind,
    batch_size: int,
    advance: Advance,
    say: Say,
    looks: Sequence[Taken] = (),
) -> Recipe:
    """The charts' anchors and transforms, or their maps, from a first reading.

    Or from `looks`, what `rows_to_fit` means of each, if they were read before.
    """
    if kind.is_linked:
        ridge: float | None = 1.0 if kind.ridge is None else float(kind.ridge)
        power = 1.0 if kind.power is None else float(kind.power)
        if kind.coordinates == PROCRUSTES:
            ridge, power = None, 0.0
        options = (ridge, power, kind.features, batch_size, advance)
        fields = {"charts": samples.charts, "versions": _versions()}
        return recipe_of(fit(samples, *options), **fields)
    charts: list[Fitted] = []
    for k, (source, place) in enumerate(
        zip(samples.sources, samples.places, strict=True)
    ):
        where = np.full(samples.ids.size, -1)
        where[place] = np.arange(place.size)
        fitted = fit_chart(
            source,
            where[samples.anchors],
            kind.shrinkage,
            batch_size,
            advance,
            kind.center,
            looks[k] if looks else None,
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
        kind.similarity,
        samples.charts,
        versions=_versions(),
        shrinkage=kind.shrinkage,
    )


def with_nystroem(recipe: Recipe, rows: Float[np.ndarray, "A A"], say: Say) -> Recipe:
    """The recipe with Nystroem's map, from the anchors' merged rows."""
    fitted = _orthonormal(recipe, rows)
    if fitted.dropped:
        say(
            f"warning: Nystroem's map drops {fitted.dropped} of the {len(rows)} "
            "directions of the merged rows: rounding does not tell them from none. Are "
            "anchors the same, or zero?"
        )
    return recipe._replace(nystroem=fitted.transform)


def _orthonormal(recipe: Recipe, rows: Float[np.ndarray, "A A"]) -> FittedMap:
    """Nystroem's map from the anchors' merged rows, by the charts' own kernels.

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
