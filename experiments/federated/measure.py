"""A round of clients and a server, and their heads' accuracy."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax

from experiments.data.dataset import Dataset
from experiments.encoders import chart_kinds
from experiments.federated import deal as dealing
from experiments.federated import reference
from experiments.federated.options import FederatedOptions, of_kind
from experiments.federated.transports import files, processes
from experiments.federated.transports.rounds import Round
from experiments.runs import benches, deals
from experiments.runs.benches import Bench
from experiments.runs.deals import Unit
from experiments.runs.settings import Setting
from experiments.runs.terminal import Report, part_of

TRANSPORTS = {"files": files.run, "processes": processes.run}


def units(options: FederatedOptions, dataset: Dataset) -> list[Unit]:
    """A round for each seed.

    Raises:
        ValueError: if the setting is unknown, or the data are too few for it.
    """
    made = deals.chosen(options, dataset)
    for each in made:
        dealing.deal(options, dataset, each.of[1])
    return made


def prepare(
    options: FederatedOptions, dataset: Dataset, folder: Path, report: Report
) -> Bench:
    """The data and the end-to-end chart; the clients prepare their own charts."""
    first = of_kind(options, options.charts[0])
    return benches.prepare(first, dataset, folder, report)._replace(options=options)


def measure(
    bench: Bench, setting: Setting, seed: int, report: Report
) -> dict[str, Any]:
    """A round; the charts that were trained before are kept.

    A round that lacks a client is not complete, and is made again: so a client that
    dropped out joins late.

    Raises:
        Lost: if nothing came of it.
    """
    options, dataset = bench.options, bench.dataset
    dealt, folder = dealing.deal(options, dataset, seed), bench.folder.parent
    run = TRANSPORTS[options.transport]
    outcome = run(options, dealt.recipe, folder, part_of(report, 0.0, 0.8))
    report("the end-to-end chart", 0.8)
    others = reference.end_to_end(options, bench, dealt)
    others |= reference.together(options, dataset, dealt, outcome.accepted, folder)
    clients = range(1, dealt.recipe.num_clients + 1)
    return {
        "seed": seed,
        "complete": outcome.accepted == list(clients) == sorted(outcome.reports),
        "accepted": outcome.accepted,
        "lines": outcome.lines,
        "sent": outcome.sent,
        "received": outcome.received,
        "weights": {k: weights(options.kind(k), dataset) for k in clients},
        "rows": rows_of(seed, clients, outcome, others),
    }


def rows_of(
    seed: int, clients: Iterable[int], outcome: Round, others: reference.Scores
) -> list[dict[str, Any]]:
    """A row for each client, method and group of classes."""
    scores = {
        number: outcome.reports.get(number, {})
        | {method: of[number] for method, of in others.items()}
        for number in clients
    }
    return [
        {
            "seed": seed,
            "client": number,
            "method": method,
            "group": group,
            "value": value,
        }
        for number, methods in scores.items()
        for method, groups in methods.items()
        for group, value in groups.items()
    ]


def weights(kind: str, dataset: Dataset) -> int:
    """The bytes of a chart's weights, to compare with messages."""
    chart = chart_kinds.chart(kind, dataset)
    leaves = jax.tree.leaves(jax.eval_shape(chart.init, jax.random.key(0)))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
