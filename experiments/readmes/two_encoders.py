"""Two encoders' spaces: does a sample find itself in the other's chart?"""

from functools import partial

from experiments.readmes.files import Runs
from experiments.runs.rows import in_cell, markdown_table
from experiments.two_encoders.cross_chart import METHODS, chance
from experiments.two_encoders.experiment import METRICS

RUN = "default"


def of_pair(runs: Runs, pair: str, num_anchors: int) -> str:
    """Mean ± deviation over anchor choices, by method and metric."""
    results = runs[RUN]
    options = results["settings"]["options"]
    known = chance(options["num_samples"] - options["num_pool"])
    lines = [["chance", *(f"{known[metric]:.3f}" for metric in METRICS)]]
    for method, about in METHODS.items():
        cells = (
            in_cell(
                [
                    row["value"]
                    for row in results["rows"]
                    if (row["pair"], row["num_anchors"]) == (pair, num_anchors)
                    and (row["method"], row["metric"]) == (method, metric)
                ]
            )
            for metric in METRICS
        )
        lines.append([about.title, *cells])
    return markdown_table([f"{pair}, {num_anchors} anchors", *METRICS.values()], lines)


TABLES = {
    f"{pair}_{count}": partial(of_pair, pair=pair, num_anchors=count)
    for pair in ("sentences", "images")
    for count in (64, 256)
}
