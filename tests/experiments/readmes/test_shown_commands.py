"""Every command that a page shows is there, and has the flags that it is given."""

import contextlib
import io
import re
import runpy
import shlex
import sys
import warnings
from functools import cache

import markdown_pages as pages
import pytest

from jatlas.cli.parser import parser

PAGES = {str(page.relative_to(pages.ROOT)): page for page in pages.pages()}
COMMAND = re.compile(r"python3? -m ((?:experiments|jatlas)(?:\.\w+)*)(?![\w.])(.*)")
# Where that part of a shell's line ends which is this command's.
END = re.compile(r"\s(?:[|<>&;#]|2>|\.\.\.).*|`.*|[;)]+$")
EXPERIMENTS = sorted(
    f"experiments.{main.parent.name}"
    for main in (pages.ROOT / "experiments").glob("*/__main__.py")
)


def code(text):
    """The lines of blocks of code, those that go on joined, and code in prose."""
    for block in pages.blocks(text):
        yield from block.text.replace("\\\n", " ").splitlines()
    prose = re.sub(r"^```[^`]*$.*?^```$", "", text, flags=re.M | re.S)
    yield from (" ".join(c.split()) for c in re.findall(r"`([^`]+)`", prose))


def shown(text):
    """The commands of a page: module, and what stands after it."""
    for line in code(text):
        if found := COMMAND.search(line):
            yield found[1], shlex.split(END.sub("", found[2]))


def flags_alone(text):
    """Flags in code of the prose without a command before them."""
    for line in code(text):
        if line.startswith("--"):
            yield [word.rstrip("*") for word in line.split() if word[:2] == "--"]


@cache
def flags_of(module):
    """The flags that --help of an experiment lists."""
    stream, given = io.StringIO(), sys.argv
    sys.argv = [module, "--help"]
    try:
        with (
            contextlib.redirect_stdout(stream),
            contextlib.suppress(SystemExit),
            warnings.catch_warnings(),
        ):
            # Another test of this process can have imported it.
            warnings.filterwarnings("ignore", ".*found in sys.modules", RuntimeWarning)
            runpy.run_module(module, run_name="__main__")
    finally:
        sys.argv = given
    found = re.findall(r"^[│ ] {1,2}(?:-h, )?(--[\w-]+)", stream.getvalue(), flags=re.M)
    assert "--help" in found, stream.getvalue()
    return frozenset(found)


@cache
def subcommands():
    """The flags of each subcommand of `python -m jatlas`."""
    (choices,) = (a.choices for a in parser()._actions if isinstance(a.choices, dict))
    return {
        name: frozenset(f for action in one._actions for f in action.option_strings)
        for name, one in choices.items()
    }


def faults(text):
    """What is wrong with the commands of a page, in words."""
    for module, words in shown(text):
        flags = [word.partition("=")[0] for word in words if word.startswith("--")]
        if module == "jatlas":
            if not words:
                continue
            if words[0] not in subcommands() and words != ["--help"]:
                yield f"python -m jatlas has no {words[0]}"
                continue
            known = subcommands().get(words[0], {"--help"})
            module = f"jatlas {words[0]}"
        elif module != "experiments" and module not in EXPERIMENTS:
            yield f"there is no {module}"
            continue
        else:
            known = flags_of(module)
        for flag in flags:
            if flag not in known:
                yield f"python -m {module} has no {flag}"


@pytest.mark.parametrize("name", PAGES)
def test_a_command_of_a_page_has_the_flags_that_it_is_given(name):
    assert list(faults(PAGES[name].read_text())) == []


@pytest.mark.parametrize("module", EXPERIMENTS)
def test_a_flag_that_an_experiments_page_names_is_one_of_its_command(module):
    folder = module.rpartition(".")[2]
    page = PAGES.get(f"experiments/{folder}/README.md")
    named = flags_alone(page.read_text()) if page else ()
    assert [f for flags in named for f in flags if f not in flags_of(module)] == []


def test_there_are_commands_on_the_pages():
    every = [each for page in PAGES.values() for each in shown(page.read_text())]
    assert {module for module, _ in every} == {"jatlas", "experiments", *EXPERIMENTS}
    assert {words[0] for module, words in every if module == "jatlas" and words} == (
        subcommands().keys()
    )
    assert any("--transport" in flags_of(module) for module in EXPERIMENTS)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("`python -m experiments.blind --widht 3`", "experiments.blind has no --widht"),
        ("`python -m experiments --made-up=3`", "experiments has no --made-up"),
        ("`python -m experiments.blind --transport files`", "has no --transport"),
        ("```sh\npython -m experiments \\\n  --nope\n```\n", "has no --nope"),
        ("`python -m experiments.nowhere`", "there is no experiments.nowhere"),
        ("`python -m jatlas blend a.npz`", "python -m jatlas has no blend"),
        ("`python -m jatlas add a b --whiten`", "jatlas add has no --whiten"),
        (
            "```console\n$ python -m jatlas view a --no\n```\n",
            "jatlas view has no --no",
        ),
    ],
)
def test_a_command_that_there_is_not_is_found(text, fault):
    (found,) = faults(text)
    assert found.endswith(fault)


@pytest.mark.parametrize(
    "text",
    [
        "`.venv/bin/python -m experiments --seeds 0 | tee --append x`",
        "```sh\npython -m experiments.paper --out x && python -m pytest --nope\n```\n",
        "(`python -m jatlas view atlas.parquet`, `python -m jatlas`, `--nope`)",
        "`python -m experiments.blind ... --whatever`",
        '`python -m experiments.readmes --publish a b --command "python --nope"`',
    ],
)
def test_what_is_no_part_of_the_command_is_left_alone(text):
    assert list(faults(text)) == []
