"""A command says how far it is, also where its output is no terminal."""

import re
import time

import pytest

from jatlas.cli import progress


def test_without_a_terminal_a_line_comes_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr(progress, "PAUSE", 0.05)
    with progress.line("rows", 4e6) as show:
        time.sleep(0.12)  # nothing is counted yet
        show(50, 200)
        time.sleep(0.12)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert lines[0] == "0 s so far"
    assert lines[-1].startswith(" 25%  0:01 left, 50 of 200 rows, ") or lines[
        -1
    ].startswith(" 25%  0:00 left, 50 of 200 rows, ")
    assert lines[-1].endswith(" MB/s")
    assert 2 <= len(lines) <= 5  # one a pause
    assert "\r" not in err


def test_a_quick_command_says_nothing_of_it(capsys):
    began = time.monotonic()
    with progress.line("rows") as show:
        show(1, 2)
    assert time.monotonic() - began < 5  # it does not wait for the next line
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when a test says so."""
    seconds = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: seconds[0])
    return seconds


def steps(clock, show, seconds, total):
    """Report a step of one after so many seconds each."""
    for done, each in enumerate(seconds, 1):
        clock[0] += each
        show(done, total)


# Where it says what is left: after a tenth, a half and nine tenths of what is done.
RUNS = {
    "the first step compiles": [60.0] + 99 * [1.0],
    "two steps compile": [60.0, 30.0] + 98 * [1.0],
    "all steps are the same": 100 * [2.0],
    "steps come in turns": 50 * [0.5, 1.5],
    "a hundred small reports, then a slow one": [0.01, 40.0] + 198 * [0.5],
}


@pytest.mark.parametrize("seconds", RUNS.values(), ids=RUNS)
def test_after_a_tenth_the_time_left_is_true_to_a_few_percent(
    seconds, clock, capsys, monkeypatch
):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    total = len(seconds)
    for part in (0.1, 0.5, 0.9):
        done = round(part * total)
        with progress.line("rows") as show:
            steps(clock, show, seconds[:done], total)
            clock[0] += 0.3  # not shown more often than that
            show(done, total)
        minutes, seconds_left = re.findall(
            r"% +(\d+):(\d\d) left", capsys.readouterr().err
        )[-1]
        left = 60 * int(minutes) + int(seconds_left)
        assert left == pytest.approx(sum(seconds[done:]), rel=0.1, abs=1)


def test_half_of_what_is_done_decides_when_steps_grow_slower(clock):
    pace = progress.Pace()
    assert pace.left(100) is None
    assert pace.each == 0
    for done in range(1, 61):
        clock[0] += 1 if done <= 20 else 4
        pace.step(done)
    assert pace.each == 4
    assert pace.left(100) == 160


def test_between_two_reports_the_time_left_falls_to_the_end_of_a_step(clock):
    pace = progress.Pace()
    clock[0] += 10
    pace.step(1)
    assert pace.left(4) == 30
    clock[0] += 4
    assert pace.left(4) == 26
    clock[0] += 100  # the step is late: what comes after it is still to do
    assert pace.left(4) == 20
    pace.step(4)
    assert pace.left(4) == 0


def test_a_count_that_begins_anew_is_estimated_anew(clock):
    pace = progress.Pace()
    for done in (1, 2, 3, 4):
        clock[0] += 50
        pace.step(done)
    for done in (0, 1, 2):
        clock[0] += 1
        pace.step(done)
    assert pace.passed == 2
    assert pace.left(10) == 8


def test_many_reports_take_no_memory_and_give_the_same(clock):
    pace = progress.Pace()
    for done in range(1, 20_001):
        clock[0] += 0.5 if done > 1 else 1000
        pace.step(done)
    assert len(pace._marks) <= 256
    assert pace.left(40_000) == pytest.approx(10_000)
