"""The pages run, print what they say, lead somewhere, and are as short as promised."""

import re
import tomllib

import jax
import markdown_pages as pages
import pytest
from test_imports import FLOORS

import jatlas

README = pages.ROOT / "README.md"
FILES = pages.ROOT / "experiments/guides/your_own_files.md"
PAGES = {str(page.relative_to(pages.ROOT)): page for page in pages.pages()}
each_page = pytest.mark.parametrize("name", PAGES)
MOST_LINES = 150


def code(name):
    """The blocks of a page that are run."""
    found = pages.blocks(PAGES[name].read_text())
    return [block for block in found if block.kind in ("python", "console")]


def made_up_files():
    """What the first Python block of "Your own files" writes, in this folder."""
    first = next(b for b in pages.blocks(FILES.read_text()) if b.kind == "python")
    pages.run([first], FILES.name, {})


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """What is compiled here is used once or twice, on small arrays."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    """Files of the pages are written here."""
    monkeypatch.chdir(tmp_path)


def _marked(name):
    """A page, slow if it writes databases and merges three times."""
    slow = name == "experiments/guides/change_of_model.md"
    return pytest.param(name, marks=[pytest.mark.slow] * slow)


@pytest.mark.parametrize("name", [_marked(name) for name in PAGES if code(name)])
def test_its_code_runs_and_gives_what_it_says(name):
    if PAGES[name] == README:
        made_up_files()
    blocks = code(name)
    compared = pages.run(blocks, name, {})
    runs = any(b.kind == "python" or pages.COMMAND in b.text for b in blocks)
    assert compared > 0 or not runs, "no line says a shape, or what is printed"


def test_three_spaces_are_merged_in_fifteen_lines():
    space, *others = (b for b in code("README.md") if b.kind == "python")
    assert not others
    assert len([line for line in space.text.splitlines() if line]) <= 15
    scope = {}
    assert pages.run([space], "README.md", scope) >= 1
    assert scope["atlas"].shape == (1000, 128)
    assert isinstance(scope["atlas"], jax.Array)


def test_twelve_lines_show_the_command_line():
    (block,) = (b for b in code("README.md") if b.kind == "console")
    commands = [command for command, _ in pages.console(block.text)]
    assert [command.split()[4] for command in commands] == [
        "merge",
        "project",
        "compare",
        "view",
    ]
    assert len(block.text.splitlines()) <= 12


def test_the_guides_run():
    guides = [name for name in PAGES if name.startswith("experiments/guides/")]
    assert len(guides) >= 4
    assert all(code(name) for name in guides)


def test_the_first_two_commands_do_all_the_set_up():
    shell = [b.text for b in pages.blocks(README.read_text()) if b.kind == "sh"]
    assert len(shell) == 2
    for command, end in zip(shell, ("-m experiments", "-m pytest"), strict=True):
        assert re.fullmatch(
            r"python3 -m venv \.venv && \.venv/bin/pip install -e '\.\[\w+\]' && "
            rf"\.venv/bin/python {end}\n",
            command,
        )


def test_the_readme_is_read_in_a_minute():
    text = README.read_text()
    assert len(text.splitlines()) <= MOST_LINES
    assert "@@" not in text
    assert "experiments/paper/pictures/accuracy.png" in pages.links(text)


@each_page
def test_every_link_leads_somewhere(name):
    assert pages.broken(PAGES[name]) == []


@each_page
def test_every_module_that_is_run_is_there(name):
    text = PAGES[name].read_text()
    modules = set(re.findall(r"python -m ((?:experiments|jatlas)(?:\.\w+)*)", text))
    for module in modules:
        path = pages.ROOT / module.replace(".", "/") / "__main__.py"
        assert path.exists() or path.parent.with_suffix(".py").exists(), module


def test_the_readme_names_every_experiment_and_namespace():
    text = README.read_text()
    folders = pages.ROOT.glob("experiments/*/README.md")
    for page in folders:
        assert str(page.relative_to(pages.ROOT)) in pages.links(text), page
    namespaces = [
        name for name in jatlas.__all__ if hasattr(getattr(jatlas, name), "__path__")
    ]
    assert len(namespaces) >= 5
    for name in [*namespaces, "devices", "scenarios"]:
        assert f"| `jatlas.{name}` |" in text, name


def test_the_drawing_of_the_floors_is_that_of_the_imports():
    found = pages.blocks(PAGES[".github/CONTRIBUTING.md"].read_text())
    drawing = [block.text for block in found if block.kind == "text"][1]
    floors, floor = {}, None
    for line in drawing.splitlines():
        numbered = re.match(r"(?:experiments|jatlas|) *(\d+) ", line)
        floor = int(numbered[1]) if numbered else floor
        floors[floor] = floors.get(floor, "") + line
    for room, number in FLOORS.items():
        if "." in room:
            name = room.partition(".")[2]
            assert re.search(rf"(?<!\w){name}(?!\w)", floors[number]), (room, number)


def test_the_extras_are_those_of_the_project():
    project = tomllib.loads((pages.ROOT / "pyproject.toml").read_text())["project"]
    table = README.read_text().partition("| extra |")[2].partition("\n\n")[0]
    first = [line.split("|")[1] for line in table.splitlines()[2:]]
    named = {name for cell in first for name in re.findall(r"`([\w-]+)`", cell)}
    assert named == set(project["optional-dependencies"])


def test_the_version_has_one_source_and_its_changes():
    whole = tomllib.loads((pages.ROOT / "pyproject.toml").read_text())
    assert "version" not in whole["project"]
    assert whole["project"]["dynamic"] == ["version"]
    source = pages.ROOT / whole["tool"]["hatch"]["version"]["path"]
    assert f'__version__ = "{jatlas.__version__}"\n' in source.read_text()
    changes = PAGES["jatlas/CHANGELOG.md"].read_text()
    assert re.search(r"^## (.+)$", changes, flags=re.M)[1] == jatlas.__version__


# What the checks above rest on.


def test_blocks_are_cut_in_order():
    found = pages.blocks("a\n```python\nx = 1\n```\n\n```\n$ y\n```\n")
    assert found == [
        pages.Block("python", "x = 1\n", 3),
        pages.Block("", "$ y\n", 7),
    ]
    with pytest.raises(ValueError, match="line 2 is not closed"):
        pages.blocks("```python\nx = 1\n")


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("import numpy as np\nx = np.ones((3, 2))  # (2, 3)\n", "x is not 2, 3"),
        ("print(1 + 1)  # 3\n", "printed '2', promised '3'"),
        ("print(0.8249)  # 0.83\n", "printed '0.8249', promised '0.83'"),
        ("print(1)  # 1\nprint(2)\n", "'1', '2'"),
    ],
)
def test_a_false_promise_is_found(source, fault):
    with pytest.raises(AssertionError, match=fault):
        pages.run([pages.Block("python", source, 1)], "page", {})


def test_a_kept_promise_is_counted():
    source = "import numpy as np\nx = np.ones((3, 2))  # (3, 2)\nprint(x.sum(), 0.8249)"
    block = pages.Block("python", f"{source}  # 6.0 0.82\n", 1)
    assert pages.run([block], "page", {}) == 2


def test_output_of_commands_is_compared_but_for_ellipses():
    text = "$ a --b \\\n    c\nfirst   line\n...\nlast\n\n$ mkdir x\n"
    assert list(pages.console(text)) == [
        ("$ a --b c", "first   line\n...\nlast"),
        ("$ mkdir x", ""),
    ]
    assert pages.matches("first   line\n...\nlast", "first line\nmore\nlines\nlast\n")
    assert pages.matches("took ... s", "took 3 s")
    assert not pages.matches("first\nlast", "first\nmore\nlast")
    assert not pages.matches("p 0.05", "p 0x05")


@pytest.mark.slow
def test_a_command_that_fails_or_prints_otherwise_is_found():
    block = pages.Block(
        "console", "$ python -m jatlas view no.parquet --export projector\n", 1
    )
    with pytest.raises(AssertionError, match="error"):
        pages.run([block], "page", {})
    made_up_files()
    command = "$ python -m jatlas merge a.npz c.npz --anchors shared:9 --out x.parquet"
    block = pages.Block("console", f"{command}\n...\n8 anchors\n...\n", 1)
    with pytest.raises(AssertionError, match="promised"):
        pages.run([block], "page", {})


def test_links_are_found_and_tried(tmp_path):
    page = pages.ROOT / "experiments/guides/your_own_files.md"
    text = "[a](b.md) ![c](d.png) [`e`](f.py#g) `[h](i)` [j](https://k.org)\n"
    assert pages.links(text) == ["b.md", "d.png", "f.py#g", "https://k.org"]
    assert "is-the-atlas-any-good" in pages.anchors(page.read_text())
    (tmp_path / "page.md").write_text(
        "# A title\n[x](#a-title) [y](#none) [z](no.md)\n"
    )
    found = pages.broken(tmp_path / "page.md")
    assert {"#none", "no.md"} <= set(found)
