"""How the charts of a run trained: the table and the warnings."""

import math
from collections.abc import Iterator
from typing import Any

from experiments.paper.sections import Section, Table

END_TO_END = "end-to-end"
# A validation loss above this share of that of a guess is as good as chance.
_OF_CHANCE = 0.95


def section(results: dict[str, Any]) -> Section | None:
    """The table of all trainings, or None where a run kept none."""
    trained = _by_chart(results)
    if not trained:
        return None
    head = (
        "chart",
        "kind",
        "epochs",
        "best epoch",
        "most epochs",
        "validation loss",
        "of a guess",
    )
    return Section(
        "How the charts trained",
        [Table(head, [_line(name, of) for name, of in trained.items()])],
        "Epochs are counted from 1; several values are of the seeds, in their order. "
        "The best epoch is the one that was kept. The validation loss is the mean "
        "cross-entropy in nats at that epoch, over the chart's own classes; beside it "
        "stands that of a guess, the logarithm of their number. A chart whose best "
        "epoch is the last that it was allowed was still improving.",
    )


def warnings(results: dict[str, Any]) -> list[str]:
    """What is wrong with the training of some charts, in words."""
    charts = [chart for of in _by_chart(results).values() for chart in of]
    unfinished = [chart for chart in charts if _is_unfinished(chart)]
    sentences = []
    if unfinished:
        sentences.append(
            f"{len(unfinished)} of {len(charts)} charts were stopped by their most "
            "epochs while their validation loss was still falling. More epochs "
            "(--max-epochs) can change the figures."
        )
    if idle := sum(map(_is_at_chance, charts)):
        sentences.append(
            f"{idle} of {len(charts)} charts learned next to nothing: their best "
            "validation loss is that of a guess. Look at what images they get and at "
            "their optimizer."
        )
    return sentences


def _by_chart(results: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The trainings by the name of the chart, seed by seed.

    The end-to-end chart is trained once a seed, and stands in every unit of it.
    """
    trained: dict[str, dict[int, dict[str, Any]]] = {}
    for seed, name, training in _trainings(results):
        trained.setdefault(name, {})[seed] = training
    return {name: list(by_seed.values()) for name, by_seed in trained.items()}


def _trainings(results: dict[str, Any]) -> Iterator[tuple[int, str, dict[str, Any]]]:
    for unit in results.get("units", ()):
        cell, _, seed = unit["unit"].rpartition("_seed")
        for training in unit.get("training", ()):
            chart = training["chart"]
            of_cell = f"{cell.replace('_', ' ', 1)}, chart {chart}"
            yield int(seed), chart if chart == END_TO_END else of_cell, training


def _line(name: str, trained: list[dict[str, Any]]) -> list[str]:
    def each(field: str) -> str:
        return ", ".join(str(training[field]) for training in trained)

    losses = (training["validation_loss"] for training in trained)
    shown = ("n/a" if loss is None else f"{loss:.3f}" for loss in losses)
    first = trained[0]
    return [
        name,
        first["kind"],
        each("epochs"),
        each("best_epoch"),
        str(first["max_epochs"]),
        ", ".join(shown),
        f"{math.log(first['num_classes']):.3f}",
    ]


def _is_unfinished(training: dict[str, Any]) -> bool:
    """Whether the last epoch that it was allowed was its best."""
    if training["validation_loss"] is None:  # nothing to stop by
        return False
    return training["best_epoch"] == training["max_epochs"]


def _is_at_chance(training: dict[str, Any]) -> bool:
    loss, guess = training["validation_loss"], math.log(training["num_classes"])
    return loss is not None and guess > 0 and loss > _OF_CHANCE * guess
