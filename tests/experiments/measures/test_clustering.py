"""K-means and its scores, against their definitions in plain NumPy."""

import numpy as np
import pytest

from experiments.measures import clustering
from experiments.measures.clustering import NAMES

C = 4
LABELS = np.arange(120) % C


def blobs(noise, seed=0):
    rng = np.random.default_rng(seed)
    places = 4 * np.eye(C, 6)
    return (places[LABELS] + noise * rng.normal(size=(120, 6))).astype(np.float32)


def silhouette(rows, found):
    """How much nearer a row is to its own cluster than to the next, on the average."""
    apart = np.linalg.norm(np.float64(rows)[:, None] - np.float64(rows)[None], axis=2)
    values = []
    for n, own in enumerate(found):
        to = {c: apart[n, found == c].sum() for c in set(found)}
        inner = to.pop(own) / max(1, (found == own).sum() - 1)
        nearest = min(total / (found == c).sum() for c, total in to.items())
        values.append((nearest - inner) / max(nearest, inner))
    return np.mean(values)


def entropies(labels, found):
    """Of the labels, of the clusters, and their mutual information, in nats."""
    joint = np.histogram2d(labels, found, bins=(C, C))[0] / len(labels)
    of_labels, of_found = joint.sum(axis=1), joint.sum(axis=0)
    product = np.outer(of_labels, of_found)
    real = joint > 0
    mutual = (joint[real] * np.log(joint[real] / product[real])).sum()
    return *(
        -(p[p > 0] * np.log(p[p > 0])).sum() for p in (of_labels, of_found)
    ), mutual


def test_classes_that_lie_apart_are_found():
    rows = blobs(0.1)
    values = clustering.clustering(rows, LABELS, C, 0)
    assert list(values) == list(NAMES)
    assert values["completeness"] == values["homogeneity"] == pytest.approx(1)
    assert values["mutual_information"] == pytest.approx(np.log(C))
    expected = silhouette(rows, LABELS)
    assert values["silhouette"] == pytest.approx(expected, abs=1e-5)


def test_the_scores_are_those_of_the_clusters_and_the_classes():
    """Classes that are not the clusters: of each fourth label, another."""
    rows, labels = blobs(0.1), LABELS.copy()
    labels[::3] = (labels[::3] * 2) % C
    values = clustering.clustering(rows, labels, C, 0)
    of_labels, of_found, mutual = entropies(labels, LABELS)  # these are the clusters
    assert values["mutual_information"] == pytest.approx(mutual)
    assert values["homogeneity"] == pytest.approx(mutual / of_labels)
    assert values["completeness"] == pytest.approx(mutual / of_found)
    assert values["silhouette"] == pytest.approx(silhouette(rows, LABELS), abs=1e-5)
    assert 0.1 < values["homogeneity"] < 0.95


def test_a_seed_gives_the_same_clusters_again():
    rows = blobs(3)
    first, again, other = (
        clustering.clustering(rows, LABELS, C, seed) for seed in (0, 0, 2**40 + 5)
    )
    assert first == again
    assert first != other


def test_of_many_rows_the_silhouette_is_that_of_some_drawn_by_the_seed(monkeypatch):
    rows = blobs(1)
    exact = clustering.clustering(rows, LABELS, C, 0)
    monkeypatch.setattr(clustering, "MOST_ROWS", 60)
    some = clustering.clustering(rows, LABELS, C, 0)
    assert some["silhouette"] == pytest.approx(exact["silhouette"], abs=0.1)
    assert some["silhouette"] != exact["silhouette"]
    for name in NAMES[1:]:
        assert some[name] == exact[name]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_row_that_is_no_number_leaves_no_value(bad):
    rows = blobs(1)
    rows[3, 2] = bad
    values = clustering.clustering(rows, LABELS, C, 0)
    assert set(values) == set(NAMES)
    assert np.isnan(list(values.values())).all()


def test_fewer_rows_than_clusters_have_no_value_and_as_many_no_silhouette():
    rows = blobs(1)
    few = clustering.clustering(rows[:3], LABELS[:3], C, 0)
    assert np.isnan(list(few.values())).all()
    as_many = clustering.clustering(rows[:4], LABELS[:4], C, 0)
    assert np.isnan(as_many["silhouette"])
    assert as_many["homogeneity"] == pytest.approx(1)
