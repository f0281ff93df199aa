"""The jobs of the benchmark, in their order."""

from collections.abc import Callable
from typing import NamedTuple

from experiments.benchmarks import load, measure
from experiments.benchmarks.jobs import (
    charts,
    cka,
    cluster,
    consensus,
    files,
    geometry,
    growth,
    limits,
    measures,
    merge,
    probe,
)
from experiments.benchmarks.measure import Bench, Reference, Row


class Job(NamedTuple):
    """One part of the benchmark.

    Attributes:
        title: as a reader would say it.
        rows: measures all of it.
        seconds: about how long that takes on 2 cores.
        quick: the same with small sizes.
    """

    title: str
    rows: Callable[[Bench], list[Row]]
    seconds: float
    quick: float


def _charts(bench: Bench) -> list[Row]:
    """Charts as the library runs them, beside either alternative."""
    cases, rows = charts.measure(bench.quick), []
    for number, case in enumerate(cases):
        bench.tell(case["name"], number / len(cases))
        what = f"ours, {case['what']}"
        baselines = {"other": Reference(what, case["reference"])}
        row = measure.compare(
            bench, case["name"], case["size"], case["ours"], baselines
        )
        speed = measure.ratio(row, "other")
        # Never slower; five percent are chance.
        figure = f"times as fast as {case['what']}"
        measure.add_bar(bench, row, figure, speed, least=0.95)
        rows.append(row)
    return rows


JOBS = {
    "machine": Job("The machine", limits.rows, 5, 2),
    # Before what calls torch: behind it, calls of a millisecond take some more.
    "growth": Job("Growth", growth.rows, 30, 10),
    "merge": Job("Merge", merge.rows, 60, 8),
    "consensus": Job("Consensus", consensus.rows, 60, 2),
    "cka": Job("Linear CKA", cka.linear, 120, 6),
    "rbf": Job("RBF CKA", cka.rbf, 90, 6),
    "geometry": Job("Geometry", geometry.rows, 50, 5),
    "measures": Job("Measures of two spaces", measures.rows, 70, 0.9),
    "probe": Job("Probes", probe.rows, 45, 10),
    "charts": Job("Charts", _charts, 60, 10),
}

# Left out unless they are named: they take a disk of 4 to 6 GB, and minutes.
APART = {
    "files": Job("A merge of files", files.rows, 600, 200),
    "cluster": Job("A merge of files by Dask's workers", cluster.rows, 900, 90),
    "load": Job("A merge of a million samples in chunks", load.rows, 900, 30),
}
