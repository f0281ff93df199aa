"""The command: refused in a line, gone on with after a kill, and written whole."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from blind_cells import WIDTH, D, N, made_up, synthetic

from experiments.blind import cell, methods, present, scores, trust
from experiments.blind import measure as blind_measure
from experiments.blind.experiment import EXPERIMENT
from experiments.blind.measure import BlindOptions
from experiments.blind.report import tables
from experiments.data import storage
from experiments.encoders import chart_kinds
from experiments.plots import saving
from experiments.runs import benches, deals, provenance, runner
from experiments.runs.benches import Bench
from experiments.runs.settings import parse
from jatlas.charts import training

FILES = {"results.json", "table.md", "width.png", "present.png", "risk.png"}


@pytest.fixture
def small(tiny, chart, monkeypatch, tmp_path):
    kind = chart_kinds.KINDS["cnn"]._replace(make=lambda shape, num_classes: chart)
    monkeypatch.setitem(chart_kinds.KINDS, "cnn", kind)
    monkeypatch.setattr(benches, "load", lambda name, **where: tiny)
    monkeypatch.setattr(runner, "keep_compiled", lambda: None)
    monkeypatch.setattr(provenance, "code", lambda *functions: {"a.module": "0"})

    def refuse(*args, **others):
        raise AssertionError("trained")

    monkeypatch.setattr(training, "fit_charts", refuse)
    return BlindOptions(
        dataset="tiny",
        settings=("S4_N2", "T2"),
        seeds=(0, 1),
        num_anchors=WIDTH,
        widths=(4,),
        num_held_out=40,
        out=tmp_path / "out",
    )


@pytest.fixture
def made(monkeypatch):
    """What a unit measures is made up, and which were embedded is remembered."""
    embedded = []

    def embed(bench, setting, seed, report):
        report("embedding", 0.5)
        embedded.append((setting.name, seed))
        num_charts = 3 if setting.scenario == "A" else 2
        for m in range(num_charts):
            name = f"{setting.scenario}_{setting.name}_seed{seed}_chart{m}.npz"
            storage.write_arrays(bench.folder / name, {"embeddings": np.zeros(2)})
        return SimpleNamespace(charts=[None] * num_charts)

    def of(what):
        def rows(own, *args):
            scenario = "A" if len(own.charts) == 3 else "C"
            name = {"A": "S4_N2", "C": "T2"}[scenario]
            found = made_up(((scenario, name),), seeds=(embedded[-1][1],))
            named = ("of", "scenario", "setting", "seed")
            return [
                {name: v for name, v in row.items() if name not in named}
                for row in found
                if row["of"] == what
            ]

        return rows

    monkeypatch.setattr(cell, "embed", embed)
    monkeypatch.setattr(blind_measure, "accuracies", of("accuracy"))
    monkeypatch.setattr(present, "measured", of("present"))
    monkeypatch.setattr(trust, "measured", lambda *args: of("trust")(*args)[0])
    return embedded


def test_a_run_writes_its_rows_text_and_pictures(small, made, capsys):
    runner.main(EXPERIMENT, small)
    assert made == [("S4_N2", 0), ("T2", 0), ("S4_N2", 1), ("T2", 1)]
    files = {file.name for file in small.out.iterdir() if file.is_file()}
    assert files == FILES | {"settings.json"}
    written = storage.read_json(small.out / "results.json")
    settings, rows = written["settings"], written["rows"]
    assert settings["options"]["seeds"] == [0, 1]
    assert settings["options"]["widths"] == [4]
    assert {"jax", "numpy", "code", "data"} <= settings["versions"].keys()
    assert {(r["setting"], r["seed"]) for r in rows} == set(made)
    text = (small.out / "table.md").read_text()
    assert text == tables.text(written)
    assert text in capsys.readouterr().out
    assert not list(small.out.glob("parts/*chart*"))  # they have been measured


def test_a_run_that_was_killed_goes_on_where_it_was(small, made, capsys, monkeypatch):
    monkeypatch.setattr(saving, "save", lambda figure, path: None)  # takes long
    embed = cell.embed

    def killed(bench, setting, seed, report):
        if len(made) == 2:
            raise KeyboardInterrupt
        return embed(bench, setting, seed, report)

    monkeypatch.setattr(cell, "embed", killed)
    with pytest.raises(SystemExit) as end:
        runner.main(EXPERIMENT, small)
    assert end.value.code == 130
    assert "the same command goes on from here" in capsys.readouterr().out
    assert not FILES & {file.name for file in small.out.iterdir()}

    monkeypatch.setattr(cell, "embed", embed)
    runner.main(EXPERIMENT, small)
    assert "2 of 4 were done before" in capsys.readouterr().out
    assert made == [("S4_N2", 0), ("T2", 0), ("S4_N2", 1), ("T2", 1)]
    rows = storage.read_json(small.out / "results.json")["rows"]
    other = replace(small, out=small.out.parent / "other")
    runner.main(EXPERIMENT, other)
    assert storage.read_json(other.out / "results.json")["rows"] == rows

    runner.main(EXPERIMENT, replace(small, seeds=(1,)))  # none is missing
    assert len(made) == 8
    rows = storage.read_json(small.out / "results.json")["rows"]
    assert {r["seed"] for r in rows} == {1}


@pytest.mark.usefixtures("made")
def test_a_folder_of_other_widths_is_not_gone_on_with(small, monkeypatch, capsys):
    monkeypatch.setattr(saving, "save", lambda figure, path: None)
    runner.main(EXPERIMENT, replace(small, seeds=(0,)))
    with pytest.raises(SystemExit, match=r"^2$"):
        runner.main(EXPERIMENT, replace(small, seeds=(0,), widths=(5,)))
    assert "other options: options.widths is" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"widths": (WIDTH,)}, "--num-anchors and --widths must be different"),
        ({"widths": (1,)}, "2 or more"),
        ({"charts": ("cnn", "resnet")}, "--charts takes one kind .*got cnn resnet"),
        ({"num_held_out": 3}, "--num-held-out 3 leaves too few"),
        ({"settings": ("S3",)}, "unknown setting 'S3'"),
        ({"seeds": ()}, "--seeds takes one or more"),
        # 40 of each class, a tenth of them for validation, 4 classes shared.
        (
            {"widths": (200,), "num_held_out": 200},
            r"S4_N2, seed 0: 1\d\d samples .* takes 200",
        ),
        # Charts are 10 wide; 2 of them 20.
        ({"settings": ("T2",), "num_held_out": 19}, "19 samples may be .* takes 20"),
        ({"settings": ("T3",), "num_held_out": 29}, "29 samples may be .* takes 30"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line_before_anything_is_trained(
    small, changed, message, capsys
):
    with pytest.raises(SystemExit, match=r"^2$"):
        runner.main(EXPERIMENT, replace(small, **changed))
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert re.search(message, said)
    assert said.count("\n") == 1
    assert not small.out.exists()  # another run may take it


def test_a_pool_that_is_just_large_enough_will_do(small, made, monkeypatch):
    monkeypatch.setattr(saving, "save", lambda figure, path: None)
    runner.main(
        EXPERIMENT, replace(small, settings=("T2",), seeds=(0,), num_held_out=20)
    )
    assert made == [("T2", 0)]


@pytest.fixture
def quick(monkeypatch):
    """Of each space no more than its name is measured."""
    own, shown = synthetic("C"), []

    def named(name, method):
        def make(cell, width, key):
            assert cell is own
            rows = np.zeros((N, D if name == "mean" else width), np.float32)
            shown.append((name, rows))
            return rows

        return method._replace(make=make)

    made = {name: named(name, method) for name, method in methods.METHODS.items()}
    monkeypatch.setattr(blind_measure, "METHODS", made)
    monkeypatch.setattr(
        scores, "scored", lambda cell, rows, key: [{"part": "test", "value": id(rows)}]
    )
    monkeypatch.setattr(cell, "embed", lambda *args: own)
    monkeypatch.setattr(present, "measured", lambda *args: [{"value": 0.25}])
    monkeypatch.setattr(trust, "measured", lambda *args: {"temperature": 1.5})
    return own, shown


def test_accuracies_are_of_every_method_width_and_chart(quick):
    own, shown = quick
    told = []
    rows = blind_measure.accuracies(
        own,
        BlindOptions(num_anchors=WIDTH, widths=(4, 6)),
        None,
        lambda *what: told.append(what),
    )
    wide = {name for name, method in methods.METHODS.items() if method.wide}
    width = dict.fromkeys(methods.METHODS, WIDTH) | {"mean": D}
    expected = {(name, "at", width[name]) for name in methods.METHODS}
    expected |= {(name, "full", 2 * D) for name in wide}
    expected |= {(name, "curve", w) for name in methods.CURVES for w in (4, 6)}
    alone = {("chart0", "at", D), ("chart1", "at", D)}
    assert {(r["method"], r["role"], r["width"]) for r in rows} == expected | alone
    assert len(rows) == len(expected) + 2
    spaces_of = [*shown, *((f"chart{m}", x) for m, x in enumerate(own.charts))]
    assert [(r["method"], r["value"]) for r in rows] == [
        (name, id(x)) for name, x in spaces_of
    ]
    assert [share for _, share in told] == sorted(share for _, share in told)
    assert len(told) == len(expected)


@pytest.mark.usefixtures("quick")
def test_a_unit_is_measured_once_and_then_read(tmp_path, monkeypatch):
    options, told = BlindOptions(num_anchors=WIDTH, widths=(4,)), []
    bench = Bench(options, None, {}, tmp_path / "parts")
    run = runner.Run(EXPERIMENT, options, tmp_path, {}, bench, [])

    def make():
        unit = deals.unit(parse("T2"), 3)
        return runner.measure(run, unit, lambda *what: told.append(what))

    rows = make()
    assert {(r["scenario"], r["setting"], r["seed"]) for r in rows} == {("C", "T2", 3)}
    assert {r["of"] for r in rows} == {"accuracy", "present", "trust"}
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert 0 <= shares[0] <= shares[-1] <= 1
    monkeypatch.setattr(cell, "embed", None)
    assert make() == rows
    assert len(told) == len(shares)


@pytest.mark.slow
def test_on_real_images_the_command_runs_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "keep_compiled", lambda: None)
    told = replace(
        EXPERIMENT.options,
        dataset="digits",
        settings=("S4_N2",),
        seeds=(0,),
        num_anchors=32,
        widths=(8,),
        out=tmp_path / "out",
    )
    runner.main(EXPERIMENT, told)
    assert {file.name for file in told.out.iterdir()} >= FILES
    rows = storage.read_json(told.out / "results.json")["rows"]
    right = {
        r["method"]: r["value"]
        for r in rows
        if (r.get("role"), r.get("probe"), r.get("part")) == ("at", "probe", "test")
    }
    assert right["end_to_end"] > 0.9
    assert right["evidence"] > 0.85
    alone = [right[f"chart{m}"] for m in range(3)]
    assert right["evidence"] > max(alone)
    (doubts,) = [r for r in rows if r["of"] == "trust"]
    assert doubts["errors_found"]["probability"] > 0.7
    assert doubts["risk"]["probability"][9] < doubts["risk"]["probability"][-1]
