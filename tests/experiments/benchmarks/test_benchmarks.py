"""The benchmark: what it refuses and writes, that it goes on, and what is shown."""

import io
import json
import math
import re

import pytest
from rich.console import Console

from experiments.benchmarks import __main__ as job
from experiments.benchmarks import machine, report
from experiments.benchmarks.jobs import JOBS, Job
from experiments.data import storage
from experiments.runs import provenance

ROW = {
    "name": "merge",
    "size": {"M": 8, "N": 10_000},
    "seconds": {
        "ours": [0.1, 0.2, 0.1],
        "torch": [0.3, 0.8, None],
        "dot": [0.09, 0.1, 0.05],
        "loop": [0.001, None, None],
        "matmul": [0.02, 0.02, 0.02],
        "copy": [0.01, 0.01, 0.01],
    },
    "references": {
        "torch": {"what": "the formula, torch", "scale": 1.0},
        "dot": {"what": "jnp.dot", "scale": 1.0},
        "loop": {"what": "a loop", "scale": 400.0},
    },
    "work": {"flops": 4e9, "bytes": 1e8},
    "machine_work": {"matmul": 2e9, "copy": 5e8},
    "memory": {"temporary_bytes": 12_300_000, "peak_bytes": None},
    "values": {"CKA": 0.5, "peak, bytes": 2_000_000_000},
    "bars": [
        {"what": "rate", "value": 0.5, "least": 0.75, "most": None, "met": False},
        {"what": "speed", "value": 3.5, "least": 2.0, "most": None, "met": True},
    ],
    "missing": {},
}
for one in ROW["references"].values():
    one |= {"tolerance": 1e-5, "difference": 2.5e-7}


@pytest.fixture(autouse=True)
def unchanged_code(monkeypatch):
    """Else a file that is saved while the tests run makes folders another's."""
    monkeypatch.setattr(provenance, "code", lambda *functions: {"a.module": "0"})


@pytest.fixture
def counted(monkeypatch):
    """Two jobs in place of all, which count how often they are run."""
    runs = []

    def rows(name):
        def measured(bench):
            bench.tell("half", 0.5)
            runs.append(name)
            return [ROW | {"name": name}]

        return measured

    jobs = {name: Job(f"Job {name}", rows(name), 10, 1) for name in ("first", "second")}
    monkeypatch.setattr(job, "JOBS", jobs)
    return runs


def start(folder, only=("first", "second"), **changes):
    """A run, as the command makes it; what it says on the terminal."""
    console = Console(file=io.StringIO(), width=120, soft_wrap=True)
    options = job.Options(only=only, out=folder, **changes)
    job.main(job.plan(options), console)
    return console.file.getvalue()


def written(row=ROW, quick=False, **changes):
    """Results of one row, as they are read back."""
    settings = {
        "options": {"quick": quick, "repeats": 3},
        "versions": {"torch": "2.13.0", "jax": "0.10.2", "numpy": "2.4.6"},
        "machine": {
            "device": "cpu: cpu",
            "processor": "a processor",
            "memory_bytes": 25_000_000_000,
            "threads": {"xla": 2},
        },
    }
    jobs = {"merge": {"took": 1.0, "others": 0.05, "rows": [row]}}
    return {"settings": settings, "jobs": jobs, "paper": {}} | changes


@pytest.mark.slow
def test_workers_one_of_them_killed_and_one_process_write_the_same(tmp_path):
    console = Console(file=io.StringIO(), width=120, soft_wrap=True)
    options = job.Options(only=("cluster",), quick=True, out=tmp_path)
    job.main(job.plan(options), console)
    results = json.loads((tmp_path / "results.json").read_text())
    (row,) = results["jobs"]["cluster"]["rows"]
    assert row["values"]["files of the atlas that differ then"] == 0
    assert row["values"]["files of its atlas that differ"] == 0


# What is refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"only": ("merge", "nope")},
            r"takes some of .*cka.*; got \['merge', 'nope'\]",
        ),
        ({"only": ()}, r"--only takes some of .*; got \[\]"),
        ({"repeats": 0}, "--repeats must be 1 or more, got 0"),
    ],
)
def test_options_that_make_no_run_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        job.plan(job.Options(out=tmp_path / "out", **changes))
    assert not list(tmp_path.iterdir())


def test_other_options_do_not_go_into_the_same_folder(counted, tmp_path):
    start(tmp_path / "out", repeats=2)
    with pytest.raises(ValueError, match=r"options\.repeats is 2 there and 3 here"):
        start(tmp_path / "out", repeats=3)


def test_the_default_folder_of_small_sizes_is_another():
    folders = [job.Options(quick=quick).folder for quick in (False, True)]
    folders.append(job.Options(device=True).folder)
    assert [folder.as_posix() for folder in folders] == [
        "results/benchmarks/full",
        "results/benchmarks/quick",
        "results/benchmarks/device",
    ]


def test_the_command_writes_what_every_experiment_writes(counted, tmp_path, capsys):
    job.command(["--only", "first", "second", "--out", str(tmp_path), "--force"])
    assert {file.name for file in tmp_path.iterdir()} == {
        "parts", "results.json", "settings.json", "table.md",
    }  # fmt: skip
    assert f"The table is in {tmp_path / 'table.md'}." in capsys.readouterr().out


@pytest.mark.parametrize("flag", ["--no-force", "--repeat=x", "--other"])
def test_flags_that_there_are_not_are_refused_in_a_line(flag, capsys):
    with pytest.raises(SystemExit) as ending:
        job.command([flag])
    assert ending.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.endswith("; see python -m experiments.benchmarks --help\n")
    assert said.count("\n") == 1


# What is run and written


def test_every_timing_is_in_the_results_and_the_tables_are_made_of_them(
    counted, tmp_path
):
    said = start(tmp_path)
    results = json.loads((tmp_path / "results.json").read_text())
    assert list(results["jobs"]) == ["first", "second"]
    assert set(results["jobs"]["second"]) == {"took", "others", "rows"}
    (row,) = results["jobs"]["second"]["rows"]
    assert row == ROW | {"name": "second"}
    assert results["settings"]["versions"]["jax"]
    assert results["settings"]["machine"]["threads"]["xla"] == machine.num_threads()
    titles = {"first": "Job first", "second": "Job second"}
    shown = report.text(results, titles)
    assert (tmp_path / "table.md").read_text() == shown
    assert "first; about 20 s left" in said
    assert "second; about 10 s left" in said


def test_a_run_that_was_stopped_goes_on_where_it_was(counted, monkeypatch, tmp_path):
    second = job.JOBS["second"]

    def stopped(bench):
        raise KeyboardInterrupt

    monkeypatch.setitem(job.JOBS, "second", second._replace(rows=stopped))
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path)
    assert not (tmp_path / "results.json").exists()
    monkeypatch.setitem(job.JOBS, "second", second)
    assert "1 of 2 were done before" in start(tmp_path)
    assert counted == ["first", "second"]
    assert list(storage.read_json(tmp_path / "results.json")["jobs"]) == [
        "first",
        "second",
    ]


def test_jobs_that_were_left_out_are_added(counted, tmp_path):
    start(tmp_path, only=("second",))
    assert "Not run: Job first." in (tmp_path / "table.md").read_text()
    start(tmp_path, only=("first",))
    assert counted == ["second", "first"]
    assert "Not run" not in (tmp_path / "table.md").read_text()
    assert list(storage.read_json(tmp_path / "results.json")["jobs"]) == [
        "first",
        "second",
    ]


@pytest.mark.slow
def test_small_sizes_of_merge_from_the_command_to_the_table(tmp_path):
    start(tmp_path, only=("merge",), quick=True, repeats=1)
    results = storage.read_json(tmp_path / "results.json")
    rows = results["jobs"]["merge"]["rows"]
    assert [row["name"].split(",")[0] for row in rows] == ["merge"] * 5
    for row in rows:
        assert all(len(turns) == 1 for turns in row["seconds"].values())
        assert {"ours", "matmul", "copy"} < set(row["seconds"])
        for reference in row["references"].values():
            if reference["tolerance"] is not None:
                assert reference["difference"] <= reference["tolerance"]
    torch = results["settings"]["versions"]["torch"]
    assert ("torch" in rows[0]["references"]) == (torch is not None)
    assert rows[0]["memory"]["temporary_bytes"] < 4 * 4 * 500 * 64
    errors = rows[-1]["values"]
    assert errors["largest error in float32"] < 1e-6
    assert 1e-6 < errors["largest error against float64"] < 1e-2
    text = (tmp_path / "table.md").read_text()
    assert text.count("not judged") == 6
    assert ("is not measured, for it is not installed" in text) == (torch is None)


def test_every_job_says_how_long_it_takes_and_all_take_less_than_ten_minutes():
    assert sum(each.seconds for each in JOBS.values()) < 600
    assert sum(each.quick for each in JOBS.values()) < 60


@pytest.mark.slow
def test_alone_no_reference_has_a_turn_and_no_bar_is_judged(tmp_path):
    said = start(tmp_path, only=("machine", "merge"), quick=True, device=True)
    results = json.loads((tmp_path / "results.json").read_text())
    rows = results["jobs"]["merge"]["rows"]
    for row in rows:
        assert set(row["seconds"]) == {"ours", "matmul", "copy"}
        assert row["references"] == row["missing"] == {}
        assert [bar["met"] for bar in row["bars"]] == [None] * len(row["bars"])
    text = (tmp_path / "table.md").read_text()
    assert text in said
    lines = [line for line in text.splitlines() if line.startswith("| merge")]
    assert len(lines) == len(rows)
    assert all(re.search(r"\| \d+ % \| \d+ % \|$", line) for line in lines)
    assert re.search(r"\| the rates themselves \|  \| .* GFLOP/s \| .* GB/s", text)


# What is shown


def section(text, name):
    return re.search(rf"## {name}\n(.*?)(\n## |\Z)", text, re.DOTALL)[1]


def test_times_ratios_and_shares_are_medians_of_rounds():
    text = section(report.text(written(), {"merge": "Merge"}), "Times")
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    torch, dot, loop = ([c.strip() for c in line.split("|")[1:-1]] for line in lines)
    # Twice the flops of the product in five times its time; a fifth of the bytes in
    # ten times the time of the copy, of the rounds' 0.1, 0.2 and 0.1 s.
    assert torch == [
        "merge; M=8, N=10,000",
        "100 ms (100 ms to 200 ms)",
        "40 %",
        "2 %",
        "the formula, torch",
        "550 ms (300 ms to 800 ms)",
        "3.5 (3 to 4; 2)",
    ]
    assert dot[-1] == "**0.5 (0.5 to 0.9; 3)**"
    assert loop[-2:] == ["400 ms, scaled by 400", "4 (4 to 4; 1)"]
    assert dot[0] == dot[1] == ""


def test_a_machine_that_others_kept_busy_is_said_to_be():
    quiet = written()
    assert "Disturbed" not in report.text(quiet, {"merge": "Merge"})
    quiet["jobs"]["merge"]["others"] = None  # not known
    assert "Disturbed" not in report.text(quiet, {"merge": "Merge"})
    quiet["jobs"]["merge"]["others"] = 1.42
    text = report.text(quiet, {"merge": "Merge"})
    assert "processors busy while jobs were measured, 1.42 in `merge`." in text


def test_a_bar_that_is_missed_is_shown_as_such():
    text = section(report.text(written(), {"merge": "Merge"}), "Bars")
    assert "| rate | 0.5 | at least 0.75 | **no** |" in text
    assert "| speed | 3.5 | at least 2 | yes |" in text


def test_memory_and_values_are_shown_and_what_is_not_measured_is_said():
    text = report.text(written(), {"merge": "Merge", "cka": "Linear CKA"})
    assert "| 12.3 MB | not measured | not measured |" in section(text, "Memory")
    values = section(text, "Values")
    assert "| CKA | 0.5 |" in values
    assert "| peak | 2 GB |" in values
    assert "2.5e-07 (at most 1e-05)" in values
    assert "Not run: Linear CKA." in text
    row = ROW | {"missing": {"torch": "pip install it"}}
    text = report.text(written(row), {"merge": "Merge"})
    assert "torch is not measured, for it is not installed: `pip install it`" in text


def test_an_exponent_is_shown_with_its_error_and_its_points():
    row = {
        "name": "merge, growth in N",
        "size": {"M": 4},
        "sizes": [100, 1000],
        "seconds": {"100": [0.002, 0.001], "1000": [0.01, None]},
        "exponent": 1.0,
        "error": 0.0123,
        "memory_exponent": 2.0,
        "bars": [],
    }
    text = section(report.text(written(row), {"merge": "Merge"}), "Growth")
    assert "| 1.000 ± 0.012 | 2.00 | 100: 1 ms; 1,000: 10 ms |" in text


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (report.duration(90.0), "90 s"),
        (report.duration(0.0123), "12.3 ms"),
        (report.duration(2.5e-8), "0.025 µs"),
        (report.size(None), "not measured"),
        (report.size(512), "512 B"),
        (report.size(3.28e13), "32.8 TB"),
        (report.share(ROW | {"work": None}, "matmul", "flops"), ""),
    ],
)
def test_numbers_have_units(shown, expected):
    assert shown == expected


def test_nothing_that_is_not_finite_is_shown_as_a_number():
    row = dict(ROW, bars=[dict(ROW["bars"][0], value=math.nan)])
    text = report.text(written(row), {"merge": "Merge"})
    assert "| rate | not measured | at least 0.75 |" in text
