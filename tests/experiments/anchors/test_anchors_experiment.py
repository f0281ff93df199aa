"""Other numbers and choices of anchors, with the charts trained once."""

import math

import pytest

from experiments.anchors.experiment import EXPERIMENT, table
from experiments.anchors.measure import AnchorOptions, resolve
from experiments.data import storage
from experiments.encoders import chart_kinds
from experiments.runs import benches, provenance, runner
from experiments.runs.deals import CHOICES
from jatlas.charts import training

NUMBERS = (4, 8)


@pytest.fixture
def small(tiny, chart, monkeypatch, tmp_path):
    kind = chart_kinds.KINDS["cnn"]._replace(make=lambda shape, num_classes: chart)
    monkeypatch.setitem(chart_kinds.KINDS, "cnn", kind)
    monkeypatch.setattr(benches, "load", lambda name, **where: tiny)
    monkeypatch.setattr(runner, "keep_compiled", lambda: None)
    monkeypatch.setattr(provenance, "code", lambda *functions: {"a.module": "0"})
    return AnchorOptions(
        dataset="tiny",
        scenario=("A",),
        settings=("S4_N2",),
        seeds=(0,),
        num_anchors=NUMBERS,
        max_epochs=1,
        out=tmp_path / "out",
    )


@pytest.mark.slow
def test_a_sweep_has_every_number_and_choice_and_goes_on(small, capsys, monkeypatch):
    runner.main(EXPERIMENT, small)
    rows = storage.read_json(small.out / "results.json")["rows"]
    cells = {(row["anchors"], row["choice"]) for row in rows}
    assert cells == {(n, method) for n in NUMBERS for method in CHOICES}
    accuracies = [row for row in rows if row["metric"] == "accuracy"]
    assert len(accuracies) == 2 * len(cells)
    assert all(0 <= row["value"] <= 1 for row in accuracies)
    aligned = [row["value"] for row in rows if row["metric"] == "cka"]
    assert len(set(aligned)) == 2 * len(cells)  # other anchors, another space
    assert all(0 < value <= 1 for value in aligned)
    text = (small.out / "table.md").read_text()
    first = next(r["value"] for r in accuracies if r["protocol"] == "oracle")
    assert f"| 4 | uniform | {first:.3f} |" in text
    assert text in capsys.readouterr().out
    assert not list(small.out.glob("parts/*chart*"))

    def refuse(*args, **others):
        raise AssertionError("trained again")

    monkeypatch.setattr(training, "fit_charts", refuse)
    runner.main(EXPERIMENT, small)
    assert storage.read_json(small.out / "results.json")["rows"] == rows


def test_a_mean_over_seeds_has_its_deviation():
    cell = {"scenario": "A", "setting": "S4_N2", "anchors": 4, "choice": "uniform"}
    rows = [
        cell | {"protocol": "blind", "metric": "accuracy", "seed": k, "value": value}
        for k, value in enumerate((0.5, 0.7))
    ]
    line = next(x for x in table({"rows": rows}).splitlines() if x.startswith("| 4"))
    assert f"| 0.600 ± {math.sqrt(0.02):.3f} |" in line
    assert line.count("n/a") == 3


@pytest.mark.parametrize("numbers", [(), (0, 4)])
def test_no_anchors_are_refused(numbers, capsys):
    with pytest.raises(SystemExit, match=r"^2$"):
        runner.main(EXPERIMENT, AnchorOptions(num_anchors=numbers))
    said = capsys.readouterr().err
    assert said.startswith("error: --num-anchors ")
    assert "one or more" in said or "must be 1 or more, got 0" in said


def test_twice_as_many_are_held_out_as_are_ever_taken():
    assert resolve(EXPERIMENT.options).held_out == 1024


def test_the_numbers_are_a_list_and_the_samples_held_out_are_no_flag(capsys):
    found = runner.parse(EXPERIMENT, ["--num-anchors", "4", "8", "--settings", "T2"])
    assert (found.num_anchors, found.settings) == ((4, 8), ("T2",))
    with pytest.raises(SystemExit, match=r"^2$"):
        runner.parse(EXPERIMENT, ["--num-held-out", "4"])
    assert "Unrecognized options: --num-held-out" in capsys.readouterr().err
