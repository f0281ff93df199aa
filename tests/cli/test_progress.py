"""A command says how far it is, also where its output is no terminal."""

import time

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
