"""The cells of the grids: by name, and what tasks they make."""

import numpy as np
import pytest

from experiments.runs import settings

LABELS = np.arange(400) % 10
TEST = np.arange(400) >= 300


def make(name, num_held_out=30):
    return settings.parse(name).make(0, LABELS, TEST, num_held_out)


def test_ten_classes_have_a_grid_of_four():
    names = [name for s in "ABC" for name in settings.grid("digits", 10, s)]
    found = [settings.parse(name) for name in names]
    assert [(s.scenario, s.name, s.rule, s.on_test) for s in found] == [
        ("A", "S4_N2", "shared", True),
        ("A", "S2_N2", "shared", True),
        ("B", "P80_20", "unseen", False),
        ("C", "T2", "unseen", False),
    ]


@pytest.mark.parametrize(
    ("name", "num_tasks", "num_shared"), [("S4_N2", 3, 4), ("S2_N2", 4, 2)]
)
def test_in_a_some_classes_are_shared_and_nothing_is_held_out(
    name, num_tasks, num_shared
):
    tasks = make(name)
    assert tasks.classes.shape == (num_tasks, 10)
    assert tasks.presence.shape == tasks.seen.shape == (num_tasks, 400)
    assert tasks.shared.sum() == num_shared
    assert (tasks.classes.sum(axis=1) == num_shared + 2).all()
    assert not tasks.held_out.any()
    np.testing.assert_array_equal(tasks.test, TEST)


def test_in_b_both_tasks_have_all_classes_in_opposite_proportions():
    tasks = make("P80_20")
    assert tasks.classes.shape == (2, 10)
    assert tasks.classes.all()
    assert tasks.held_out.sum() == 30
    assert (tasks.presence.sum(axis=0) == ~tasks.held_out).all()
    tested = [np.bincount(LABELS[own & TEST], minlength=10) for own in tasks.presence]
    assert tested[0].tolist() == [8] * 5 + [2] * 5
    assert tested[1].tolist() == [2] * 5 + [8] * 5


def test_in_c_two_tasks_have_no_class_in_common():
    tasks = make("T2")
    assert tasks.classes.astype(int).tolist() == [[1] * 5 + [0] * 5, [0] * 5 + [1] * 5]
    assert tasks.held_out.sum() == 30
    assert (tasks.presence.sum(axis=0) == ~tasks.held_out).all()


def test_another_key_draws_other_tasks():
    setting = settings.parse("S4_N2")
    drawn = [setting.make(key, LABELS, TEST, 0).classes for key in (0, 1)]
    assert not np.array_equal(*drawn)


def test_percentages_are_turned_from_part_to_part_of_the_classes():
    labels, test = np.arange(900) % 9, np.zeros(900, bool)
    tasks = settings.parse("P70_20_10").make(0, labels, test, 0)
    counts = [np.bincount(labels[own], minlength=9) for own in tasks.presence]
    assert [c[::3].tolist() for c in counts] == [
        [70, 10, 20],
        [20, 70, 10],
        [10, 20, 70],
    ]


def test_three_tasks_of_ten_classes_differ_by_one():
    assert make("T3").classes.sum(axis=1).tolist() == [4, 3, 3]


@pytest.mark.parametrize("name", ["S4", "S4_N2 ", "P80", "T", "80_20", "", "S4_N2_N2"])
def test_other_names_are_refused_by_saying_what_there_is(name):
    with pytest.raises(ValueError, match=f"unknown setting '{name}'.*S4_N2.*T5"):
        settings.parse(name)


def test_percentages_that_do_not_add_up_are_refused():
    with pytest.raises(ValueError, match=r"must add up to 100, got \(80, 30\)"):
        settings.parse("P80_30")


@pytest.mark.parametrize(("dataset", "num_classes"), [
    ("fashion_mnist", 10), ("svhn_cropped", 10), ("cifar100", 100),
    ("tiny_imagenet", 200), ("emnist", 62), ("oxford_iiit_pet", 37), ("malaria", 2),
])  # fmt: skip
def test_every_cell_of_a_grid_fills_the_classes(dataset, num_classes):
    labels = np.arange(20 * num_classes) % num_classes
    test = np.zeros(labels.size, bool)
    for name in settings.grid(dataset, num_classes, "A"):
        tasks = settings.parse(name).make(0, labels, test, 0)
        assert tasks.classes.any(axis=0).all()
        assert tasks.classes.shape[0] >= 2
    assert settings.grid(dataset, num_classes, "B") == ("P80_20",)


def test_the_papers_grids_are_all_there():
    cells = settings.grid("cifar100", 100, "A")
    pairs = {(80, 10), (60, 10), (40, 10), (20, 10), (80, 5), (60, 5), (40, 5), (20, 5)}
    assert set(cells) == {f"S{s}_N{n}" for s, n in pairs}
    assert settings.grid("tiny_imagenet", 200, "A") == ("S100_N25", "S50_N25")
