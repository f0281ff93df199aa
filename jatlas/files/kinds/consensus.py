"""Consensus coordinates of files, fitted from sums in float64."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jatlas._src import arrays
from jatlas._src.consensus import linked, rotations, solving
from jatlas._src.consensus.moments import ConsensusState
from jatlas._src.ids import few
from jatlas.files.coordinates import filled
from jatlas.files.formats.faults import BadFile
from jatlas.files.formats.names import near_ids
from jatlas.files.formats.sources import Source, batches, check_mapped
from jatlas.files.kinds.linked_rows import (
    MOST_KNOWN,
    LinkedRows,
    dtype_of,
    linked_rows,
    pieces,
)
from jatlas.files.maps import ConsensusMaps
from jatlas.files.overlap import behind
from jatlas.files.quality import same_encoder
from jatlas.files.recipe import Recipe
from jatlas.files.reports import Advance
from jatlas.files.survey import Survey

# Rounds over the charts in which their rotations settle.
SWEEPS = 10


def fit(
    samples: Survey,
    ridge: float | None,
    power: float,
    num_features: int | None,
    batch_size: int,
    advance: Advance,
) -> ConsensusMaps:
    """Fit consensus maps from all samples that link files.

    Without a ridge they are the rotations of `fit_procrustes`.

    Raises:
        ValueError: if no chain of samples joins the files, two are of one encoder, or
            num_features is out of range.
    """
    check_joined(samples)
    links = linked.linked_samples(samples.presence)
    charts = [
        linked_rows(source, place, links, batch_size, advance, len(samples.sources))
        for source, place in zip(samples.sources, samples.places, strict=True)
    ]
    _check_encoders(samples, charts)
    widths = [chart.rows.shape[1] for chart in charts]
    most = min(int(links.sum()), sum(widths) if ridge is not None else max(widths))
    features = min(max(widths), most) if num_features is None else num_features
    if not 1 <= features <= most:
        raise ValueError(
            f"features (--features) must be from 1 to {most}, the smaller of the "
            f"number of linked samples and of {_DIMENSIONS[ridge is None]}, got "
            f"{features}."
        )
    consensus = _solved(_moments(charts, samples.presence[:, links]), features, ridge)
    known = [chart.known(samples.ids) for chart in charts]
    agreement = consensus.agreement
    weights = [(w * agreement**power).astype(np.float32) for w in consensus.weights]
    return ConsensusMaps(
        tuple(chart.mean for chart in charts),
        consensus.scale,
        tuple(weights),
        agreement,
        None if ridge is None else float(ridge),
        float(power),
        *map(tuple, zip(*known, strict=True)),
    )


_DIMENSIONS = ("all dimensions", "the dimension of the widest chart")


def check_joined(samples: Survey) -> None:
    """Raise ValueError, naming files and ids, unless samples join all of them."""
    paths = [str(source.path) for source in samples.sources]
    try:
        linked.check_linked(samples.presence, names=paths)
    except ValueError as error:
        ids = [f"{source.path} has {few(source.ids, 3)}" for source in samples.sources]
        shown = f"Of the ids, {'; '.join(ids[:4])}."
        raise ValueError(
            " ".join([str(error), shown, *near_ids(samples.ids)])
        ) from None


def consensus_rows(
    maps: ConsensusMaps, chart: int, source: Source, batch_size: int
) -> Iterator[tuple[int, Float[np.ndarray, "n K"]]]:
    """The coordinates of a chart's rows, some at a time."""
    mean = maps.means[chart]
    weights = jnp.asarray(maps.weights[chart] / maps.scales[chart], jnp.float32)

    def begun() -> Iterator[tuple[int, int, jax.Array]]:
        for start, x in batches(source, batch_size, dtype_of(source)):
            with np.errstate(over="ignore"):
                centered = (x - mean).astype(np.float32)
            yield start, len(x), _mapped(filled(centered, batch_size), weights)

    for start, size, mapped in behind(begun()):
        rows = np.asarray(mapped)[:size]
        check_mapped(source, start, rows)
        yield start, rows


_mapped = jax.jit(arrays.matmul)


def joined_maps(
    maps: ConsensusMaps,
    rows: LinkedRows,
    merged: Float[np.ndarray, "N K"],
    ids: np.ndarray,
) -> ConsensusMaps:
    """Add a new chart's map, by ridge regression onto the atlas.

    In Procrustes coordinates it is the rotation nearest to X'G.

    W = (X'X + ridge I)^(-1) X'G, with X the new chart's rows of samples that the atlas
    has, centered and of mean squared norm 1, and G the atlas's rows of these.

    Args:
        maps: of the atlas.
        rows: the new chart's, of samples that the atlas has.
        merged: (N, K), the atlas.
        ids: (N,), of the atlas.
    """
    width, scale = rows.rows.shape[1], rows.scale()
    squares, across = np.zeros((width, width)), np.zeros((width, merged.shape[1]))
    for start, end in pieces(rows.samples.size):
        x = rows.centered(start, end) / scale
        squares += x.T @ x
        across += x.T @ merged[rows.samples[start:end]].astype(np.float64)
    if maps.ridge is None:
        left, values, right = np.linalg.svd(across, full_matrices=False)
        kept = values > np.finfo(np.float32).eps * values.max()  # the atlas's digits
        weights = left[:, kept] @ right[kept]
    else:
        weights = np.linalg.solve(squares + maps.ridge * np.eye(width), across)
    known_ids, known = rows.known(ids)
    return maps._replace(
        means=(*maps.means, rows.mean),
        scales=np.append(maps.scales, scale),
        weights=(*maps.weights, weights.astype(np.float32)),
        known_ids=(*maps.known_ids, known_ids),
        known=(*maps.known, known),
    )


def without_anchors(maps: ConsensusMaps) -> dict[str, Any]:
    """The fields of a recipe without anchors."""
    widths = [mean.size for mean in maps.means]
    anchors = tuple(np.zeros((0, width), np.float32) for width in widths)
    return {
        "anchor_ids": np.zeros(0, np.int64),
        "anchors": anchors,
        "consensus": maps,
    }


def recipe_of(maps: ConsensusMaps, **fields: Any) -> Recipe:
    """A recipe of these maps."""
    return Recipe(**without_anchors(maps), **fields)


class _Solved(NamedTuple):
    scale: Float[np.ndarray, " M"]
    weights: list[Float[np.ndarray, "_ K"]]
    agreement: Float[np.ndarray, " K"]


def _moments(
    charts: list[LinkedRows], presence: Bool[np.ndarray, "M S"]
) -> dict[str, Any]:
    """The moments of `ConsensusState` about the means of all rows, by NumPy."""
    widths = [chart.rows.shape[1] for chart in charts]
    ends = np.cumsum([0, *widths])
    within = [np.zeros((width, width)) for width in widths]
    across = np.zeros((ends[-1], ends[-1]))
    links = np.zeros((len(charts), len(charts)))
    begins = np.concatenate(
        [np.zeros((len(charts), 1), int), np.cumsum(presence, axis=1)], axis=1
    )
    for start, end in pieces(presence.shape[1]):
        have = presence[:, start:end]
        share = 1 / have.sum(axis=0)
        rows = np.zeros((end - start, ends[-1]))
        for m, chart in enumerate(charts):
            x = chart.centered(int(begins[m, start]), int(begins[m, end]))
            within[m] += x.T @ x
            rows[have[m], ends[m] : ends[m + 1]] = x
        rows *= np.sqrt(share)[:, None]
        across += rows.T @ rows
        links += (have * share) @ have.T
    return {
        "count": presence.sum(axis=1).astype(np.float64),
        "mean": np.concatenate([chart.mean for chart in charts]),
        "within": within,
        "across": across,
        "links": links,
        "dimensions": tuple(widths),
    }


def _solved(moments: dict[str, Any], features: int, ridge: float | None) -> _Solved:
    """The library's solution, in float64 whatever the caller's setting."""
    dimensions = moments["dimensions"]
    with jax.enable_x64(True):
        within = [jnp.asarray(x) for x in moments["within"]]
        alike = len(set(dimensions)) == 1
        state = ConsensusState(
            count=jnp.asarray(moments["count"]),
            mean=jnp.asarray(moments["mean"]),
            within=jnp.stack(within) if alike else tuple(within),
            across=jnp.asarray(moments["across"]),
            # Sums about the mean: nothing is combined with them, and none is read.
            first=jnp.zeros((len(dimensions), sum(dimensions))),
            links=jnp.asarray(moments["links"]),
            dimensions=dimensions,
            normalize=False,
        )
        if ridge is None:
            consensus = _rotated(state, features, SWEEPS)
        else:
            consensus = _of_moments(state, features, ridge, 0.0)
        weights = [np.asarray(w) for w in consensus.weights]
        return _Solved(
            np.array(consensus.scale), weights, np.array(consensus.agreement)
        )


_of_moments = jax.jit(solving.of_moments, static_argnums=1)
_rotated = jax.jit(rotations.of_moments, static_argnums=(1, 2))


def _check_encoders(samples: Survey, charts: list[LinkedRows]) -> None:
    """Raise ValueError if two files are of one encoder."""
    for (m, x), (other, y) in combinations(enumerate(charts), 2):
        both = np.intersect1d(x.samples, y.samples, assume_unique=True)[:MOST_KNOWN]
        if both.size > 1 and same_encoder(x.of(both), y.of(both)):
            raise BadFile(
                f"{samples.sources[other].path}: its embeddings of common samples are "
                f"those of {samples.sources[m].path}: both are of one encoder, which "
                "would count twice. Give one file with all of its samples."
            )
