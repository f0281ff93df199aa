"""The README's Python runs, and prints what it says it prints."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.S)
SPACE, BLIND, MESH, SIMILARITY, CHART = BLOCKS


def run(source):
    scope = {}
    exec(compile(source, str(README), "exec"), scope)
    return scope


def test_three_spaces_are_merged_in_fifteen_lines(capsys):
    scope = run(SPACE)
    assert len([line for line in SPACE.splitlines() if line]) <= 15
    promised = re.search(r"\)\)  # (\(\d.*)$", SPACE, flags=re.M).group(1)
    shape, value = capsys.readouterr().out.strip().rsplit(" ", 1)
    assert promised == f"{shape} {float(value):.2f}"
    assert scope["atlas"].shape == (1000, 128)


@pytest.mark.parametrize(
    "source",
    [BLIND, MESH, SIMILARITY, CHART],
    ids=["blind", "mesh", "similarity", "chart"],
)
def test_what_is_made_has_the_shape_it_says(source):
    scope = run(source)
    for name, shape in re.findall(r"^(\w+) = .*  # \(([\d, ]+)\)$", source, flags=re.M):
        assert scope[name].shape == tuple(map(int, shape.split(",")))
        break
    else:
        pytest.fail("no line of the example says a shape")


def test_the_first_two_commands_do_all_the_set_up():
    shell = re.findall(r"```sh\n(.*?)```", README.read_text(), flags=re.S)
    assert len(shell) == 2
    for command, end in zip(shell, ("-m experiments", "-m pytest"), strict=True):
        assert re.fullmatch(
            r"python3 -m venv \.venv && \.venv/bin/pip install -e '\.\[\w+\]' && "
            rf"\.venv/bin/python {end}\n",
            command,
        )


def test_what_it_shows_is_there_and_nothing_is_left_open():
    text = README.read_text()
    assert "@@" not in text
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    assert "experiments/paper/pictures/accuracy.png" in links
    for link in links:
        assert (README.parent / link).exists(), link
