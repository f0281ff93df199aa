"""A run on a full or read-only disk, by another clock, language or name of folder."""

import itertools
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from full_disk import full_at
from test_runner import SUMS, quick  # noqa: F401 - a fixture

from experiments.data import storage
from experiments.runs import folders, runner

ROOT = Path(__file__).parents[3]


def contents(folder):
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def refused(options, capsys):
    """The line in which a run ends."""
    with pytest.raises(SystemExit) as ending:
        runner.main(SUMS, options)
    assert ending.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    return said


def test_on_a_disk_that_is_full_at_any_call_nothing_is_lost(tmp_path, capsys):
    whole = replace(SUMS.options, out=tmp_path / "whole")
    runner.main(SUMS, whole)
    wanted = contents(whole.out)
    for k in itertools.count(1):
        options = replace(SUMS.options, out=tmp_path / f"with spaces ü 猫 {k}")
        with full_at(options.out, k) as disk:
            try:
                said = refused(options, capsys)
            except pytest.fail.Exception:  # it came to its end
                assert not disk.failed
                break
        assert disk.failed
        assert "No space left on device" in said
        assert str(options.out) in said
        runner.main(SUMS, options)  # the same command, with room
        assert contents(options.out) == wanted
    assert k > 15


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe", b"[]"])
def test_a_part_that_was_damaged_is_named(tmp_path, capsys, damage):
    options = replace(SUMS.options, out=tmp_path / "out")
    runner.main(SUMS, options)
    wanted = contents(options.out)
    part = options.out / "parts" / "sum_seed1.json"
    part.write_bytes(damage)
    (options.out / "results.json").unlink()
    if damage != b"[]":  # that is JSON, and a record without rows
        assert f"{part} is damaged" in refused(options, capsys)
        part.unlink()
        runner.main(SUMS, options)
        assert contents(options.out) == wanted


READ_ONLY = """
import os, sys
sys.path[:0] = sys.argv[3:]
from dataclasses import replace
from pathlib import Path
from experiments.runs import runner
from test_runner import SUMS
runner.keep_compiled = lambda: None
runner.main(SUMS, replace(SUMS.options, out=Path(sys.argv[1])))  # all is imported
if os.getuid() == 0:  # who is root can write anywhere
    os.setgid(65534)
    os.setuid(65534)
runner.main(SUMS, replace(SUMS.options, out=Path(sys.argv[2])))
"""


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_said_in_a_line(tmp_path):
    """By a user who may not; to root everything is open."""
    folder = tmp_path / "read only"
    folder.mkdir()
    for above in (tmp_path, *tmp_path.parents[:2]):  # that pytest made
        above.chmod(above.stat().st_mode | 0o555)
    folder.chmod(0o555)
    paths = [str(ROOT), str(Path(__file__).parent), *sys.path]
    outs = [str(tmp_path / "first"), str(folder / "out")]
    run = subprocess.run(
        [sys.executable, "-c", READ_ONLY, *outs, *paths],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2, run.stderr
    assert run.stderr == f"error: [Errno 13] Permission denied: '{outs[1]}'\n"
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("days", [-4000, 4000])
def test_a_clock_that_was_set_back_or_forward_changes_nothing(
    tmp_path, capsys, monkeypatch, days
):
    """What is done is known by files that are there, not by their times."""
    whole = replace(SUMS.options, out=tmp_path / "whole")
    runner.main(SUMS, whole)
    options = replace(SUMS.options, seeds=(0,), out=tmp_path / "out")
    runner.main(SUMS, options)
    for file in options.out.rglob("*"):
        os.utime(file, (time.time() + 86400 * days,) * 2)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 86400 * days)
    capsys.readouterr()
    runner.main(SUMS, replace(options, seeds=(0, 1)))
    assert "1 of 2 were done before" in capsys.readouterr().out
    names = ("table.md", "parts/sum_seed0.json", "parts/sum_seed1.json")
    for name in names:
        assert contents(options.out)[name] == contents(whole.out)[name]
    rows = [storage.read_json(o.out / "results.json")["rows"] for o in (whole, options)]
    assert rows[0] == rows[1]


PLAIN = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
TERMINALS = {
    "C": PLAIN,
    "ascii": PLAIN | {"PYTHONIOENCODING": "ascii"},
    "latin-1": PLAIN | {"PYTHONIOENCODING": "latin-1"},
    "a dumb terminal": PLAIN | {"TERM": "dumb", "COLUMNS": "20"},
}


@pytest.mark.slow
@pytest.mark.parametrize("terminal", TERMINALS)
def test_the_main_job_by_another_language_writes_the_same_files(tmp_path, terminal):
    """Its tables have signs that are in no ASCII, and so has the folder's name."""
    outs = [tmp_path / "größer 猫 one", tmp_path / "größer 猫 two"]
    ends = [
        subprocess.run(
            [sys.executable, "-m", "experiments", "--dataset", "digits", "--settings",
             "T2", "--seeds", "0", "--max-epochs", "1", "--probe-epochs", "2",
             "--out", str(out)],
            cwd=ROOT,
            env=os.environ | more,
            capture_output=True,
        )
        for out, more in zip(outs, ({}, TERMINALS[terminal]), strict=True)
    ]  # fmt: skip
    assert [end.returncode for end in ends] == [0, 0], ends[1].stderr.decode()
    first, second = map(contents, outs)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_settings_of_another_version_are_refused_by_name(tmp_path, capsys):
    options = replace(SUMS.options, out=tmp_path / "out")
    runner.main(SUMS, options)
    file = options.out / folders.SETTINGS
    stands = storage.read_json(file)
    stands["versions"]["jax"] = "0.0.1"
    storage.write_json(file, stands)
    capsys.readouterr()
    before = contents(options.out)
    said = refused(options, capsys)
    assert "versions.jax is '0.0.1' there and" in said
    assert contents(options.out) == before


def test_every_text_is_read_and_written_as_utf8():
    """Without a word on it Python takes the language of the terminal."""
    calls = re.compile(r"\.(?:read_text\(\)|write_text\([^,()]*\))")
    files = [*(ROOT / "experiments").rglob("*.py"), *(ROOT / "jatlas").rglob("*.py")]
    bare = {file.name: calls.findall(file.read_text("utf-8")) for file in files}
    assert {name for name, lines in bare.items() if lines} == set()
