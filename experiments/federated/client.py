"""A client: its private samples, chart, and scores of a head.

What leaves it is `send`; the accuracies are for the table of the experiment, and are
measured on the test split.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.data.dataset import Dataset
from experiments.federated import consensus, coordinates, heads, messages
from experiments.federated.consensus import Map
from experiments.federated.deal import Deal, client_part
from experiments.federated.messages import Head, Recipe
from experiments.federated.options import FederatedOptions, of_kind
from experiments.runs import benches, settings, terminal
from jatlas.scenarios import Tasks

Scores = dict[str, dict[str, float]]


class Client(NamedTuple):
    """What a client holds of a round.

    Attributes:
        number: of the client, from 1.
        dataset: its own samples, the public ones and the test split, n in all.
        tasks: its own, one.
        embeddings: (n, D), by its own chart.
        relative: (n, A), the same relative to the anchors, in the recipe's coordinates.
        public: (P,), where the public samples stand among the n.
    """

    number: int
    dataset: Dataset
    tasks: Tasks
    embeddings: np.ndarray
    relative: np.ndarray
    public: np.ndarray


def train(
    options: FederatedOptions, dataset: Dataset, deal: Deal, number: int, folder: Path
) -> Client:
    """Train a client's chart on its private samples, or load it.

    Args:
        options: of the run.
        dataset: the whole, of which all but the client's part is dropped.
        deal: of the round.
        number: of the client.
        folder: of the client alone, in which its embeddings are kept.
    """
    samples, tasks = client_part(dataset, deal.tasks, number)
    setting = settings.parse(options.settings[0])
    # The name draws the chart: no two clients start from the same weights.
    mine = setting._replace(name=f"{setting.name}_client{number}")
    kind_options = of_kind(options, options.kind(number))
    bench = benches.prepare(kind_options, samples, folder / "parts")
    (embeddings,) = benches.charts(
        bench, mine, deal.recipe.round, tasks, terminal.silent
    )
    return with_embeddings(number, samples, tasks, embeddings, deal.recipe)


def with_embeddings(
    number: int, dataset: Dataset, tasks: Tasks, embeddings: np.ndarray, recipe: Recipe
) -> Client:
    """A client whose chart has embedded its samples."""
    places = {name: row for row, name in enumerate(dataset.ids.tolist())}
    public = np.array([places[name] for name in recipe.ids])
    anchors = public[list(recipe.anchors)]
    relative = coordinates.relative(recipe, embeddings, tasks.seen[0], anchors)
    return Client(number, dataset, tasks, embeddings, relative, public)


def send(options: FederatedOptions, client: Client, recipe: Recipe) -> bytes:
    """A client's one message: its part of the public atlas."""
    presence = np.ones(len(client.public), bool)
    if options.sends == "own":
        presence = client.tasks.classes[0][list(recipe.labels)]
    rows = client.relative[client.public]
    return messages.contribution(client.number, recipe, rows, presence)


def alone(options: FederatedOptions, client: Client, recipe: Recipe) -> Scores:
    """A client's scores without others, by private and public labels.

    The heads, of one kind with the atlas's, are one of its embeddings, trained on its
    private samples, and one of its relative coordinates, on the public samples.
    """
    tasks, labels = client.tasks, client.dataset.labels
    private = heads.learn(
        options,
        recipe.round,
        client.embeddings,
        labels,
        recipe.num_classes,
        tasks.seen[0],
        tasks.validation[0],
    )
    everywhere = np.ones(len(client.public), bool)
    rows = coordinates.alone(recipe, client.relative, client.public)
    public = heads.learn_public(options, recipe, rows[client.public], everywhere)
    test_rows = labels, tasks.test, tasks.classes[0]
    return {
        "own": heads.scores(private, client.embeddings, *test_rows),
        "own_public": heads.scores(public, rows, *test_rows),
    }


def with_answer(
    recipe: Recipe, client: Client, head: Head, chart_map: Map | None
) -> Scores:
    """As `with_head`, in the recipe's coordinates.

    Args:
        recipe: of the round.
        client: whose scores these are.
        head: of the atlas.
        chart_map: the client's, to consensus coordinates. A client that got none
            cannot use the head.
    """
    if recipe.coordinates != "consensus":
        return with_head(client, head)
    if chart_map is None:
        return {}
    rows = consensus.through(chart_map, client.relative)
    return with_head(client._replace(relative=rows), head)


def with_head(client: Client, head: Head) -> Scores:
    """What the head of the atlas reaches on this client's encoder alone."""
    test_rows = client.dataset.labels, client.tasks.test, client.tasks.classes[0]
    spaces = {"atlas": client.relative}
    if head.common.any():
        spaces["atlas_shift"] = client.relative + shift(client, head)
    return {
        name: heads.scores(
            head.probe, coordinates.through(head.scale, rows), *test_rows
        )
        for name, rows in spaces.items()
    }


def shift(client: Client, head: Head) -> np.ndarray:
    """(A,), the client's chart less the mean of the charts.

    The mean over the public samples that all have sent of (mean over charts - this
    chart): the client has its own rows of them, and the server sends the other mean.
    """
    return head.centre - client.relative[client.public[head.common]].mean(axis=0)
