"""The deal of private samples, and of untrained public ones."""

from typing import NamedTuple

import jax
import numpy as np

import jatlas
from experiments.data.dataset import Dataset
from experiments.federated.messages import Recipe
from experiments.federated.options import FederatedOptions
from experiments.runs import seeds, settings
from jatlas.scenarios import Tasks


class Deal(NamedTuple):
    """The samples that a round deals.

    In a world without a simulation nobody holds all of it.

    Attributes:
        tasks: of the clients, M; the public samples are held out of all of them.
        recipe: what the server asks of all clients.
    """

    tasks: Tasks
    recipe: Recipe


def deal(options: FederatedOptions, dataset: Dataset, seed: int) -> Deal:
    """The tasks, the public samples and the anchors of a round.

    The public samples are drawn by class, their labels being public as well. They are
    taken out of every task before anything is trained, scenario A's too, which holds
    nothing out by itself.

    Raises:
        ValueError: if the data set is too small, or has other classes.
    """
    setting = settings.parse(options.settings[0])
    dealt = setting.make(seed, dataset.labels, dataset.test, 0)
    draws = jax.random.split(seeds.fold(jax.random.key(seed), seeds.PUBLIC_OF_CLIENTS))
    try:
        public = jatlas.choose_anchors(
            draws[0],
            ~dataset.test,
            options.num_public,
            method="balanced",
            labels=dataset.labels,
        )
    except ValueError as error:
        raise ValueError(f"--num-public {options.num_public}: {error}") from error
    tasks = keep_out(dealt, public, dataset.labels)
    pool = np.asarray(jatlas.anchor_pool(tasks.seen, "unseen")) & tasks.held_out
    anchors = jatlas.choose_anchors(draws[1], pool, options.num_anchors)
    jatlas.check_anchors(anchors, np.ones_like(tasks.presence), seen=tasks.seen)
    public = np.flatnonzero(tasks.held_out)
    recipe = Recipe(
        round=seed,
        ids=tuple(dataset.ids[public].tolist()),
        labels=tuple(dataset.labels[public].tolist()),
        anchors=tuple(np.searchsorted(public, anchors).tolist()),
        num_classes=len(dataset.class_names),
        num_clients=len(tasks.seen),
        coordinates=options.coordinates,
    )
    return Deal(tasks, recipe)


def keep_out(tasks: Tasks, public: np.ndarray, labels: np.ndarray) -> Tasks:
    """The tasks without these samples, which are then held out.

    Raises:
        ValueError: if a client would have no training sample left of a class.
    """
    held_out = np.isin(np.arange(labels.size), public)
    parts = ("presence", "seen", "validation")
    kept = tasks._replace(
        held_out=held_out, **{name: getattr(tasks, name) & ~held_out for name in parts}
    )
    for m, (classes, seen) in enumerate(zip(kept.classes, kept.seen, strict=True)):
        lost = np.setdiff1d(np.flatnonzero(classes), labels[seen])
        if lost.size:
            raise ValueError(
                f"--num-public {held_out.sum()} leaves client {m + 1} without a "
                f"training sample of class {lost[0]}; keep fewer."
            )
    return kept


def client_part(dataset: Dataset, tasks: Tasks, client: int) -> tuple[Dataset, Tasks]:
    """A client's data: private and public samples, and the test split.

    Its tasks are one, its own.
    """
    m = slice(client - 1, client)
    rows = np.flatnonzero(tasks.presence[m][0] | tasks.held_out | tasks.test)
    samples = ("images", "labels", "ids", "test")
    held = dataset._replace(**{name: getattr(dataset, name)[rows] for name in samples})
    return held, Tasks(
        tasks.classes[m],
        tasks.shared,
        tasks.presence[m, rows],
        tasks.seen[m, rows],
        tasks.validation[m, rows],
        tasks.held_out[rows],
        tasks.test[rows],
    )
