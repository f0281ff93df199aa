"""The words of the house: names of the field, and summaries of one short line."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path for room in ("jatlas", "experiments") for path in (ROOT / room).rglob("*.py")
)
NAMES = [str(path.relative_to(ROOT)) for path in FILES]
each_file = pytest.mark.parametrize("name", NAMES)
MOST_WORDS = 12
VAGUE = {"own", "found", "told", "said", "rest"}
# Of whom they are is what sets these modules apart: the user's own file and embeddings.
MODULES = {"own_file", "own_embeddings"}
WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def vague(tree):
    """The identifiers of a module that say nothing of what they hold, by line."""
    faults = []
    for node in ast.walk(tree):
        for field in ("id", "arg", "name", "attr", "asname", "rest"):
            name = getattr(node, field, None)
            if not isinstance(name, str) or name.endswith("NotFoundError"):
                continue
            words = {word.lower() for word in WORDS.findall(name)}
            if words & VAGUE and name.rpartition(".")[2] not in MODULES:
                faults.append((getattr(node, "lineno", 0), name))
    return faults


def long_summaries(tree):
    """The docstrings whose first paragraph is too long, by their owners."""
    owners = [("the module", tree), *_owners(tree)]
    summaries = [
        (name, (ast.get_docstring(node) or "").split("\n\n")[0])
        for name, node in owners
    ]
    return [name for name, text in summaries if _length(text) > MOST_WORDS]


def _length(summary):
    return len(re.sub(r"\(long: .*?\)", "", summary, flags=re.S).split())


def _owners(node, within=""):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield within + child.name, child
            yield from _owners(child, f"{within}{child.name}.")
        else:
            yield from _owners(child, within)


@each_file
def test_identifiers_say_what_they_hold(name):
    assert vague(ast.parse((ROOT / name).read_text())) == []


@each_file
def test_summaries_are_short(name):
    assert long_summaries(ast.parse((ROOT / name).read_text())) == []


@pytest.mark.parametrize(("text", "fault"), [
    ("found = 1", "found"),
    ("def f(own_rows): ...", "own_rows"),
    ("def f(**told): ...", "told"),
    ("class ToldOf: ...", "ToldOf"),
    ("f(rest=2)", "rest"),
    ("x.is_own", "is_own"),
    ("import a as said", "said"),
    ("[f'{OWN}']", "OWN"),
    ("match x:\n    case {**rest}: ...", "rest"),
])  # fmt: skip
def test_a_vague_name_is_found(text, fault):
    assert fault in [name for _, name in vague(ast.parse(text))]


@pytest.mark.parametrize(
    "text", ["known = foundation.restore(owner)", "FileNotFoundError", "'found'"]
)
def test_other_names_are_not_vague(text):
    assert vague(ast.parse(text)) == []


def test_a_long_summary_is_found():
    words = " ".join(["word"] * 13)
    module = (
        f'"""{words}\n\nBody."""\nclass A:\n  def b(): "{words}"\n  def _c(): "word"'
    )
    assert long_summaries(ast.parse(module)) == ["the module", "A.b"]
    assert long_summaries(ast.parse(f'"""{words[5:]} (long: for a reason.)"""')) == []
    assert long_summaries(ast.parse(f'"""{words[5:]}\n\n{words}"""')) == []
