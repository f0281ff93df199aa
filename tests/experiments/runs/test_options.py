"""What the experiments can be told, and what they refuse."""

from dataclasses import replace
from pathlib import Path

import pytest

from experiments.paper.experiment import EXPERIMENT
from experiments.paper.published_tables import PaperOptions
from experiments.runs import options, runner, settings
from experiments.runs.options import Options, check


def test_the_default_is_a_run():
    check(Options())


@pytest.mark.parametrize("name", ["scenario", "seeds"])
def test_what_is_none_or_twice_is_refused(name):
    first = getattr(Options(), name)[0]
    for values in ((), (first, first)):
        with pytest.raises(ValueError, match=f"--{name} takes one or more, all diff"):
            check(replace(Options(), **{name: values}))


@pytest.mark.parametrize(
    "name", ["num_anchors", "max_epochs", "patience", "probe_epochs", "probe_patience"]
)
def test_what_must_be_counted_from_one_is_refused_below_by_its_own_flag(name):
    check(replace(Options(num_held_out=200), **{name: 1}))
    flag = "--" + name.replace("_", "-")
    for value in (0, -3):
        with pytest.raises(ValueError, match=f"^{flag} must be 1 or more, got {value}"):
            check(replace(Options(), **{name: value}))


def test_seeds_are_counted_from_zero():
    check(Options(seeds=(0, 7)))
    with pytest.raises(ValueError, match=r"^--seeds must be 0 or more, got \(2, -1\)"):
        check(Options(seeds=(2, -1)))


def test_more_anchors_than_held_out_samples_are_refused():
    check(Options(num_anchors=64, num_held_out=64))
    with pytest.raises(
        ValueError,
        match="--num-held-out 63 leaves too few samples for --num-anchors 64",
    ):
        check(Options(num_anchors=64, num_held_out=63))


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


def test_an_unknown_kind_of_chart_is_refused():
    check(Options(charts=("cnn", "resnet", "cnn")))
    with pytest.raises(ValueError, match=r"unknown \['vit'\]; known are cnn, resnet"):
        check(Options(charts=("cnn", "vit")))
    with pytest.raises(ValueError, match="--charts takes one or more"):
        check(Options(charts=()))


def names(told, num_classes=10):
    found = settings.chosen(told.settings, told.scenario, told.dataset, num_classes)
    return [s.name for s in found]


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
    check(Options(dataset="nope"))


def test_the_command_line_says_what_the_options_say():
    words = (
        "--dataset digits --scenario a C --settings T5 --charts cnn resnet --seeds 3 4 "
        "--num-anchors 9 --num-held-out 10 --anchor-choice kmeans --max-epochs 2 "
        "--patience 1 --probe-epochs 5 --probe-patience 4 --feature-size 96 "
        "--similarity rbf --data-dir here --manual-dir by_hand --out there --force"
    )
    assert runner.parse(EXPERIMENT, words.split()) == PaperOptions(
        dataset="digits",
        scenario=("A", "C"),
        settings=("T5",),
        charts=("cnn", "resnet"),
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
        similarity="rbf",
        out=Path("there"),
        force=True,
    )
    assert runner.parse(EXPERIMENT, []) == EXPERIMENT.options


def test_an_unknown_scenario_is_refused_by_naming_the_known(capsys):
    with pytest.raises(SystemExit, match=r"^2$"):
        runner.command(EXPERIMENT, ["--scenario", "D"])
    said = capsys.readouterr().err
    assert said == "error: --scenario takes 'A', 'B' and 'C'; got ('D',).\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--datast x", "error: Unrecognized options: --datast"),
        ("--seeds one", "error: Error parsing --seeds: "),
        ("--patience", "error: "),
    ],
)
def test_a_command_line_that_cannot_be_read_is_said_in_a_line(words, message, capsys):
    with pytest.raises(SystemExit, match=r"^2$"):
        runner.parse(EXPERIMENT, words.split())
    said = capsys.readouterr().err
    assert said.startswith(message)
    assert said.endswith("; see python -m experiments.paper --help\n")
    assert said.count("\n") == 1


def test_of_too_few_classes_for_a_scenario_it_is_said():
    with pytest.raises(ValueError, match=r"of 2 classes there is no setting .* A: "):
        names(Options(scenario=("A",)), 2)


def test_a_flag_that_is_not_used_is_neither_shown_nor_taken(capsys):
    some = EXPERIMENT._replace(unused=("num_training", "charts"))
    with pytest.raises(SystemExit, match=r"^0$"):
        runner.parse(some, ["--help"])
    shown = capsys.readouterr().out
    assert "--num-training" not in shown
    assert "--charts" not in shown
    assert "--seeds" in shown
    with pytest.raises(SystemExit, match=r"^2$"):
        runner.parse(some, ["--charts", "cnn"])
    assert runner.parse(some, ["--seeds", "4"]) == PaperOptions(seeds=(4,))


def test_of_the_options_that_are_described_none_is_of_a_folder():
    told = Options(dataset="here/mine.npz", out=Path("there"), force=True)
    found = options.described(told, ("charts",))
    assert found["dataset"] == "mine"
    assert not {"out", "data_dir", "manual_dir", "force", "charts"} & found.keys()
    assert found["seeds"] == [0, 1, 2]
