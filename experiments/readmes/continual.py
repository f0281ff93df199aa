"""Curves over tasks that come one after another, a table a metric."""

from functools import partial

from experiments.continual import curves
from experiments.readmes.files import Runs

RUN = "fashion_mnist_7k"


def by_task(runs: Runs, metric: str) -> str:
    """A line a method and protocol, a column a task."""
    return curves.by_task(runs[RUN]["rows"], metric)


TABLES = {
    metric: partial(by_task, metric=metric)
    for metric in (*curves.METRICS, "bytes", "seconds")
}
