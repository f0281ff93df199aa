"""The main job: what it refuses, what it writes, and that a kill costs little."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from experiments.data import storage
from experiments.encoders import chart_kinds
from experiments.measures.protocols import PROTOCOLS
from experiments.paper.experiment import EXPERIMENT
from experiments.paper.plots import figures, gallery, planes
from experiments.paper.published_tables import PaperOptions
from experiments.runs import benches, provenance, runner
from experiments.runs.rows import of_setting, select
from jatlas.charts import training
from jatlas.files.formats import whole

ROOT = Path(runner.__file__).parents[2]
WIDTH = 10  # of the embeddings, and so of the atlas
UNITS = ("A_S4_N2_seed0", "C_T2_seed0", "A_S4_N2_seed1", "C_T2_seed1")
REFERENCES = ("reference_seed0.npz", "reference_seed1.npz")
OPTIONS = PaperOptions(
    dataset="tiny",
    scenario=("A", "C"),
    settings=("S4_N2", "T2"),
    seeds=(0, 1),
    num_anchors=WIDTH,
    max_epochs=1,
    probe_epochs=2,
)


@pytest.fixture(scope="module")
def small(tiny, chart):
    """The main job knows a data set "tiny" and two settings; the charts are narrow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benches, "load", lambda name, **where: {"tiny": tiny}[name])
        kind = chart_kinds.KINDS["cnn"]._replace(make=lambda shape, num_classes: chart)
        patch.setitem(chart_kinds.KINDS, "cnn", kind)
        # All kinds of pictures are drawn in the tests of the gallery.
        few = {kind: gallery.KINDS[kind] for kind in ("spaces", "tsne")}
        patch.setattr(gallery, "KINDS", few)
        patch.setattr(figures, "MOST_TSNE", 20)
        patch.setattr(planes, "_ITERATIONS", 250)
        # Else a file that is saved while the tests run makes folders another's.
        patch.setattr(provenance, "code", lambda *functions: {"a.module": "0" * 16})
        yield


def plan(options):
    return runner.plan(EXPERIMENT, options)


def start(folder, **changes):
    """A run from the start, as the command makes it; what it says on the terminal."""
    console = Console(file=io.StringIO(), width=120, soft_wrap=True)
    runner.execute(plan(replace(OPTIONS, out=folder, **changes)), console)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def finished(small, tmp_path_factory):
    """The folder of a run that nothing has interrupted, and what it said."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    return folder, start(folder)


def contents(folder):
    """Every file but the parts: its name and its bytes."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def accuracies(folder, setting, protocol):
    """Of the atlas, by the results, seed after seed."""
    return [
        row["value"]
        for row in storage.read_json(folder / "results.json")["rows"]
        if (row["setting"], row["protocol"]) == (setting, protocol)
        and (row["space"], row["metric"]) == ("merged", "accuracy")
    ]


# What is refused


def test_an_unknown_data_set_is_refused_by_naming_the_known(tmp_path):
    options = PaperOptions(dataset="nope", out=tmp_path / "out")
    with pytest.raises(
        ValueError,
        match="unknown data set 'nope'; known are 'digits', 'fashion_mnist_7k'",
    ):
        plan(options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        ("A", r"399 anchors from a pool of (\d+) .* Give --num-anchors \1 or less"),
        ("C", "Of 400 training samples 399 are held out"),
    ],
)
def test_more_anchors_than_the_pool_has_are_refused(small, tmp_path, scenario, message):
    options = replace(
        OPTIONS,
        scenario=(scenario,),
        settings=(),
        num_anchors=399,
        out=tmp_path / "out",
    )
    with pytest.raises(ValueError, match=message):
        plan(options)
    assert not list(tmp_path.iterdir())


def test_options_that_make_no_run_are_refused_before_the_data_are_read(
    monkeypatch, tmp_path
):
    def refuse(name, **where):
        raise AssertionError("read")

    monkeypatch.setattr(benches, "load", refuse)
    with pytest.raises(ValueError, match="--patience must be 1 or more, got 0"):
        plan(replace(OPTIONS, patience=0, out=tmp_path / "out"))
    with pytest.raises(ValueError, match="unknown setting 'B'"):
        plan(replace(OPTIONS, settings=("S4_N2", "B"), out=tmp_path / "out"))
    with pytest.raises(ValueError, match=r"--scenario C leaves nothing .*\['S4_N2'\]"):
        plan(replace(OPTIONS, scenario=("C",), out=tmp_path / "out"))
    assert not list(tmp_path.iterdir())


def test_a_negative_seed_is_refused(small, tmp_path):
    with pytest.raises(ValueError, match=r"--seeds must be 0 or more, got \(-1,\)"):
        plan(replace(OPTIONS, seeds=(-1,), out=tmp_path / "out"))
    assert not list(tmp_path.iterdir())


def test_a_folder_of_other_options_is_refused_and_left_as_it_is(finished):
    folder, _ = finished
    before = contents(folder)
    with pytest.raises(
        ValueError,
        match=r"to other options: options\.probe_patience is 10 there and 3 here",
    ):
        plan(replace(OPTIONS, probe_patience=3, out=folder))
    assert contents(folder) == before


def test_in_a_folder_the_cells_that_are_done_stay_done_whichever_are_asked_for(
    finished,
):
    folder, _ = finished
    before = contents(folder)
    fewer = plan(replace(OPTIONS, seeds=(1,), out=folder))
    more = plan(replace(OPTIONS, seeds=(1, 2), out=folder))
    done = [runner.is_done(more, unit) for unit in more.units]
    assert all(runner.is_done(fewer, unit) for unit in fewer.units)
    assert done == [unit.of[1] == 1 for unit in more.units]
    assert contents(folder) == before


def test_a_folder_with_other_files_is_refused(small, tmp_path):
    (tmp_path / "thesis.tex").write_text("...")
    with pytest.raises(ValueError, match="has files in it that are not of a run"):
        plan(replace(OPTIONS, out=tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_the_command_says_what_is_wrong_in_a_line_and_fails(tmp_path):
    command = [sys.executable, "-m", "experiments", "--dataset", "nope"]
    ended = subprocess.run(
        [*command, "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr == (
        "error: unknown data set 'nope'; known are 'digits', 'fashion_mnist_7k', "
        "'tiny_imagenet', and the image classification sets of TensorFlow Datasets by "
        "their names there, or a file FOLDER/MINE.npz.\n"
    )
    assert not list(tmp_path.iterdir())


@pytest.fixture
def command(monkeypatch, small, tmp_path):
    """What the command does; what it executes may be another."""
    options = PaperOptions(
        dataset="tiny", num_anchors=10, max_epochs=1, out=tmp_path / "out"
    )
    monkeypatch.setattr(runner, "keep_compiled", lambda: None)

    def call(execute=runner.execute):
        monkeypatch.setattr(runner, "execute", execute)
        runner.main(EXPERIMENT, options)

    return call


def raising(error):
    def execute(run, console):
        raise error

    return execute


def test_a_file_in_the_way_is_said_in_a_line_too(command, tmp_path, capsys):
    file = tmp_path / "out"
    file.write_text("...")
    with pytest.raises(SystemExit) as ended:
        command()
    assert ended.value.code == 2
    assert re.fullmatch("error: .*Not a directory.*\n", capsys.readouterr().err)
    assert file.read_text() == "..."


def test_interrupted_the_command_says_how_to_go_on(command, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        command(raising(KeyboardInterrupt()))
    assert ended.value.code == 130  # as a shell has it of an interrupt
    assert capsys.readouterr().out == "stopped; the same command goes on from here\n"
    assert (tmp_path / "out" / "settings.json").exists()


def test_a_disk_that_is_full_is_said_in_a_line_and_how_to_go_on(command, capsys):
    with pytest.raises(SystemExit) as ended:
        command(raising(OSError(28, "No space left on device")))
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "error: [Errno 28] No space left on device; the same command goes on once that "
        "is fixed\n"
    )


def test_a_fault_in_the_code_is_not_passed_off_as_the_user_s(command):
    with pytest.raises(TypeError, match="a fault"):
        command(raising(TypeError("a fault")))


def test_finished_the_command_says_where_the_table_is(command, tmp_path, capsys):
    command(lambda run, console: console.print("main"))
    first, last = capsys.readouterr().out.splitlines()
    assert first == "main"
    table = re.escape(str(tmp_path / "out" / "table.md"))
    what = rf"\d+ s, \d+\.\d GB of memory at most\. The table is in {table}, the"
    assert re.match(what, last)


def test_the_seconds_of_a_command_are_those_since_its_process_began(
    monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(runner, "execute", lambda run, console: None)
    run = runner.Run(EXPERIMENT, OPTIONS, tmp_path, {}, None, [])
    monkeypatch.setattr(runner, "plan", lambda *given: run)
    monkeypatch.setattr(runner, "parse", lambda *given: OPTIONS)
    monkeypatch.setattr(runner, "BEGAN", time.perf_counter() - 1000)
    runner.command(EXPERIMENT)
    assert 1000 <= int(capsys.readouterr().out.split(" s, ")[0]) < 1500


def test_help_says_what_every_option_is(capsys):
    with pytest.raises(SystemExit) as ended:
        runner.parse(EXPERIMENT, ["--help"], "python -m experiments")
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "usage: python -m experiments" in text
    for field in fields(PaperOptions):
        assert f"--{field.name.replace('_', '-')} " in text
    for words in ("{A,B,C}", "fashion_mnist_7k", "digits", "(default: 128)"):
        assert words in text
    assert max(map(len, text.splitlines())) < 400


# What is written


def test_results_are_the_settings_and_the_rows_of_all_units(finished, tiny):
    folder, _ = finished
    results = json.loads((folder / "results.json").read_text())
    assert results.keys() == {"settings", "rows", "units"}
    names = {"experiment", "options", "versions", "device", "notes"}
    assert results["settings"].keys() == names
    described = runner.describe(EXPERIMENT, OPTIONS, tiny)
    assert results["settings"] | {"modules": {"a.module": "0" * 16}} == described
    kinds = {
        "scenario": str, "setting": str, "protocol": str, "space": str, "metric": str,
        "seed": int, "value": float,
    }  # fmt: skip
    for row in results["rows"]:
        assert {name: type(value) for name, value in row.items()} == kinds
    found = Counter((row["scenario"], row["setting"]) for row in results["rows"])
    assert found == {("A", "S4_N2"): 2 * 473, ("C", "T2"): 2 * 196}
    parts = [storage.read_json(folder / "parts" / f"{name}.json") for name in UNITS]
    assert results["rows"] == [row for part in parts for row in part["rows"]]


def test_the_readme_lists_every_metric_that_a_run_writes(finished):
    folder, _ = finished
    page = (ROOT / "experiments/paper/README.md").read_text()
    (table,) = re.findall(r"^\| `metric` \|.*\n\|---\|---\|\n((?:\|.*\n)+)", page, re.M)
    cells = [line.split("|")[1] for line in table.splitlines()]
    listed = re.findall(r"`(\w+)`", " ".join(cells))
    rows = storage.read_json(folder / "results.json")["rows"]
    assert sorted(listed) == sorted({row["metric"] for row in rows})


def test_the_table_has_oracle_and_blind_side_by_side(finished):
    folder, _ = finished
    text = (folder / "table.md").read_text()
    assert text.startswith("# jatlas on tiny")
    _, summary, *sections, trained, facts = text.split("\n## ")
    assert summary.startswith("Summary\n")
    assert trained.startswith("How the charts trained\n")
    assert facts.startswith("Direction facts\n")
    assert len(sections) == 2
    lines = [line for line in summary.splitlines() if line.startswith("| ")]
    assert [line.split(": ")[0] for line in lines[2:]] == ["| A S4_N2", "| C T2"]
    for section in sections:
        setting = re.match(r"[AC], (\w+): ", section)[1]
        header, line = (
            next(line for line in section.splitlines() if words in line).split(" | ")
            for words in ("accuracy, oracle | accuracy, blind", "`merged`")
        )
        for protocol in PROTOCOLS:
            values = accuracies(folder, setting, protocol)
            cell = line[header.index(f"accuracy, {protocol}")]
            assert cell == f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


def test_the_pictures_are_of_every_setting(finished):
    folder, _ = finished
    pictures = {file.name for file in folder.glob("*.png")}
    names = ("A_S4_N2", "C_T2")
    assert pictures == {"accuracy.png"} | {
        f"{kind}_{name}.png" for kind in gallery.KINDS for name in names
    }
    for name in pictures:
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


def test_nothing_else_is_left_in_the_folder(finished):
    folder, _ = finished
    others = {name for name in contents(folder) if not name.endswith(".png")}
    assert others == {"settings.json", "results.json", "table.md", "report.html"}
    assert {file.name for file in (folder / "parts").iterdir()} == {
        *REFERENCES,
        *(f"{name}{ending}" for name in UNITS for ending in (".json", ".npz")),
    }


def test_the_terminal_shows_the_accuracies_and_what_they_are(finished):
    folder, said = finished
    means = []
    for setting in ("S4_N2", "T2"):
        for protocol in PROTOCOLS:
            values = accuracies(folder, setting, protocol)
            means.append(f"{np.mean(values):.3f}")
    (line,) = [line for line in said.splitlines() if re.match(r"\W*atlas ", line)]
    assert re.findall(r"\d\.\d{3}", line) == means
    assert re.search(r"naive merge +\d\.\d{3} / +- ", said)  # under oracle alone
    assert re.search(r"oracle: .+ blind: ", said)


def test_how_the_charts_trained_stands_in_the_results_and_in_the_table(finished):
    folder, said = finished
    results = storage.read_json(folder / "results.json")
    assert [unit["unit"] for unit in results["units"]] == list(UNITS)
    for unit in results["units"]:
        charts = [record["chart"] for record in unit["training"]]
        assert charts == ["end-to-end", *range(1, 3 + unit["unit"].startswith("A"))]
        for record in unit["training"]:
            assert record["kind"] == "cnn"
            assert 1 <= record["best_epoch"] <= record["epochs"]
            assert record["epochs"] <= record["max_epochs"] == OPTIONS.max_epochs
            assert 0 < record["validation_loss"] < 5
    table = (folder / "table.md").read_text()
    assert "## How the charts trained" in table
    assert table.count("\n| C T2, chart ") == 2
    stopped = [
        record
        for unit in results["units"]
        for record in unit["training"]
        if record["best_epoch"] == record["max_epochs"]
        and (record["chart"] != "end-to-end" or unit["unit"].startswith("A"))
    ]
    assert stopped  # of so few epochs
    sentence = f"{len(stopped)} of 12 charts were stopped by their most epochs while"
    assert sentence in table
    assert sentence in said


def test_beside_the_accuracies_stands_on_how_many_rows_they_are(finished):
    folder, said = finished
    table = (folder / "table.md").read_text()
    (line,) = [x for x in table.splitlines() if x.startswith("| *rows scored")]
    rows = storage.read_json(folder / "results.json")["rows"]
    expected = []
    for setting in ("S4_N2", "T2"):
        (count,) = {
            row["value"]
            for row in rows
            if (row["setting"], row["space"]) == (setting, "original_abs")
            and row["metric"] == "scored_rows"
        }
        expected += 2 * [f"{count:.0f}"]
    assert [cell.strip() for cell in line.split("|")[2:-1]] == expected
    assert f"A S4_N2: An accuracy of one seed is on {expected[0]} rows, its " in said
    assert "The paper's cut in A scores 15 % of the test rows" in said


LEFT = r"; about \d+ s left"


def test_without_a_terminal_a_line_as_each_unit_begins_says_what_is_left(finished):
    _, said = finished
    first, *others = said.splitlines()[:8:2]
    assert first == "1 of 4: A S4_N2, seed 0"  # nothing to judge by yet
    names = ("C T2, seed 0", "A S4_N2, seed 1", "C T2, seed 1")
    for i, (name, line) in enumerate(zip(names, others, strict=True)):
        assert re.fullmatch(f"{i + 2} of 4: {name}{LEFT}", line)
    assert "done before" not in said


def test_the_accuracies_of_a_unit_stand_there_when_it_is_done(finished):
    folder, said = finished
    line = said.splitlines()[1]
    rows = of_setting(
        storage.read_json(folder / "results.json")["rows"], ("A", "S4_N2")
    )
    end_to_end, atlas, nystroem = (
        " / ".join(
            f"{select(rows, protocol, space, 'accuracy')[0]:.3f}"
            for protocol in ("oracle", "blind")
        )
        for space in ("original_abs", "merged", "merged_nystroem")
    )
    assert line == (
        f"A S4_N2, seed 0: accuracy, oracle / blind: end-to-end {end_to_end}; "
        f"atlas {atlas}; atlas, Nystroem {nystroem}"
    )


def test_on_a_terminal_a_bar_says_it_instead(finished, tmp_path):
    """The units are copied from the finished run."""
    whole, _ = finished
    run = plan(replace(OPTIONS, out=tmp_path / "out"))
    console = Console(
        file=io.StringIO(), width=120, force_terminal=True, color_system=None
    )

    def measure(bench, setting, seed, report):
        report("chart 1/2, epoch 3/6", 0.5)
        name = f"{benches.unit_name(setting, seed)}.json"
        return storage.read_json(whole / "parts" / name)

    run = run._replace(experiment=EXPERIMENT._replace(measure=measure))
    rows = [row for part in runner.measure_all(run, console) for row in part["rows"]]
    assert rows == storage.read_json(whole / "results.json")["rows"]
    said = console.file.getvalue()
    assert " 88%" in said  # three and a half of four
    assert "C T2, seed 1: chart 1/2, epoch 3/6" in said
    assert " of 4: " not in said


# Killed and started again


def interrupt_at(monkeypatch, name):
    """The next file of this name is not put in its place: the user presses Ctrl-C."""
    replace_file = os.replace

    def interrupted(source, target):
        if Path(target).name == name:
            raise KeyboardInterrupt
        replace_file(source, target)

    monkeypatch.setattr(whole.os, "replace", interrupted)


@pytest.mark.slow
def test_interrupted_it_goes_on_from_the_last_finished_unit_and_ends_in_the_same_files(
    finished, tmp_path, monkeypatch
):
    folder = tmp_path / "out"
    with monkeypatch.context() as patch:
        interrupt_at(patch, "A_S4_N2_seed1.json")  # the very last of the third unit
        with pytest.raises(KeyboardInterrupt):
            start(folder)
    assert contents(folder).keys() == {"settings.json"}
    kept = {file.name: file.read_bytes() for file in (folder / "parts").iterdir()}
    assert kept.keys() == {
        *REFERENCES,
        *(f"{name}{ending}" for name in UNITS[:2] for ending in (".json", ".npz")),
        "A_S4_N2_seed1.npz",  # but no rows, by which a unit is known to be done
        *(f"A_S4_N2_seed1_chart{m}.npz" for m in range(3)),
    }
    trained, fit_charts = [], training.fit_charts

    def counted(key, chart, images, labels, tasks, **others):
        trained.append((*others["only"], len(tasks.seen)))
        return fit_charts(key, chart, images, labels, tasks, **others)

    monkeypatch.setattr(training, "fit_charts", counted)
    first, second, _, third = start(folder).splitlines()[:4]
    assert first == "2 of 4 were done before"
    assert second == "1 of 2: A S4_N2, seed 1"
    assert re.fullmatch(f"2 of 2: C T2, seed 1{LEFT}", third)
    assert trained == [(0, 2), (1, 2)]  # the charts of C, seed 1: those of A were kept
    whole, _ = finished
    assert contents(folder) == contents(whole)
    now = {file.name: file.read_bytes() for file in (folder / "parts").iterdir()}
    done = {name: kept[name] for name in kept if "_chart" not in name}
    assert {name: now[name] for name in done} == done
    assert now == {file.name: file.read_bytes() for file in (whole / "parts").iterdir()}


@pytest.mark.slow
def test_interrupted_while_the_results_are_written_there_are_none_or_all(
    finished, tmp_path, monkeypatch
):
    """From finished parts: only the writing is done again."""
    whole, _ = finished
    folder = tmp_path / "out"
    (folder / "parts").mkdir(parents=True)
    (folder / "settings.json").write_bytes((whole / "settings.json").read_bytes())
    for file in (whole / "parts").iterdir():
        (folder / "parts" / file.name).write_bytes(file.read_bytes())

    def refuse(*args, **others):
        raise AssertionError("trained again")

    monkeypatch.setattr(training, "fit_charts", refuse)
    with monkeypatch.context() as patch:
        interrupt_at(patch, "results.json")
        with pytest.raises(KeyboardInterrupt):
            start(folder)
    assert contents(folder).keys() == {"settings.json"}
    start(folder)
    assert contents(folder) == contents(whole)
    said = start(folder)  # of a run that is finished, once more
    assert said.startswith("4 of 4 were done before\n")
    assert " of 4: " not in said
    assert contents(folder) == contents(whole)


@pytest.mark.slow
def test_killed_it_goes_on_and_ends_in_the_same_results(tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    reference = killed / "parts" / "reference_seed0.npz"
    words = "--dataset digits --seeds 0 --scenario C --max-epochs 2 --probe-epochs 5"

    def command(folder):
        return subprocess.Popen(
            [sys.executable, "-m", "experiments", *words.split(), "--out", str(folder)],
            cwd=ROOT,
            env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    with command(killed) as process:
        try:
            deadline = time.monotonic() + 300
            while not reference.exists():
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.02)
        finally:
            process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (killed / "parts" / "C_T2_seed0.json").exists()
    assert not (killed / "results.json").exists()
    trained_at = reference.stat().st_mtime_ns

    for folder in (killed, whole):
        with command(folder) as process:
            out, err = process.communicate()
        assert process.returncode == 0, err
        assert "The table is in" in out
    assert reference.stat().st_mtime_ns == trained_at
    assert contents(killed) == contents(whole)
    rows = storage.read_json(whole / "results.json")["rows"]
    assert len(rows) == 196
    assert np.isfinite([row["value"] for row in rows]).all()
