import io

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
