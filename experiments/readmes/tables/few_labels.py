"""Few labels: accuracies, differences, and the best merged space."""

from collections.abc import Callable
from functools import partial

from experiments.few_labels import tables
from experiments.few_labels.tables import CLASSIFIER_TITLES
from experiments.readmes.files import Runs
from experiments.runs.rows import Rows

# By what stands in a table's name: the run.
RUNS = {"7k": "fashion_mnist_7k", "20k": "fashion_mnist_20k"}
CELLS = (("A", "S2_N2"), ("C", "T2"))
_NAMES = {"ridge": "accuracy", "class_means": "class_means"}


def _of(run: str, made: Callable[[Rows], str]) -> Callable[[Runs], str]:
    return lambda runs: made(runs[run]["rows"])


TABLES = {
    f"{name}_{'_'.join(setting)}_{size}": _of(run, partial(made, setting=setting))
    for size, run in RUNS.items()
    for setting in CELLS
    for name, made in {
        **{
            _NAMES[classifier]: partial(tables.accuracies, classifier=classifier)
            for classifier in CLASSIFIER_TITLES
        },
        "gaps": tables.gaps,
    }.items()
} | {
    f"{name}_{size}": _of(run, partial(tables.best, classifier=classifier))
    for size, run in RUNS.items()
    for name, classifier in {"best": "ridge", "best_means": "class_means"}.items()
}
