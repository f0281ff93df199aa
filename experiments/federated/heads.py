"""Heads: classifiers of public or private rows, and their accuracy."""

import jax
import numpy as np

import jatlas
from experiments.federated.messages import Recipe
from experiments.federated.options import FederatedOptions
from experiments.measures import guesses
from experiments.runs import seeds
from jatlas import Probe


def learn(
    options: FederatedOptions,
    seed: int,
    rows: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    where: np.ndarray,
    validation: np.ndarray,
) -> Probe:
    """The paper's probe, with one key and schedule for all spaces."""
    return jatlas.fit_probe(
        seeds.fold(jax.random.key(seed), seeds.HEADS),
        rows,
        np.asarray(labels, np.int32),
        num_classes,
        where=where,
        validation=validation,
        max_epochs=options.probe_epochs,
        patience=options.probe_patience,
    )


def learn_public(
    options: FederatedOptions, recipe: Recipe, rows: np.ndarray, known: np.ndarray
) -> Probe:
    """Train a head on the public samples' rows, (P, A), and labels.

    Args:
        options: of the run.
        recipe: of the round; every head of it stops early by the same tenth.
        rows: anything where not known.
        known: (P,), the samples that have a row.
    """
    drawn = np.random.default_rng([recipe.round, 13]).random(len(recipe.ids))
    held = np.zeros_like(known)
    held[np.argsort(drawn)[: len(recipe.ids) // 10]] = True
    return learn(
        options,
        recipe.round,
        rows,
        np.array(recipe.labels),
        recipe.num_classes,
        where=known & ~held,
        validation=known & held,
    )


def scores(
    probe: Probe,
    rows: np.ndarray,
    labels: np.ndarray,
    test: np.ndarray,
    classes: np.ndarray,
) -> dict[str, float]:
    """Test accuracies on all, trained and untrained classes.

    Args:
        probe: the head.
        rows: (N, A).
        labels: (N,).
        test: (N,), the test split.
        classes: (C,), the client's own.
    """
    guess = guesses.likely(np.asarray(jatlas.probe_logits(probe, rows)))
    trained_on = classes[labels]
    groups = {"unseen": test & ~trained_on, "seen": test & trained_on, "all": test}
    return {
        group: guesses.accuracy(guess, labels, chosen)
        for group, chosen in groups.items()
    }
