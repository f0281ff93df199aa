"""Units: a table, encoders, a number of shared samples, a seed.

A chart is an encoder. Nothing is trained; embeddings are made once a table.
"""

import time
from pathlib import Path
from typing import Any, NamedTuple

from experiments.runs.deals import Unit
from experiments.runs.rows import Rows
from experiments.runs.terminal import Report, part_of
from experiments.two_encoders.encoders import Chart
from experiments.two_encoders.pairs import PAIRS, PairOptions
from experiments.two_encoders.tables import chain, change, copies, grown, index
from experiments.two_encoders.tables.index import Counts


class Embedded(NamedTuple):
    """A table's embeddings, and how long they took."""

    charts: list[Chart]
    seconds: float


class Bench(NamedTuple):
    """What all units of a run share.

    Attributes:
        options: of the run.
        samples: by pair.
        embedded: by table and pair; made when it is needed first.
        drawn: of the last draw of `copies`, what its numbers of anchors share.
    """

    options: PairOptions
    samples: dict[str, Any]
    embedded: dict[tuple[str, str], Embedded]
    drawn: dict[tuple[str, int], Any]


def read(options: PairOptions, report: Report) -> dict[str, Any]:
    """The samples of each pair.

    Raises:
        ValueError: if there are not so many.
        OSError: if they are missing.
    """
    report("reading samples", 0.0)
    return {name: PAIRS[name].samples(options) for name in options.pairs}


def numbers(options: PairOptions, table: str) -> tuple[int, ...]:
    """How many samples charts share, in each unit of a table."""
    both = Counts(*options.num_documents).both
    return {
        "copies": options.num_anchors,
        "chain": options.num_links,
        "index": (both,),
        "change": options.num_reembedded,
        "grown": options.num_known,
    }[table]


def units(options: PairOptions, samples: dict[str, Any]) -> list[Unit]:
    """All numbers and seeds of each table and pair."""
    return [
        Unit(
            f"{table}_{pair}_{number}_seed{seed}",
            f"{table}, {pair}, {number} shared, seed {seed}",
            (table, pair, number, seed),
        )
        for table in options.tables
        for pair in samples
        if table in PAIRS[pair].num_charts
        for seed in options.seeds
        for number in numbers(options, table)
    ]


def prepare(
    options: PairOptions, samples: dict[str, Any], folder: Path, report: Report
) -> Bench:
    """The bench; nothing is embedded before it is needed."""
    return Bench(options, samples, {}, {})


def measure(
    bench: Bench, table: str, pair: str, number: int, seed: int, report: Report
) -> dict[str, Any]:
    """Every method in one cell: rows, and what the charts are."""
    key = table, pair
    if key not in bench.embedded:
        bench.embedded[key] = embed(bench, *key, part_of(report, 0.0, 0.5))
    charts, seconds_embedding = bench.embedded[key]
    report("measuring", 0.5)
    start = time.perf_counter()
    rows = MEASURES[table](bench, charts, pair, number, seed)
    cell = {"table": table, "pair": pair, "num_anchors": number, "seed": seed}
    return {
        "table": table,
        "pair": pair,
        "charts": [chart.title for chart in charts],
        "widths": [chart.embeddings.shape[1] for chart in charts],
        "seconds_embedding": seconds_embedding,
        "seconds": round(time.perf_counter() - start, 1),
        "rows": [cell | row | {"value": round(row["value"], 6)} for row in rows],
    }


def embed(bench: Bench, table: str, pair: str, report: Report) -> Embedded:
    """What the charts of a table make of its samples."""
    start = time.perf_counter()
    num_charts = PAIRS[pair].num_charts[table]
    charts = PAIRS[pair].embed(
        bench.samples[pair],
        bench.options.num_drawn(table, num_charts),
        num_charts,
        bench.options,
        lambda share: report("embeddings", share),
    )
    return Embedded(charts, round(time.perf_counter() - start, 1))


def copies_rows(
    bench: Bench, charts: list[Chart], pair: str, number: int, seed: int
) -> Rows:
    """Of `copies`; both charts' spaces are made once a seed."""
    key = pair, seed
    if key not in bench.drawn:
        options = bench.options
        pool, order = copies.draw(options.num_samples, options.num_pool, seed)
        spaces = [copies.transformed(chart.embeddings, pool) for chart in charts]
        bench.drawn.clear()
        bench.drawn[key] = spaces, pool, order
    spaces, pool, order = bench.drawn[key]
    return copies.rows(*(copies.sides(x, pool, order[:number]) for x in spaces))


def chain_rows(
    bench: Bench, charts: list[Chart], pair: str, number: int, seed: int
) -> Rows:
    """Of `chain`."""
    embeddings = [chart.embeddings for chart in charts]
    return chain.rows(embeddings, number, bench.options.num_scored, seed)


def index_rows(
    bench: Bench, charts: list[Chart], pair: str, number: int, seed: int
) -> Rows:
    """Of `index`: the first chart as the old one, then the second."""
    options, rows = bench.options, []
    for way in ("ab", "ba"):
        old, new = charts if way == "ab" else charts[::-1]
        dealt = index.deal(
            (old.embeddings, new.embeddings),
            Counts(*options.num_documents),
            options.num_queries,
            options.index_anchors,
            seed,
        )
        rows += [{"way": way} | row for row in index.rows(dealt)]
    return rows


def change_rows(
    bench: Bench, charts: list[Chart], pair: str, number: int, seed: int
) -> Rows:
    """Of `change`: from the first model of each way to the second."""
    options, rows = bench.options, []
    for way in change.CHANGES[pair]:
        old, new = (charts["abc".index(letter)].embeddings for letter in way)
        dealt = change.deal(
            (old, new), options.num_indexed, number, options.num_queries, seed
        )
        rows += [{"way": way} | row for row in change.rows(dealt)]
    return rows


def grown_rows(
    bench: Bench, charts: list[Chart], pair: str, number: int, seed: int
) -> Rows:
    """Of `grown`."""
    options = bench.options
    most, size = max(options.num_known), options.num_unpaired
    dealt = grown.deal(options.num_samples, most, size, number, seed)
    return grown.rows([chart.embeddings for chart in charts], dealt, seed)


MEASURES = {
    "copies": copies_rows,
    "chain": chain_rows,
    "index": index_rows,
    "change": change_rows,
    "grown": grown_rows,
}
