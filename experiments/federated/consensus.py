"""Consensus coordinates of a federated round.

A client sends what it sends in plain coordinates, its cosines of the public samples.
The server fits a consensus of these and sends each client its part of it, a `Map`, by
which the client brings any of its relative rows into the coordinates of the head.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

import jatlas
from experiments.federated import messages
from experiments.measures import maps
from jatlas.merging import Consensus
from jatlas.running.atlas import AtlasState

Parts = Mapping[int, AtlasState]  # of the clients, by their numbers


class Map(NamedTuple):
    """A client's map, (x - mean) / scale weights.

    Attributes:
        version: of the head that it goes with.
        client: its number.
        mean: (A,), of the client's rows of the public samples that others sent too.
        scale: (), the root of their mean squared length.
        weights: (A, K).
    """

    version: int
    client: int
    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray


def fit(parts: Parts) -> Consensus:
    """The consensus of what the clients sent, in any order.

    Raises:
        ValueError: if the public samples that they sent do not join them.
    """
    return maps.fit_consensus(*_rows(parts))


def obstacle(parts: Parts) -> str | None:
    """Why these clients have no consensus; None if they have."""
    try:
        fitted = fit(parts)
    except ValueError:
        return "fewer than 2 of its public samples are also from others"
    if not np.all(np.asarray(fitted.scale) > 0):  # NaN is not
        return "its rows of the public samples that others sent are all alike"
    return None


def merged(fitted: Consensus, parts: Parts) -> np.ndarray:
    """The mean over clients, (P, K); NaN where nobody sent."""
    return np.asarray(jatlas.merge_consensus(fitted, *_rows(parts)))


def client_maps(fitted: Consensus, parts: Parts, version: int) -> dict[int, Map]:
    """Each client's map, by its number."""
    fields = (fitted.mean, fitted.scale, fitted.weights)
    charts = zip(sorted(parts), *map(np.asarray, fields), strict=True)
    return {number: Map(version, number, *chart) for number, *chart in charts}


def of_one_chart(rows: np.ndarray) -> Map:
    """The map of a single chart from its public rows.

    Its coordinates are the chart's principal directions.
    """
    alone = {0: AtlasState(rows, np.ones(len(rows), rows.dtype))}
    return client_maps(fit(alone), alone, 0)[0]


def through(chart_map: Map, rows: np.ndarray) -> np.ndarray:
    """Relative rows (n, A) in consensus coordinates (n, K)."""
    return (rows - chart_map.mean) / chart_map.scale @ chart_map.weights


def pack(chart_map: Map) -> bytes:
    """The map as it is sent, an .npz."""
    return messages.pack_arrays(
        {
            "version": np.int32(chart_map.version),
            "client": np.int32(chart_map.client),
            "mean": chart_map.mean,
            "scale": chart_map.scale,
            "weights": chart_map.weights,
        }
    )


def unpack(content: bytes) -> Map:
    """What `pack` gave.

    Raises:
        Refused: if it is something else.
    """
    arrays = messages.unpack_arrays(content, messages.MOST_ANSWERED)
    try:
        numbers = (int(arrays["version"]), int(arrays["client"]))
        return Map(*numbers, *(arrays[name] for name in Map._fields[2:]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise messages.Refused(f"it is no map: {error}") from None


def _rows(parts: Parts) -> tuple[list[np.ndarray], np.ndarray]:
    """The rows that each client sent, and of which samples."""
    states = [parts[number] for number in sorted(parts)]
    rows = [np.asarray(state.total) for state in states]
    return rows, np.stack([np.asarray(state.count) > 0 for state in states])
