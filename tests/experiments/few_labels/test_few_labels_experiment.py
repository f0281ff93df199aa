"""The command: every space is measured, kept, gone on with, and refused in a line."""

from dataclasses import replace

import numpy as np
import pytest
from linear_chart import LINEAR, WIDTH

from experiments.data import storage
from experiments.encoders import chart_kinds
from experiments.few_labels import measure as few_labels_measure
from experiments.few_labels import methods, tables
from experiments.few_labels.classifiers import CLASSIFIERS
from experiments.few_labels.experiment import EXPERIMENT
from experiments.few_labels.measure import FewLabelsOptions, labeled_samples, scored
from experiments.few_labels.methods import METHODS
from experiments.runs import benches, deals, provenance, runner
from experiments.runs.benches import Bench
from experiments.runs.settings import parse
from experiments.runs.terminal import silent
from jatlas.charts import training


@pytest.fixture
def small(tiny, monkeypatch, tmp_path):
    kind = chart_kinds.KINDS["cnn"]._replace(make=lambda *of: LINEAR)
    monkeypatch.setitem(chart_kinds.KINDS, "cnn", kind)
    monkeypatch.setattr(benches, "load", lambda name, **where: tiny)
    monkeypatch.setattr(runner, "keep_compiled", lambda: None)
    monkeypatch.setattr(provenance, "code", lambda *functions: {"a.module": "0"})
    return FewLabelsOptions(
        dataset="tiny",
        settings=("T2",),
        seeds=(0,),
        labels=(1, 5),
        draws=2,
        num_anchors=WIDTH,
        num_held_out=40,
        max_epochs=1,
        out=tmp_path / "out",
    )


@pytest.fixture
def drawn(tiny, small, monkeypatch):
    """A bench, and embeddings of random numbers in place of trained charts."""
    rng = np.random.default_rng(0)
    rows = np.float32(rng.normal(size=(5, tiny.labels.size, WIDTH)))
    monkeypatch.setattr(benches, "reference", lambda *args: rows[4])
    monkeypatch.setattr(
        benches,
        "charts",
        lambda bench, setting, seed, tasks, report: list(rows[: len(tasks.seen)]),
    )
    return Bench(small, tiny, {}, small.out)


def test_a_run_measures_every_space_and_goes_on(small, capsys, monkeypatch):
    runner.main(EXPERIMENT, small)
    written = storage.read_json(small.out / "results.json")
    rows = written["rows"]
    cells = [(r["method"], r["classifier"], r["labels"], r["draw"]) for r in rows]
    numbers = [(1, 0), (1, 1), (5, 0), (5, 1), (None, 0)]
    names = [*METHODS, "chart0", "chart1"]
    wanted = {(m, c, *n) for m in names for c in CLASSIFIERS for n in numbers}
    assert set(cells) == wanted
    assert len(cells) == len(wanted)
    assert all(0 <= r["value"] <= 1 for r in rows)
    assert {r["num_labeled"] for r in rows} == {10, 50, 400}
    widths = {r["method"]: r["width"] for r in rows}
    assert widths["concat"] == widths["concat_unit"] == 2 * WIDTH
    assert widths["pixels"] == 64
    same = {"mean", "atlas", "atlas_from_all", "white_nystroem", "consensus"}
    assert {widths[name] for name in same} == {WIDTH}
    text = (small.out / "table.md").read_text()
    assert text == tables.text(written)
    assert text in capsys.readouterr().out
    assert (small.out / "labels.png").exists()
    assert not list(small.out.glob("parts/*chart*"))

    def refuse(*args, **others):
        raise AssertionError("trained again")

    monkeypatch.setattr(training, "fit_charts", refuse)
    runner.main(EXPERIMENT, small)
    assert storage.read_json(small.out / "results.json")["rows"] == rows


def test_spaces_are_fitted_without_labels(drawn, monkeypatch):
    """With other labels of the same counts everything but the tasks is the same."""
    cell = methods.embed(drawn, parse("T2"), 0, silent)
    before = {name: method.make(cell) for name, method in METHODS.items()}
    tasks, pool = deals.deal(drawn, parse("T2"), 0)
    monkeypatch.setattr(deals, "deal", lambda *args: (tasks, pool))
    turned = drawn.dataset._replace(labels=drawn.dataset.labels[::-1])
    other = methods.embed(drawn._replace(dataset=turned), parse("T2"), 0, silent)
    for name, method in METHODS.items():
        np.testing.assert_array_equal(method.make(other), before[name])


def test_spaces_are_not_fitted_on_test_samples(drawn):
    cell = methods.embed(drawn, parse("S4_N2"), 0, silent)
    assert cell.everywhere.all()
    assert cell.everywhere.shape == (3, 600)
    np.testing.assert_array_equal(cell.train, ~drawn.dataset.test)
    assert cell.train[cell.landmarks].all()
    other = [np.where(cell.train[:, None], x, 7 * x + 1) for x in cell.charts]
    for method in METHODS.values():
        made, again = method.make(cell), method.make(cell._replace(charts=other))
        np.testing.assert_allclose(made[cell.train], again[cell.train], atol=1e-5)


def test_the_plain_atlas_is_the_mean_of_cosines(drawn):
    cell = methods.embed(drawn, parse("T2"), 0, silent)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in cell.charts]
    for name, anchors in (
        ("atlas", cell.anchors),
        ("atlas_from_all", cell.landmarks),
    ):
        wanted = np.mean([x @ x[anchors].T for x in unit], axis=0)
        np.testing.assert_allclose(METHODS[name].make(cell), wanted, atol=1e-5)
    _, pool = deals.deal(drawn, parse("T2"), 0)
    assert pool[cell.anchors].all()


def test_labeled_samples_are_of_the_training_split(drawn):
    found = labeled_samples(drawn, 0)
    dataset = drawn.dataset
    assert {n: x.shape for n, x in found.items()} == {
        1: (2, 10), 5: (2, 50), None: (1, 400),
    }  # fmt: skip
    for samples in found.values():
        assert not dataset.test[samples].any()
    np.testing.assert_array_equal(np.sort(found[None][0]), np.arange(400))


def test_a_space_that_knows_the_class_is_perfect_and_noise_is_chance(drawn):
    dataset, chosen = drawn.dataset, labeled_samples(drawn, 0)
    perfect = scored(dataset, np.eye(10, dtype=np.float32)[dataset.labels], chosen)
    assert {row["value"] for row in perfect} == {1.0}
    noise = np.float32(np.random.default_rng(0).normal(size=(600, WIDTH)))
    values = [row["value"] for row in scored(dataset, noise, chosen)]
    assert len(values) == 2 * 5
    assert np.mean(values) == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": ()}, "--labels takes one or more"),
        ({"labels": (0, 3)}, "--labels takes one or more"),
        ({"labels": (3, 3)}, "--labels takes one or more"),
        ({"labels": (1, 41)}, "--labels asks for 41 labels a class, and a has 40"),
        ({"draws": 0}, "--draws must be 1 or more, got 0"),
        ({"charts": ("cnn", "resnet")}, "--charts takes one kind here"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(small, changed, message, capsys):
    with pytest.raises(SystemExit, match=r"^2$"):
        runner.main(EXPERIMENT, replace(small, **changed))
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert not small.out.exists()


def test_all_that_numbers_depend_on_is_part_of_a_run():
    found = provenance.code(EXPERIMENT.makers)
    assert {"methods", "classifiers", "draws", "measure"} <= {
        name.rpartition(".")[2] for name in found if "few_labels" in name
    }
    assert few_labels_measure.measure is EXPERIMENT.measure
