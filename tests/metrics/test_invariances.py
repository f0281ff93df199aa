"""What each measure of two spaces is invariant to, and what it is not.

Every measure stands against every kind of map of x: it does not change under those that
its line names, and changes under all others.
"""

import re
from functools import cache, partial
from pathlib import Path

import jax
import numpy as np
import pytest

from jatlas import metrics

N, D = 40, 5
MAPS = "rotation", "permutation", "scale", "translation", "feature scale", "affine"
RIGID = {"rotation", "permutation"}
SIMILAR = {*RIGID, "scale", "translation"}

INVARIANT = {
    "cka": (metrics.cka, SIMILAR),
    "cka debiased": (partial(metrics.cka, debiased=True), SIMILAR),
    "minibatch_cka": (partial(metrics.minibatch_cka, batch_size=20), SIMILAR),
    "hsic": (metrics.hsic, {*RIGID, "translation"}),
    "procrustes angular": (metrics.procrustes_distance, SIMILAR),
    "procrustes euclidean": (
        partial(metrics.procrustes_distance, form="euclidean"),
        {*RIGID, "translation"},
    ),
    "procrustes in part whitened": (
        partial(metrics.procrustes_distance, alpha=0.5),
        {*RIGID, "translation"},
    ),
    "procrustes whitened": (partial(metrics.procrustes_distance, alpha=0.0), set(MAPS)),
    "procrustes_similarity": (metrics.procrustes_similarity, SIMILAR),
    "mean_squared_cca": (metrics.mean_squared_cca, set(MAPS)),
    "mean_squared_cca ridge": (partial(metrics.mean_squared_cca, ridge=0.5), SIMILAR),
    "svcca": (partial(metrics.svcca, variance=0.7), SIMILAR),
    "pwcca": (metrics.pwcca, {"permutation", "scale", "translation"}),
    "pwcca of the other space": (lambda x, y: metrics.pwcca(y, x), set(MAPS)),
    "predictivity": (partial(metrics.predictivity, ridge=0.5), SIMILAR),
    "predictivity without ridge": (
        partial(metrics.predictivity, ridge=0.0),
        set(MAPS),
    ),
    "predictivity of it": (lambda x, y: metrics.predictivity(y, x), SIMILAR),
    "rsa correlation": (metrics.rsa, {"permutation", "scale"}),
    "rsa euclidean": (partial(metrics.rsa, dissimilarity="euclidean"), SIMILAR),
    "rsa kendall": (
        partial(metrics.rsa, dissimilarity="euclidean", method="kendall"),
        SIMILAR,
    ),
    "rsa cosine": (partial(metrics.rsa, dissimilarity="cosine"), {*RIGID, "scale"}),
    "self_similarity_correlation": (
        metrics.self_similarity_correlation,
        {*RIGID, "scale"},
    ),
    "mutual_neighbors inner": (
        partial(metrics.mutual_neighbors, k=8),
        RIGID | {"scale"},
    ),
    "mutual_neighbors euclidean": (
        partial(metrics.mutual_neighbors, k=8, similarity="euclidean"),
        SIMILAR,
    ),
    "rank_biased_neighbors": (
        partial(metrics.rank_biased_neighbors, k=8),
        {*RIGID, "scale"},
    ),
    "jaccard_neighbors": (partial(metrics.jaccard_neighbors, k=8), {*RIGID, "scale"}),
    "cycle_neighbors": (partial(metrics.cycle_neighbors, k=4), {*RIGID, "scale"}),
    "cknna": (partial(metrics.cknna, k=8), {*RIGID, "scale"}),
}


def spaces():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(N, D)) * np.array([3, 2, 1.5, 1, 0.7])
    return x + 0.5, x @ rng.normal(size=(D, 4)) + 2 * rng.normal(size=(N, 4))


def mapped(x, name):
    rng = np.random.default_rng(5)
    return {
        "rotation": lambda: x @ np.linalg.qr(rng.normal(size=(D, D)))[0],
        "permutation": lambda: x[:, [3, 0, 4, 2, 1]],
        "scale": lambda: 7 * x,
        "translation": lambda: x + np.array([4, -3, 5, 2, -6]),
        "feature scale": lambda: x * np.array([0.2, 1, 3, 0.5, 6]),
        "affine": lambda: x @ (rng.normal(size=(D, D)) + np.eye(D)) + 2,
    }[name]()


@cache
def compiled(name):
    return jax.jit(INVARIANT[name][0])


@pytest.mark.parametrize("name", INVARIANT)
def test_a_measure_changes_under_no_maps_but_those_it_must(name):
    x, y = spaces()
    with jax.enable_x64(True):
        before = float(compiled(name)(x, y))
        after = {kind: float(compiled(name)(mapped(x, kind), y)) for kind in MAPS}
    change = {kind: abs(value / before - 1) for kind, value in after.items()}
    assert {kind for kind in MAPS if change[kind] < 1e-9} == INVARIANT[name][1]
    assert all(change[kind] > 1e-3 for kind in MAPS if kind not in INVARIANT[name][1])


def test_every_measure_of_two_spaces_is_in_the_table():
    names = {name for name in metrics.__all__ if name[0].islower()}
    of_other_things = {
        "median_distance",  # of one space
        "separability",  # of one space and labels
        "permutation_test",  # of a measure
        "bootstrap_interval",
        "compare_spaces",
        "noise_ceiling",  # of a matrix of values
        "retrieval",  # of queries and a gallery in one space
    }
    covered = {name.split()[0] for name in INVARIANT}
    covered |= {"procrustes_distance"}  # three forms of it
    assert names - of_other_things <= covered


def test_the_guide_shows_this_table():
    text = (
        Path(__file__).parents[2] / "experiments/guides/which_measure.md"
    ).read_text()
    table = re.findall(r"^\| `(.+?)` \|((?: (?:yes|no) \|){6})", text, flags=re.M)
    shown = {
        name: {
            kind
            for kind, cell in zip(MAPS, row.split(" |"), strict=False)
            if "y" in cell
        }
        for name, row in table
    }
    assert f"| {' | '.join(MAPS)} |" in text
    assert shown == {name: maps for name, (_, maps) in INVARIANT.items()}
