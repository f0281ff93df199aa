"""Spaces in two dimensions: what t-SNE and shared axes keep, and that runs agree."""

import numpy as np
import pytest

from experiments.paper.plots import planes


def apart(num_samples=90, num_classes=3, seed=0):
    """Rows of classes that lie far apart, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num_samples) % num_classes
    means = 10 * rng.normal(size=(num_classes, 6))
    return np.float32(means[labels] + rng.normal(size=(num_samples, 6))), labels


@pytest.mark.parametrize("shape", [(5, 1), (1, 4), (2, 3)])
def test_principal_axes_of_few_rows_or_one_anchor_are_finite(shape):
    rows = np.random.default_rng(0).normal(size=shape)
    points, shares = planes.principal_axes(rows)
    assert points.shape == (shape[0], 2)
    assert np.isfinite(points).all()
    np.testing.assert_allclose(shares.sum(), 1.0 if shape[0] > 1 else 0.0, atol=1e-9)


@pytest.mark.parametrize("projection", planes.PROJECTIONS)
def test_every_projection_gives_each_space_its_points_and_the_names_of_the_axes(
    projection,
):
    spaces = {"a": apart()[0], "b": apart(seed=1)[0]}
    found = planes.planes(spaces, projection)
    assert found.keys() == spaces.keys()
    for plane in found.values():
        assert plane.points.shape == (90, 2)
        assert np.isfinite(plane.points).all()
        assert len(plane.axes) == 2


def test_on_shared_axes_equal_rows_are_the_same_point():
    rows = apart()[0]
    found = planes.planes({"a": rows, "b": rows[::-1]}, "shared")
    np.testing.assert_allclose(found["a"].points, found["b"].points[::-1])


def test_spaces_of_other_dimensions_cannot_share_axes():
    spaces = {"a": np.zeros((5, 3)), "b": np.zeros((5, 4))}
    with pytest.raises(ValueError, match=r"'a': 3, 'b': 4.*of the same anchors"):
        planes.planes(spaces, "shared")


def test_tsne_keeps_classes_apart_that_are():
    rows, labels = apart()
    points = planes.tsne({"a": rows})["a"]
    distances = np.linalg.norm(points[:, None] - points, axis=2)
    np.fill_diagonal(distances, np.inf)
    assert np.mean(labels[distances.argmin(axis=1)] == labels) > 0.95


def test_tsne_is_the_same_every_time_whatever_stands_beside_it():
    one, other = apart()[0], apart(seed=1)[0]
    alone = planes.tsne({"a": one})["a"]
    beside = planes.tsne({"b": other, "a": one, "c": other})
    np.testing.assert_array_equal(beside["a"], alone)
    np.testing.assert_array_equal(beside["b"], beside["c"])


@pytest.mark.parametrize(
    "rows",
    [np.eye(4), np.ones((20, 3)), np.eye(20)[:, :1]],
    ids=["few", "equal", "one dimension"],
)
def test_tsne_of_rows_of_which_it_is_no_use_is_finite(rows):
    points = planes.tsne({"a": rows})["a"]
    assert points.shape == (len(rows), 2)
    assert np.isfinite(points).all()


def test_of_every_class_its_share_is_chosen_however_the_samples_are_ordered():
    labels = np.arange(600) % 10  # every tenth would all be of one class
    chosen = planes.evenly_by_class(labels, 60)
    assert np.bincount(labels[chosen]).tolist() == [6] * 10
    assert (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(planes.evenly_by_class(labels[:7], 60), np.arange(7))
