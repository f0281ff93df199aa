"""What the main job can be told, what it refuses, and the settings it goes through."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

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
    "name", ["num_anchors", "max_epochs", "patience", "probe_epochs", "probe_patience"]
)
def test_what_must_be_counted_from_one_is_refused_below_by_its_own_flag(name):
    config.check(replace(Options(num_held_out=200), **{name: 1}))
    flag = "--" + name.replace("_", "-")
    for value in (0, -3):
        with pytest.raises(ValueError, match=f"^{flag} must be 1 or more, got {value}"):
            config.check(replace(Options(), **{name: value}))


def test_seeds_are_counted_from_zero():
    config.check(Options(seeds=(0, 7)))
    with pytest.raises(ValueError, match=r"^--seeds must be 0 or more, got \(2, -1\)"):
        config.check(Options(seeds=(2, -1)))


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
    found = {name: Options(dataset=name).epochs for name in DATASETS}
    assert found == {"digits": 20, "fashion_mnist_7k": 6}
    assert config.EPOCHS.keys() <= DATASETS.keys()
    assert 6 not in config.EPOCHS.values()  # only those that need others are named
    for name in DATASETS:
        assert Options(dataset=name, max_epochs=3).epochs == 3


def test_an_unknown_data_set_is_left_for_load_to_name():
    config.check(Options(dataset="nope"))


def test_the_command_line_says_what_the_options_say():
    words = (
        "--dataset digits --scenario A C --seeds 3 4 --num-anchors 9 --num-held-out 10 "
        "--max-epochs 2 --patience 1 --probe-epochs 5 --probe-patience 4 --out there"
    )
    assert tyro.cli(Options, args=words.split()) == Options(
        "digits", ("A", "C"), (3, 4), 9, 10, 2, 1, 5, 4, Path("there")
    )
    assert tyro.cli(Options, args=[]) == Options()


def test_an_unknown_scenario_is_refused_by_naming_the_known(capsys):
    with pytest.raises(SystemExit):
        tyro.cli(Options, args=["--scenario", "D"], prog="python -m experiments")
    assert "'A', 'B'" in capsys.readouterr().err


def test_what_is_described_is_what_was_chosen_and_can_be_written(tiny):
    options = Options(dataset="digits", seeds=(5,), num_anchors=16, out=Path("x"))
    described = config.describe(options, tiny)
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
        "probe_patience": 10,
    }
    named = {"jatlas", "jax", "jaxlib", "flax", "optax", "numpy", "scikit-learn"}
    assert described["versions"].keys() == named | {"python", "code", "data"}
    assert described["versions"]["numpy"] == np.__version__
    assert json.loads(json.dumps(described)) == described


def test_a_folder_that_moves_is_described_alike(tiny):
    here, there = Options(out=Path("here")), Options(out=Path("there"))
    assert config.describe(here, tiny) == config.describe(there, tiny)


def versions(dataset):
    return config.describe(Options(), dataset)["versions"]


def test_other_data_are_described_otherwise_and_nothing_else_of_it(tiny):
    images, labels = tiny.images.copy(), tiny.labels.copy()
    images[-1, -1, -1, 0] ^= 1
    labels[[0, 1]] = labels[[1, 0]]
    first = versions(tiny)
    others = [
        versions(tiny._replace(images=images)),
        versions(tiny._replace(labels=labels)),
    ]
    assert len({v["data"] for v in (first, *others)}) == 3
    for other in others:
        assert {**other, "data": first["data"]} == first


def test_other_code_is_described_otherwise(tiny, tmp_path, monkeypatch):
    """A module of either package, in a folder within too; nothing but modules."""
    for file in ("jatlas/__init__.py", "jatlas/within/a.py", "experiments/config.py"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("a = 1")
    elsewhere = SimpleNamespace(__file__=str(tmp_path / "jatlas" / "__init__.py"))
    monkeypatch.setattr(config, "jatlas", elsewhere)
    monkeypatch.setattr(config, "__file__", str(tmp_path / "experiments" / "config.py"))
    found = [versions(tiny)]
    (tmp_path / "jatlas" / "within" / "a.pyc").write_text("b")
    assert versions(tiny) == found[0]
    for file in ("jatlas/within/a.py", "experiments/config.py", "experiments/new.py"):
        (tmp_path / file).write_text("a = 2")
        found.append(versions(tiny))
    assert len({v["code"] for v in found}) == 4
    for other in found:
        assert {**other, "code": found[0]["code"]} == found[0]


def test_the_settings_are_those_of_the_issue():
    found = [(s.scenario, s.name, s.rule, s.on_test) for s in SETTINGS]
    assert found == [
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
    (setting,) = [s for s in SETTINGS if s.name == "S4_N2"]
    drawn = [setting.make(key, LABELS, TEST, 0).classes for key in (0, 1)]
    assert not np.array_equal(*drawn)
