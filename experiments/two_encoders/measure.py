"""Retrieval across two charts by pair, anchor count and seed.

A chart is an encoder. Some samples both know, the pool, and among them the anchors;
every other sample is there twice, once as only the first chart knows it and once as
only the second does, and these two must find each other. Nothing is trained.
"""

import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import jatlas
from experiments.runs.deals import Unit
from experiments.runs.terminal import Report, part_of
from experiments.two_encoders import cross_chart
from experiments.two_encoders.cross_chart import METHODS, sides, transformed
from experiments.two_encoders.pairs import PAIRS, PairOptions


class Known(NamedTuple):
    """What both charts of a pair make of all samples.

    Attributes:
        about: titles and widths of the charts, and how long they took.
        spaces: of each chart its spaces, from `cross_chart.transformed`.
        pool: (N,), the samples that both charts know.
    """

    about: dict[str, Any]
    spaces: list[dict[str, np.ndarray]]
    pool: np.ndarray


class Bench(NamedTuple):
    """What all units of a run share.

    Attributes:
        options: of the run.
        samples: by pair.
        known: by pair; made when it is needed first.
    """

    options: PairOptions
    samples: dict[str, Any]
    known: dict[str, Known]


def read(options: PairOptions, report: Report) -> dict[str, Any]:
    """The samples of each pair.

    Raises:
        ValueError: if there are not so many.
        OSError: if they are missing.
    """
    report("reading samples", 0.0)
    return {name: PAIRS[name].samples(options) for name in options.pairs}


def units(options: PairOptions, samples: dict[str, Any]) -> list[Unit]:
    """All numbers of anchors and all seeds of each pair."""
    return [
        Unit(
            f"{pair}_{count}_seed{seed}",
            f"{pair}, {count} anchors, seed {seed}",
            (pair, count, seed),
        )
        for pair in samples
        for count in options.num_anchors
        for seed in options.seeds
    ]


def prepare(
    options: PairOptions, samples: dict[str, Any], folder: Path, report: Report
) -> Bench:
    """The bench; nothing is embedded before it is needed."""
    return Bench(options, samples, {})


def measure(
    bench: Bench, pair: str, num_anchors: int, seed: int, report: Report
) -> dict[str, Any]:
    """All methods' rows in one cell, and the charts' descriptions."""
    if pair not in bench.known:
        bench.known[pair] = embed(bench, pair, part_of(report, 0.0, 0.9))
    about, spaces, pool = bench.known[pair]
    report("measuring", 0.9)
    start = time.perf_counter()
    anchors = jatlas.choose_anchors(seed, pool, num_anchors)
    charts = [sides(chart_spaces, pool, anchors) for chart_spaces in spaces]
    cell = {"pair": pair, "num_anchors": num_anchors, "seed": seed}
    rows = [
        cell | {"method": key, "metric": metric, "value": value}
        for key, method in METHODS.items()
        for metric, value in cross_chart.measure(method, *charts).items()
    ]
    seconds = round(time.perf_counter() - start, 1)
    return {"pair": pair, **about, "seconds": seconds, "rows": rows}


def embed(bench: Bench, pair: str, report: Report) -> Known:
    """What both charts of a pair make of all samples."""
    start = time.perf_counter()
    embedded = PAIRS[pair].embed(
        bench.samples[pair],
        bench.options,
        lambda share: report("embeddings", share),
    )
    about = {
        "charts": list(embedded.titles),
        "widths": [space.shape[1] for space in embedded.embeddings],
        "seconds_embedding": round(time.perf_counter() - start, 1),
    }
    pool = np.arange(bench.options.num_samples) < bench.options.num_pool
    return Known(about, [transformed(x, pool) for x in embedded.embeddings], pool)
