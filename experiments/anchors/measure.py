"""The atlas with other numbers and choices of anchors.

The charts of a unit are trained once; then the atlas is made and measured again.
"""

from dataclasses import dataclass, replace
from typing import Annotated

import jax.numpy as jnp
import tyro

import jatlas
from experiments.measures import metrics, protocols, splits
from experiments.measures.embedding import embed
from experiments.measures.protocols import PROTOCOLS, Embedded
from experiments.runs import deals
from experiments.runs.benches import Bench
from experiments.runs.deals import CHOICES
from experiments.runs.options import Options
from experiments.runs.rows import Rows
from experiments.runs.settings import Setting
from experiments.runs.terminal import Report, part_of
from jatlas.scenarios import Tasks

Numbers = Annotated[tuple[int, ...], tyro.conf.arg(metavar="INT [INT ...]")]


@dataclass(frozen=True)
class AnchorOptions(Options):
    """The flags of the anchors experiment."""

    num_anchors: Numbers = (16, 32, 64, 128, 256, 512)
    """The numbers of anchors, each the width of an atlas."""


def resolve(options: AnchorOptions) -> AnchorOptions:
    """The options, with twice the most anchors held out.

    Of fewer there would not be enough of every class for a balanced choice.
    """
    if not options.num_anchors:
        raise ValueError("--num-anchors takes one or more numbers.")
    return replace(options, num_held_out=2 * options.most_anchors)


def measure(bench: Bench, setting: Setting, seed: int, report: Report) -> Rows:
    """A row for each number, choice, protocol and metric.

    Args:
        bench: from `benches.prepare`.
        setting: one cell.
        seed: draws everything.
        report: called with what is being done, and how much of the unit is done.
    """
    _, pool = deals.deal(bench, setting, seed)
    tasks, embedded = embed(bench, setting, seed, part_of(report, 0.0, 0.5))
    cells = [(n, choice) for n in bench.options.num_anchors for choice in CHOICES]
    rows = []
    for done, (count, choice) in enumerate(cells):
        report(f"{count} anchors, {choice}", 0.5 + 0.5 * done / len(cells))
        space = embedded.charts[0]
        anchors = deals.choose(
            bench, setting, seed, pool, space, num_anchors=count, choice=choice
        )
        embedded = embedded._replace(anchors=anchors)
        cell = {"scenario": setting.scenario, "setting": setting.name}
        cell |= {"anchors": count, "choice": choice, "seed": seed}
        rows += [cell | row for row in _measured(bench, setting, seed, tasks, embedded)]
    return rows


def _measured(
    bench: Bench, setting: Setting, seed: int, tasks: Tasks, embedded: Embedded
) -> Rows:
    """Accuracy and CKA of the atlas under both protocols."""
    labels = bench.dataset.labels
    spaces = {
        "oracle": protocols.oracle_spaces(embedded, tasks.test),
        "blind": protocols.blind_spaces(embedded),
    }
    like = protocols.relative_reference(embedded)
    rows = []
    for protocol in PROTOCOLS:
        space = spaces[protocol]["merged"]()
        paper = {"": splits.cuts(seed, space, tasks, on_test=setting.on_test)[""]}
        values = metrics.by_classifier(
            space,
            paper,
            labels,
            tasks,
            metrics.key_of(seed),
            bench.options.probe_epochs,
            bench.options.probe_patience,
        )
        tested = protocols.rows_of_test(space, tasks)
        values["cka"] = float(
            jatlas.cka(
                jnp.asarray(tested.rows),
                jnp.asarray(like[tested.sample]),
                where=tested.sample >= 0,
            )
        )
        rows += [
            {"protocol": protocol, "metric": metric, "value": value}
            for metric, value in values.items()
        ]
    return rows
