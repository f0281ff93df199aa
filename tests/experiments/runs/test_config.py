"""What the main job can be told, and what it refuses."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tyro

from experiments.runs import config
from experiments.runs.config import Options


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


def test_epochs_are_those_of_the_kind_of_chart_or_of_the_data_set():
    assert Options().epochs("cnn") == 6
    assert Options(dataset="cifar100").epochs("resnet") == 30
    assert Options(dataset="digits").epochs("resnet") == 30
    assert Options(dataset="digits").epochs("cnn") == 20
    assert Options(dataset="cifar100").epochs("cnn") == 20
    assert Options(dataset="digits", max_epochs=3).epochs("cnn") == 3


def test_charts_are_kinds_by_commas_and_an_unknown_one_is_refused():
    options = Options(charts="cnn,resnet,cnn")
    config.check(options)
    assert options.kinds == ("cnn", "resnet", "cnn")
    with pytest.raises(ValueError, match=r"unknown \['vit'\]; known are cnn, resnet"):
        config.check(Options(charts="cnn,vit"))


def names(options, num_classes=10):
    return [s.name for s in config.chosen(options, num_classes)]


def test_settings_are_those_of_the_data_set_unless_they_are_named():
    assert names(Options()) == ["S4_N2", "S2_N2", "P80_20", "T2"]
    assert names(Options(scenario=("C", "A"))) == ["S4_N2", "S2_N2", "T2"]
    assert names(Options(settings=("T5", "P70_20_10"))) == ["T5", "P70_20_10"]
    cifar = names(Options(dataset="cifar100", scenario=("A",)), 100)
    assert cifar[:5] == ["S80_N10", "S60_N10", "S40_N10", "S20_N10", "S80_N5"]


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="unknown setting 'S4'"):
        names(Options(settings=("S4",)))
    with pytest.raises(ValueError, match="must all be different"):
        names(Options(settings=("T2", "T2")))
    with pytest.raises(ValueError, match=r"--scenario A leaves nothing .*\['T2'\]"):
        names(Options(scenario=("A",), settings=("S4_N2", "T2")))


def test_an_unknown_data_set_is_left_for_load_to_name():
    config.check(Options(dataset="nope"))


def test_the_command_line_says_what_the_options_say():
    words = (
        "--dataset digits --scenario A C --settings T5 --charts cnn,resnet --seeds 3 4 "
        "--num-anchors 9 --num-held-out 10 --anchor-choice kmeans --max-epochs 2 "
        "--patience 1 --probe-epochs 5 --probe-patience 4 --feature-size 96 "
        "--data-dir here --manual-dir by_hand --out there"
    )
    assert tyro.cli(Options, args=words.split()) == Options(
        dataset="digits",
        scenario=("A", "C"),
        settings=("T5",),
        charts="cnn,resnet",
        seeds=(3, 4),
        num_anchors=9,
        num_held_out=10,
        anchor_choice="kmeans",
        max_epochs=2,
        patience=1,
        probe_epochs=5,
        probe_patience=4,
        feature_size=96,
        data_dir=Path("here"),
        manual_dir=Path("by_hand"),
        out=Path("there"),
    )
    assert tyro.cli(Options, args=[]) == Options()


def test_an_unknown_scenario_is_refused_by_naming_the_known(capsys):
    with pytest.raises(SystemExit):
        tyro.cli(Options, args=["--scenario", "D"], prog="python -m experiments")
    assert "'A', 'B'" in capsys.readouterr().err


def test_what_is_described_is_what_was_chosen_and_can_be_written(tiny):
    options = Options(dataset="digits", seeds=(5,), num_anchors=16, out=Path("x"))
    described = config.describe(options, tiny)
    assert described.keys() == {"options", "versions", "device", "notes"}
    assert described["options"] == {
        "dataset": "digits",
        "num_training": None,
        "scenario": ["A", "B", "C"],
        "settings": ["S4_N2", "S2_N2", "P80_20", "T2"],
        "charts": "cnn",
        "seeds": [5],
        "num_anchors": 16,
        "num_held_out": 16,
        "anchor_choice": "uniform",
        "max_epochs": {"cnn": 20},
        "patience": 2,
        "probe_epochs": 100,
        "probe_patience": 10,
        "feature_size": 64,
    }
    named = {"jatlas", "jax", "jaxlib", "flax", "optax", "numpy", "scikit-learn"}
    assert described["versions"].keys() == named | {"python", "code", "data"}
    assert described["versions"]["numpy"] == np.__version__
    assert json.loads(json.dumps(described)) == described


def test_a_folder_that_moves_is_described_alike(tiny):
    here = Options(out=Path("here"), data_dir=Path("a"), manual_dir=Path("b"))
    there = Options(out=Path("there"))
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
    for file in (
        "jatlas/__init__.py",
        "jatlas/within/a.py",
        "experiments/runs/config.py",
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("a = 1")
    elsewhere = SimpleNamespace(__file__=str(tmp_path / "jatlas" / "__init__.py"))
    monkeypatch.setattr(config, "jatlas", elsewhere)
    monkeypatch.setattr(
        config, "__file__", str(tmp_path / "experiments/runs/config.py")
    )
    found = [versions(tiny)]
    (tmp_path / "jatlas" / "within" / "a.pyc").write_text("b")
    assert versions(tiny) == found[0]
    for file in (
        "jatlas/within/a.py",
        "experiments/runs/config.py",
        "experiments/new.py",
    ):
        (tmp_path / file).write_text("a = 2")
        found.append(versions(tiny))
    assert len({v["code"] for v in found}) == 4
    for other in found:
        assert {**other, "code": found[0]["code"]} == found[0]


def test_of_too_few_classes_for_a_scenario_it_is_said():
    with pytest.raises(ValueError, match=r"of 2 classes there is no setting .* A: "):
        config.chosen(Options(scenario=("A",)), 2)


def test_the_weights_of_a_frozen_encoder_belong_to_what_a_run_is(tiny, monkeypatch):
    options = Options(charts="cnn,efficientnet-lite0")
    before = config.describe(options, tiny)["versions"]
    monkeypatch.setattr(config, "weights_file", lambda variant: Path(__file__))
    after = config.describe(options, tiny)["versions"]
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert changed == {"weights of efficientnet-lite0"}


def test_which_cells_there_are_is_no_matter_of_a_cell(tiny):
    first = config.describe(Options(seeds=(0,), settings=("T2",)), tiny)
    second = config.describe(Options(seeds=(1, 2), scenario=("B",)), tiny)
    assert first != second
    assert config.of_cells(first) == config.of_cells(second)
    assert config.of_cells(first) != config.of_cells(
        config.describe(Options(seeds=(0,), settings=("T2",), patience=3), tiny)
    )
