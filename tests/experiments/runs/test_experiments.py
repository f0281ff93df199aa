"""What holds for every experiment: its flags, and what its numbers depend on."""

import ast
from dataclasses import fields

import pytest

from experiments.anchors.experiment import EXPERIMENT as ANCHORS
from experiments.blind.experiment import EXPERIMENT as BLIND
from experiments.continual.experiment import EXPERIMENT as CONTINUAL
from experiments.data import modules
from experiments.federated.experiment import EXPERIMENT as FEDERATED
from experiments.few_labels.experiment import EXPERIMENT as FEW_LABELS
from experiments.paper.experiment import EXPERIMENT as PAPER
from experiments.runs import options, provenance, runner
from experiments.runs.options import Options
from experiments.two_encoders.experiment import EXPERIMENT as TWO_ENCODERS

ALL = (ANCHORS, BLIND, CONTINUAL, FEDERATED, FEW_LABELS, PAPER, TWO_ENCODERS)
EXPERIMENTS = {each.name: each for each in ALL}
SHARED = {field.name for field in fields(Options)}
DRAWING = {"matplotlib", "plotly", "rich", "markdown_it"}
each_experiment = pytest.mark.parametrize(
    "experiment", EXPERIMENTS.values(), ids=list(EXPERIMENTS)
)


@each_experiment
def test_help_shows_the_flags_that_are_used_and_no_others(experiment, capsys):
    names = {field.name for field in fields(experiment.options)}
    assert set(experiment.unused) <= SHARED
    assert set(experiment.cells) <= names
    with pytest.raises(SystemExit, match=r"^0$"):
        runner.parse(experiment, ["--help"])
    text = capsys.readouterr().out
    assert f"usage: python -m experiments.{experiment.name} " in text
    shown = {name for name in names if f"{options.flag(name)} " in text}
    assert shown == names - set(experiment.unused)
    assert {"seeds", "out", "force"} <= shown


@each_experiment
def test_lists_are_values_separated_by_spaces(experiment):
    found = runner.parse(experiment, ["--seeds", "3", "5"])
    assert found.seeds == (3, 5)
    lists = {f.name for f in fields(found) if isinstance(getattr(found, f.name), tuple)}
    assert {"seeds", "scenario", "settings", "charts"} <= lists
    assert type(found) is type(experiment.options)


@each_experiment
def test_the_defaults_are_a_run(experiment):
    told = experiment.resolve(experiment.options)
    options.check(told)
    experiment.check(told)
    assert experiment.subfolder(told)


@each_experiment
def test_nothing_that_draws_or_prints_is_part_of_what_a_run_is(experiment):
    """So that another table or picture does not void what was measured."""
    roots = {function.__module__ for function in experiment.makers}
    found = modules.closure(roots, provenance.SHOWN)
    assert f"experiments.{experiment.name}.measure" in found
    assert f"experiments.{experiment.name}.experiment" not in found
    for name, path in found.items():
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in getattr(node, "names", ())]
            names = [getattr(node, "module", "") or "", *names]
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert not DRAWING & {n.split(".")[0] for n in names}, name
