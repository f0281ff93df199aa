"""Other numbers and choices of anchors, with the charts trained once."""

import math

import pytest

from experiments.anchors import measure
from experiments.anchors.measure import METHODS, Sweep
from experiments.data import storage
from experiments.encoders import chart_kinds
from experiments.runs import config, runner
from jatlas.charts import training

NUMBERS = (4, 8)


@pytest.fixture
def small(tiny, chart, monkeypatch, tmp_path):
    kind = chart_kinds.KINDS["cnn"]._replace(make=lambda shape, num_classes: chart)
    monkeypatch.setitem(chart_kinds.KINDS, "cnn", kind)
    monkeypatch.setattr(runner, "load", lambda name, **where: tiny)
    monkeypatch.setattr(runner, "keep_compiled", lambda: None)
    monkeypatch.setattr(config, "hash_of_code", lambda: "0" * 16)
    return Sweep(
        dataset="tiny",
        scenario=("A",),
        settings=("S4_N2",),
        seeds=(0,),
        numbers=NUMBERS,
        max_epochs=1,
        out=tmp_path / "out",
    )


def test_a_sweep_has_every_number_and_choice_and_goes_on(small, capsys, monkeypatch):
    measure.main(small)
    rows = storage.read_json(small.out / "sweep.json")["rows"]
    cells = {(row["anchors"], row["choice"]) for row in rows}
    assert cells == {(n, method) for n in NUMBERS for method in METHODS}
    accuracies = [row for row in rows if row["metric"] == "accuracy"]
    assert len(accuracies) == 2 * len(cells)
    assert all(0 <= row["value"] <= 1 for row in accuracies)
    aligned = [row["value"] for row in rows if row["metric"] == "cka"]
    assert len(set(aligned)) == 2 * len(cells)  # other anchors, another space
    assert all(0 < value <= 1 for value in aligned)
    text = (small.out / "sweep.md").read_text()
    first = next(r["value"] for r in accuracies if r["protocol"] == "oracle")
    assert f"| 4 | uniform | {first:.3f} |" in text
    assert text in capsys.readouterr().out
    assert not list(small.out.glob("parts/*chart*"))

    def refuse(*args, **others):
        raise AssertionError("trained again")

    monkeypatch.setattr(training, "fit_charts", refuse)
    measure.main(small)
    assert storage.read_json(small.out / "sweep.json")["rows"] == rows


def test_a_mean_over_seeds_has_its_deviation():
    cell = {"scenario": "A", "setting": "S4_N2", "anchors": 4, "choice": "uniform"}
    rows = [
        cell | {"protocol": "blind", "metric": "accuracy", "seed": k, "value": value}
        for k, value in enumerate((0.5, 0.7))
    ]
    line = next(x for x in measure.table(rows).splitlines() if x.startswith("| 4"))
    assert f"| 0.600 ± {math.sqrt(0.02):.3f} |" in line
    assert line.count("n/a") == 3


@pytest.mark.parametrize("numbers", [(), (0, 4)])
def test_no_anchors_are_refused(numbers):
    with pytest.raises(SystemExit, match="--numbers must be 1 or more"):
        measure.main(Sweep(numbers=numbers))


def test_twice_as_many_are_held_out_as_are_ever_taken():
    assert measure.options(Sweep()).held_out == 1024
