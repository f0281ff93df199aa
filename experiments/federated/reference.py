"""Baselines of a round, with all samples and charts at hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

import jatlas
from experiments.data.dataset import Dataset
from experiments.federated import client, consensus, coordinates, heads, server
from experiments.federated.client import Client
from experiments.federated.consensus import Map
from experiments.federated.deal import Deal
from experiments.federated.options import FederatedOptions
from experiments.federated.server import Server
from experiments.federated.transports.rounds import places
from experiments.runs import benches, terminal
from experiments.runs.benches import Bench
from jatlas import scenarios

# By method, and client, whose classes are seen and not.
Scores = dict[str, dict[int, dict[str, float]]]


def end_to_end(options: FederatedOptions, bench: Bench, deal: Deal) -> Scores:
    """The accuracies of the end-to-end chart, trained on the samples of all.

    With a head of its own, trained on all labels, and with one trained as the atlas's
    is: on the relative coordinates of the public samples, in the recipe's coordinates.
    """
    dataset, recipe = bench.dataset, deal.recipe
    rows = benches.reference(bench, recipe.round, terminal.silent)
    task = scenarios.end_to_end(recipe.round, dataset.labels, test=dataset.test)
    cut = task.seen[0], task.validation[0]
    shared_args = options, recipe.round, rows, dataset.labels, recipe.num_classes
    probe = heads.learn(*shared_args, *cut)
    public = np.flatnonzero(deal.tasks.held_out)
    anchors = public[list(recipe.anchors)]
    relative = coordinates.relative(recipe, rows, task.seen[0], anchors)
    relative = coordinates.alone(recipe, relative, public)
    everywhere = np.ones(public.size, bool)
    of_public = heads.learn_public(options, recipe, relative[public], everywhere)
    of_test = dataset.labels, dataset.test
    return {
        "end_to_end": _of_clients(deal, probe, rows, *of_test),
        "end_to_end_public": _of_clients(deal, of_public, relative, *of_test),
    }


def together(
    options: FederatedOptions,
    dataset: Dataset,
    deal: Deal,
    accepted: Sequence[int],
    folder: Path,
) -> Scores:
    """The accuracies of the atlas's head on rows of the atlas.

    Every client that is in the atlas embeds every test sample, and the mean of their
    rows is looked at: each sample would have to be shown to all of them.
    """
    place = places(folder, deal.recipe.round)
    every = [
        client.train(options, dataset, deal, number, place.private / f"client_{number}")
        for number in accepted
    ]
    state = Server(deal.recipe, {})
    for one in every:
        sent = client.send(options, one, deal.recipe)
        state, _ = server.receive(state, one.number, sent)
    head, maps = server.head(options, state, 0), server.client_maps(state, 0)
    rows = np.stack([_seen(one, maps)[one.tasks.test] for one in every])
    space = np.asarray(jatlas.masked_mean(rows, np.ones(rows.shape[:2], bool)))
    space = coordinates.through(head.scale, space)
    labels = dataset.labels[dataset.test]
    scores = _of_clients(deal, head.probe, space, labels, np.ones(labels.size, bool))
    return {"together": scores}


def _seen(one: Client, maps: Mapping[int, Map]) -> np.ndarray:
    """A client's rows, through its map if it has one."""
    rows, chart_map = one.relative, maps.get(one.number)
    return rows if chart_map is None else consensus.through(chart_map, rows)


def _of_clients(
    deal: Deal,
    probe: jatlas.Probe,
    rows: np.ndarray,
    labels: np.ndarray,
    test: np.ndarray,
) -> dict[int, dict[str, float]]:
    return {
        number: heads.scores(probe, rows, labels, test, classes)
        for number, classes in enumerate(deal.tasks.classes, start=1)
    }
