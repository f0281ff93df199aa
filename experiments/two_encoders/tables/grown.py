"""A few pairs are known, and others are found among unpaired samples."""

from typing import Any, NamedTuple

import numpy as np

from experiments.runs.rows import Rows, markdown_table
from experiments.two_encoders import cca, maps
from experiments.two_encoders.maps import Side
from experiments.two_encoders.values import cell_or_nothing, select, values
from jatlas.merging import GrownAnchors, grow_anchors

SPACES = {"rotated": maps.rotated, "consensus": maps.consensus, "atlas": maps.atlas}
TITLES = {
    "stopped": "known pairs alone",
    "grown_others": "**grown**, other samples on each side",
    "kept_others": "other samples, if held-out pairs gain",
    "grown_same": "**grown**, the same samples on both sides",
    "kept_same": "the same samples, if held-out pairs gain",
    "everything": "all of these pairs known",
}
METRICS = {
    "rotated": "Procrustes",
    "consensus": "consensus",
    "atlas": "atlas, plain",
    "pairs": "pairs found",
    "right": "of these right",
    "before": "held-out pairs before",
    "after": "and after",
}


class Dealt(NamedTuple):
    """Samples by their use, as places among all.

    Attributes:
        known: (A,), whose pairs are known.
        unpaired: (U,), unpaired in the first chart, and in the second in "same".
        others: (U,), unpaired in the second chart in "others".
        looked_for: the rest, which must find their copies.
    """

    known: np.ndarray
    unpaired: np.ndarray
    others: np.ndarray
    looked_for: np.ndarray


def deal(
    num_samples: int, most_known: int, num_unpaired: int, number: int, seed: int
) -> Dealt:
    """Draw who is known and who is unpaired.

    However many are known, the others are the same.
    """
    order = np.random.default_rng(seed).permutation(num_samples)
    known, *pools, looked_for = np.split(
        order, most_known + num_unpaired * np.arange(3)
    )
    return Dealt(known[:number], *pools, looked_for)


def rows(charts: list[np.ndarray], dealt: Dealt, seed: int) -> list[dict[str, Any]]:
    """A row a way to have pairs and metric.

    Args:
        charts: two, (N, D1) and (N, D2), of the same samples.
        dealt: their use.
        seed: draws the order in which unpaired samples of the second chart stand.
    """
    there = np.random.default_rng(seed).permutation(len(dealt.unpaired))
    pairs = {"stopped": np.empty((2, 0), int)}
    scored: dict[str, dict[str, float]] = {}
    for name, pool in (("same", dealt.unpaired[there]), ("others", dealt.others)):
        places = dealt.unpaired, pool
        known = (np.float32(x[dealt.known]) for x in charts)
        unpaired = (np.float32(x[p]) for x, p in zip(charts, places, strict=True))
        grown = grow_anchors(*unpaired, *known)
        pairs[f"grown_{name}"] = _paired(grown, *places)
        scored[f"grown_{name}"] = _scored(grown, *pairs[f"grown_{name}"])
        helps = grown.after - grown.before > 2 * grown.error
        pairs[f"kept_{name}"] = pairs[f"grown_{name}" if helps else "stopped"]
    pairs["everything"] = np.stack([dealt.unpaired] * 2)
    return [
        {"method": key, "metric": metric, "value": value}
        for key, places in pairs.items()
        for metric, value in (
            _retrieved(charts, dealt, places) | scored.get(key, {})
        ).items()
    ]


def _paired(grown: GrownAnchors, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Which samples are taken for one, (2, P)."""
    mutual = np.asarray(grown.mutual)
    return np.stack([source[mutual], target[np.asarray(grown.partners)[mutual]]])


def _scored(
    grown: GrownAnchors, source: np.ndarray, target: np.ndarray
) -> dict[str, float]:
    """How many pairs, how many right, and the held-out ones."""
    return {
        "pairs": float(len(source)),
        "right": float(np.mean(source == target)) if len(source) else 0.0,
        "before": float(grown.before),
        "after": float(grown.after),
    }


def _retrieved(
    charts: list[np.ndarray], dealt: Dealt, pairs: np.ndarray
) -> dict[str, float]:
    """Mean reciprocal rank of samples that no one has seen, both ways."""
    anchors = np.concatenate([np.stack([dealt.known] * 2), pairs], axis=1)
    one, other = (
        Side(x[places], x[dealt.looked_for])
        for x, places in zip(charts, anchors, strict=True)
    )
    return {
        name: float(cca.reciprocal_rank(*join(one, other)))
        for name, join in SPACES.items()
    }


def table(rows: Rows, pair: str) -> str:
    """A line a number and way, a column a metric."""
    mine = select(rows, table="grown", pair=pair)
    lines = []
    for number in dict.fromkeys(row["num_anchors"] for row in mine):
        for key, title in TITLES.items():
            cell = select(mine, num_anchors=number, method=key)
            known = (values(cell, metric=metric) for metric in METRICS)
            cells = [cell_or_nothing(each) for each in known]
            lines.append([f"{number}, {title}", *cells])
    return markdown_table([f"{pair}, known pairs", *METRICS.values()], lines)
