"""The runner, with an experiment that takes no time: what is kept, and gone on with."""

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from rich.console import Console

from experiments.data import storage
from experiments.encoders import chart_kinds
from experiments.paper.experiment import EXPERIMENT as PAPER
from experiments.runs import provenance, runner
from experiments.runs.deals import Unit
from experiments.runs.experiment import Experiment
from experiments.runs.options import Options
from experiments.runs.terminal import Stopped


@dataclass(frozen=True)
class Sums(Options):
    """What is told of sums."""

    power: int = 1
    """Of the numbers."""


class Bench(NamedTuple):
    options: Sums
    numbers: range
    folder: Path


def measure(bench, seed, report):
    report("adding", 0.5)
    storage.write_json(bench.folder / f"sum_seed{seed}_half.json", 1)
    storage.write_json(bench.folder / f"all_{seed}.json", 1)
    value = sum(number**bench.options.power for number in bench.numbers) + seed
    return [{"seed": seed, "value": value}]


SUMS = Experiment(
    name="sums",
    about="Add numbers.",
    options=Sums(seeds=(0, 1)),
    unused=("dataset", "charts", "similarity"),
    measure=measure,
    report=lambda results: f"sum: {results['rows'][0]['value']}\n",
    read=lambda options, report: range(5),
    units=lambda options, data: [
        Unit(f"sum_seed{seed}", f"seed {seed}", (seed,)) for seed in options.seeds
    ],
    prepare=lambda options, data, folder, report: Bench(options, data, folder),
    facts=lambda options, data: {"notes": ["of five"], "versions": {"data": "5"}},
    notes=("whole numbers",),
    cells=("seeds",),
    subfolder=lambda options: "five",
)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(runner, "keep_compiled", lambda: None)


def run(options, experiment=SUMS):
    """What a run writes, and what it says."""
    console = Console(file=io.StringIO(), width=120)
    results = runner.execute(runner.plan(experiment, options), console)
    return results, console.file.getvalue()


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def test_a_run_keeps_parts_and_writes_results_and_a_table(tmp_path):
    options = replace(SUMS.options, power=2, out=tmp_path / "out")
    results, said = run(options)
    assert results["rows"] == [{"seed": k, "value": 30 + k} for k in (0, 1)]
    settings = results["settings"]
    assert settings["experiment"] == "sums"
    assert settings["options"]["power"] == 2
    assert not {"dataset", "charts", "similarity", "out"} & settings["options"].keys()
    assert settings["notes"] == ["of five", "whole numbers"]
    assert settings["versions"]["data"] == "5"
    assert names(options.out) == ["parts", "results.json", "settings.json", "table.md"]
    assert (options.out / "table.md").read_text() == "sum: 30\n"
    assert "sum: 30" in said
    # What is named after a unit and a "_" was its own business.
    assert names(options.out / "parts") == [
        "all_0.json",
        "all_1.json",
        "sum_seed0.json",
        "sum_seed1.json",
    ]


def test_results_go_to_the_folder_of_the_experiment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner.main(SUMS, SUMS.options)
    assert (tmp_path / "results" / "sums" / "five" / "results.json").exists()


def test_a_unit_that_is_not_complete_is_measured_again(tmp_path):
    complete = []

    def partly(bench, seed, report):
        rows = measure(bench, seed, report)
        return {"rows": rows, "lines": ["late"], "complete": bool(complete), "size": 3}

    partial_sums, options = (
        SUMS._replace(measure=partly),
        replace(SUMS.options, seeds=(0,), out=tmp_path / "out"),
    )
    results, said = run(options, partial_sums)
    about = {"unit": "sum_seed0", "lines": ["late"], "complete": False, "size": 3}
    assert results["units"] == [about]
    assert "seed 0: late" in said
    assert "not complete: seed 0; the same command goes on" in said
    complete.append(True)
    results, said = run(options, partial_sums)
    assert results["units"] == [about | {"complete": True}]
    assert "1 of 1: seed 0" in said
    assert "not complete" not in said
    _, said = run(options, partial_sums)
    assert "1 of 1 were done before" in said
    assert "1 of 1: seed" not in said


def test_what_a_run_shows_may_be_other_than_its_table(tmp_path):
    drawn = []
    shown = SUMS._replace(
        show=lambda results: ["one", "two"],
        draw=lambda run, results: drawn.append((run.folder, results["rows"])),
    )
    _, said = run(replace(SUMS.options, out=tmp_path / "out"), shown)
    assert said.splitlines()[-2:] == ["one", "two"]
    assert "sum:" not in said
    ((folder, rows),) = drawn
    assert folder == tmp_path / "out"
    assert rows == storage.read_json(folder / "results.json")["rows"] != []
    assert (folder / "table.md").read_text() == "sum: 10\n"


def test_a_run_that_cannot_go_on_ends_in_a_line(tmp_path, capsys):
    def stopped(bench, seed, report):
        raise Stopped("nobody answered")

    with pytest.raises(SystemExit, match=r"^2$"):
        runner.main(
            SUMS._replace(measure=stopped), replace(SUMS.options, out=tmp_path / "out")
        )
    assert capsys.readouterr().err == "error: nobody answered\n"


def test_a_second_run_in_a_folder_is_refused_while_the_first_is_at_work(
    tmp_path, capsys
):
    options = replace(SUMS.options, seeds=(0,), out=tmp_path / "out")
    seen = []

    def read(options, report):
        raise AssertionError("the second run has read its data first")

    def twice(bench, seed, report):
        before = sorted(options.out.rglob("*"))
        with pytest.raises(SystemExit) as ending:
            runner.main(SUMS._replace(read=read), options)
        seen.append((ending.value.code, capsys.readouterr().err))
        assert sorted(options.out.rglob("*")) == before
        return measure(bench, seed, report)

    runner.main(SUMS._replace(measure=twice), options)
    ((code, said),) = seen
    assert code == 2
    assert said.startswith(f"error: another run is at work in {options.out}. Wait")
    assert said.count("\n") == 1
    runner.main(SUMS, options)  # it is free again
    assert "1 of 1 were done before" in capsys.readouterr().out


def test_presets_and_checks_come_before_data_are_read(tmp_path):
    def refuse(options, report):
        raise AssertionError("read")

    def check(options):
        if options.power > 2:
            raise ValueError("--power is 2 at most.")

    checked = SUMS._replace(
        read=refuse, check=check, resolve=lambda options: replace(options, power=3)
    )
    with pytest.raises(ValueError, match="--power is 2 at most"):
        runner.plan(checked, replace(SUMS.options, out=tmp_path / "out"))


# Resume that survives an edit


def edited(monkeypatch, **modules):
    monkeypatch.setattr(provenance, "code", lambda *functions: modules)


def test_of_other_code_a_run_is_gone_on_with_by_force_and_says_so(
    tmp_path, monkeypatch, capsys
):
    options = replace(SUMS.options, seeds=(0,), out=tmp_path / "out")
    edited(monkeypatch, measures="1", jobs="1")
    first, _ = run(options)
    assert "forced" not in first["settings"]
    assert "modules" not in first["settings"]
    edited(monkeypatch, measures="2", jobs="1")
    more = replace(options, seeds=(0, 1))
    with pytest.raises(SystemExit, match=r"^2$"):
        runner.main(SUMS, more)
    said = capsys.readouterr().err
    assert "was begun by other code: measures differ" in said
    assert "--force" in said
    assert storage.read_json(options.out / "results.json") == first
    forced, said = run(replace(more, force=True))
    assert forced["settings"]["forced"] == ["measures"]
    assert (
        forced["settings"]["versions"]["code"] != first["settings"]["versions"]["code"]
    )
    assert "1 of 2 were done before" in said
    again, _ = run(more)  # the parts are still of two kinds of code
    assert again["settings"]["forced"] == ["measures"]


# Parts of one's own, by the command


def write(tmp_path, monkeypatch):
    (tmp_path / "own_parts.py").write_text(
        "from functools import partial\n"
        "from jatlas.charts import CNN, from_module\n"
        "def make(shape, num_classes):\n"
        "    return from_module(partial(CNN, shape, num_classes, num_features=10))\n"
        "def product(x, anchors):\n"
        "    return x @ anchors.T\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (600, 8, 8)).astype(np.uint8)
    labels = np.arange(600) % 10
    np.savez(tmp_path / "own.npz", images=images, labels=labels)


def test_a_run_takes_charts_similarity_and_data_of_ones_own(tmp_path, monkeypatch):
    write(tmp_path, monkeypatch)
    words = ["--dataset", str(tmp_path / "own.npz"), "--charts", "own_parts:make"]
    words += ["--similarity", "own_parts:product", "--settings", "T2", "--seeds", "0"]
    words += ["--num-anchors", "8", "--out", str(tmp_path / "out")]
    made = runner.plan(PAPER, runner.parse(PAPER, words))
    assert made.settings["options"]["dataset"] == "own"
    assert made.settings["options"]["charts"] == ["own_parts:make"]
    assert "a fifth of each class" in made.settings["notes"][0]
    assert [unit.name for unit in made.units] == ["C_T2_seed0"]
    assert made.bench.encoders["own_parts:make"].kind.title.endswith("own_parts:make")
    kept = storage.read_json(tmp_path / "out" / "settings.json")
    assert "own_parts" in kept["modules"]
    assert chart_kinds.kind("own_parts:make").epochs == 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--dataset nowhere/mine.npz", "there is no file nowhere/mine.npz"),
        ("--charts nowhere:make", "--charts nowhere:make: the module nowhere cannot"),
        (
            "--charts own_parts:none",
            "--charts own_parts:none: the module own_parts",
        ),
        ("--charts own_parts:product", "--charts own_parts:product, called with ("),
        ("--similarity own_parts:make", "--similarity own_parts:make fails: "),
        ("--similarity sine", "--similarity has the unknown 'sine'"),
    ],
)
def test_a_part_of_ones_own_that_is_wrong_is_said_in_a_line(
    tmp_path, monkeypatch, capsys, words, message
):
    write(tmp_path, monkeypatch)
    with pytest.raises(SystemExit, match=r"^2$"):
        runner.command(PAPER, [*words.split(), "--out", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert said.startswith(f"error: {message}")
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()
