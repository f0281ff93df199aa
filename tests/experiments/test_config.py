"""What the main job can be told, what it refuses, and the settings it goes through."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tyro

from experiments import config
from experiments.config import SETTINGS, Options
from experiments.data import DATASETS

LABELS = np.arange(400) % 10
TEST = np.arange(400) >= 300


def make(name, num_held_out=30):
    (setting,) = [s for s in SETTINGS if s.name == name]
    return setting.make(0, LABELS, TEST, num_held_out)


def test_the_default_is_a_run():
    config.check(Options())
    assert Options().folder == Path("results/fashion_mnist_7k")
    assert Options(out=Path("elsewhere")).folder == Path("elsewhere")


@pytest.mark.parametrize("name", ["scenario", "seeds"])
def test_what_is_none_or_twice_is_refused(name):
    first = getattr(Options(), name)[0]
    for values in ((), (first, first)):
        with pytest.raises(ValueError, match=f"--{name} takes one or more, all diff"):
            config.check(replace(Options(), **{name: values}))


@pytest.mark.parametrize(
    "name", ["num_anchors", "max_epochs", "patience", "probe_epochs"]
)
def test_what_must_be_counted_from_one_is_refused_below_by_its_own_flag(name):
    config.check(replace(Options(num_held_out=200), **{name: 1}))
    flag = "--" + name.replace("_", "-")
    for value in (0, -3):
        with pytest.raises(ValueError, match=f"^{flag} must be 1 or more, got {value}"):
            config.check(replace(Options(), **{name: value}))


def test_more_anchors_than_held_out_samples_are_refused():
    config.check(Options(num_anchors=64, num_held_out=64))
    with pytest.raises(
        ValueError,
        match="--num-held-out 63 leaves too few samples for --num-anchors 64",
    ):
        config.check(Options(num_anchors=64, num_held_out=63))


def test_as_many_are_held_out_as_there_are_anchors_unless_told_otherwise():
    assert Options(num_anchors=17).held_out == 17
    assert Options(num_anchors=17, num_held_out=100).held_out == 100


def test_every_data_set_has_its_epochs():
    assert config.EPOCHS.keys() == DATASETS.keys()
    assert Options(dataset="digits").epochs == config.EPOCHS["digits"]
    assert Options(dataset="digits", max_epochs=3).epochs == 3


def test_an_unknown_data_set_is_left_for_load_to_name():
    config.check(Options(dataset="nope"))


def test_the_command_line_says_what_the_options_say():
    words = (
        "--dataset digits --scenario A C --seeds 3 4 --num-anchors 9 --num-held-out 10 "
        "--max-epochs 2 --patience 1 --probe-epochs 5 --out there"
    )
    assert tyro.cli(Options, args=words.split()) == Options(
        "digits", ("A", "C"), (3, 4), 9, 10, 2, 1, 5, Path("there")
    )
    assert tyro.cli(Options, args=[]) == Options()


def test_an_unknown_scenario_is_refused_by_naming_the_known(capsys):
    with pytest.raises(SystemExit):
        tyro.cli(Options, args=["--scenario", "D"], prog="python -m experiments")
    assert "'A', 'B'" in capsys.readouterr().err


def test_what_is_described_is_what_was_chosen_and_can_be_written():
    options = Options(dataset="digits", seeds=(5,), num_anchors=16, out=Path("x"))
    described = config.describe(options)
    assert described.keys() == {"options", "versions", "device"}
    assert described["options"] == {
        "dataset": "digits",
        "scenario": ["A", "B", "C"],
        "seeds": [5],
        "num_anchors": 16,
        "num_held_out": 16,
        "max_epochs": config.EPOCHS["digits"],
        "patience": 2,
        "probe_epochs": 100,
    }
    named = {"jatlas", "jax", "jaxlib", "flax", "optax", "numpy", "scikit-learn"}
    assert described["versions"].keys() == named | {"python"}
    assert described["versions"]["numpy"] == np.__version__
    assert json.loads(json.dumps(described)) == described


def test_a_folder_that_moves_is_described_alike():
    here, there = Options(out=Path("here")), Options(out=Path("there"))
    assert config.describe(here) == config.describe(there)


def test_the_settings_are_those_of_the_issue():
    found = [(s.scenario, s.name, s.rule) for s in SETTINGS]
    assert found == [
        ("A", "S4_N2", "shared"),
        ("A", "S2_N2", "shared"),
        ("B", "P80_20", "unseen"),
        ("C", "T2", "unseen"),
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
    (setting,) = [s for s in SETTINGS if s.name == "S4_N2"]
    drawn = [setting.make(key, LABELS, TEST, 0).classes for key in (0, 1)]
    assert not np.array_equal(*drawn)
