import io
import time

import pytest
from rich.console import Console

from experiments.data import storage
from experiments.runs import terminal


@pytest.fixture
def console():
    return Console(file=io.StringIO(), force_terminal=True, width=80)


def test_stopped_by_hand_it_says_that_it_can_go_on(console):
    with pytest.raises(SystemExit) as ending, terminal.endings(console):
        raise KeyboardInterrupt
    assert ending.value.code == 130
    assert "the same command goes on from here" in console.file.getvalue()


@pytest.mark.parametrize("error", [OSError("no space"), storage.Damaged("cut off")])
def test_what_can_be_mended_is_said_in_a_line(console, error, capsys):
    with pytest.raises(SystemExit) as ending, terminal.endings(console):
        raise error
    assert ending.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {error}; the same command goes on")
    assert said.count("\n") == 1


def test_a_run_that_cannot_go_on_says_why_in_a_line(console, capsys):
    with pytest.raises(SystemExit) as ending, terminal.endings(console):
        raise terminal.Stopped("nobody\n  came")
    assert ending.value.code == 2
    assert capsys.readouterr().err == "error: nobody came\n"


def test_other_errors_are_not_hidden(console):
    with pytest.raises(ZeroDivisionError), terminal.endings(console):
        raise ZeroDivisionError


def test_the_bar_says_what_is_done_and_how_much(console):
    with terminal.bar(console, 4) as update:
        update("training", 1)
    shown = console.file.getvalue()
    assert "training" in shown
    assert "25%" in shown


def test_where_there_is_no_terminal_a_line_comes_now_and_then(monkeypatch):
    seconds = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: seconds[0])
    monkeypatch.setattr(terminal, "PAUSE", 0.05)
    console = Console(file=io.StringIO(), width=80)
    with terminal.bar(console, 4) as update:
        time.sleep(0.12)  # nothing is reported yet
        seconds[0] += 0.4
        update("training [b]", 1)
        time.sleep(0.12)
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "  0%, 0 s so far"
    assert lines[-1] == " 25%, about 0:01 left: training [b]"
    assert 2 <= len(lines) <= 5  # one a pause
    monkeypatch.setattr(terminal, "PAUSE", 30)
    began = time.perf_counter()
    with terminal.bar(console, 1) as update:
        update("quick", 1)
    assert time.perf_counter() - began < 5
    assert "quick" not in console.file.getvalue()


@pytest.mark.parametrize("on_terminal", [True, False])
def test_what_compiles_first_is_not_in_the_time_left(on_terminal, monkeypatch):
    seconds = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: seconds[0])
    monkeypatch.setattr(terminal, "PAUSE", 0.05)
    console = Console(file=io.StringIO(), force_terminal=on_terminal, width=80)
    with terminal.bar(console, 100) as update:
        for done in range(1, 11):
            seconds[0] += 60 if done < 3 else 1
            update("training", done)
        time.sleep(0.12)
    shown = console.file.getvalue()
    assert ("0:01:30" if on_terminal else "about 1:30 left") in shown


def test_behind_a_line_stands_what_is_left_without_what_compiled_first(monkeypatch):
    seconds = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: seconds[0])
    left, lines = terminal.left_of(5), []
    for done, took in enumerate((0, 100, 10, 10)):
        seconds[0] += took
        lines.append(left(done))
    assert lines == [
        "",
        "; about 400 s left",
        "; about 30 s left",
        "; about 20 s left",
    ]
