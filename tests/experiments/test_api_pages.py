"""The API pages: every public name is on one, with all that its docstring says."""

import inspect
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import public_names
import pytest

import jatlas

PUBLIC = public_names.canonical()
PAGES = Path(jatlas.__file__).parents[1] / "experiments/api_pages"
SECTIONS = ["Args:", "Attributes:", "Returns:", "Raises:", "Example:"]


def test_every_public_name_is_on_one_page():
    text = "\n".join(file.read_text() for file in PAGES.glob("*.rst"))
    module, named = "", []
    directive = r"^\.\. (currentmodule|autoclass|autofunction):: ([\w.]+)$"
    for kind, name in re.findall(directive, text, flags=re.M):
        if kind == "currentmodule":
            module = name
        else:
            named.append((kind, f"{module}.{name}".removeprefix("jatlas.")))
    assert len(named) == text.count(".. auto")
    assert sorted(name for _, name in named) == sorted(PUBLIC)
    for kind, name in named:
        is_class = inspect.isclass(PUBLIC[name])
        assert is_class == (kind == "autoclass"), name


def test_every_page_is_in_the_table_of_contents():
    index = (PAGES / "index.rst").read_text()
    listed = re.search(r":maxdepth: 2\n\n((?:   \w+\n)+)", index)[1].split()
    pages = {file.stem for file in PAGES.glob("*.rst")} - {"index"}
    assert sorted(listed) == sorted(pages)


class Text(HTMLParser):
    """What is to be read on a page."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_data(self, data):
        self.found.append(data)


def letters(text):
    """Without spaces, quotes and signs, which markup may turn into others."""
    return re.sub(r"\W", "", text)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """All pages as text, built as CONTRIBUTING.md says, warnings being errors."""
    out = tmp_path_factory.mktemp("api")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html"]
    run = subprocess.run(
        [*command, str(PAGES), str(out)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert list(PAGES.glob("_build")) == []
    pages = {}
    for file in out.glob("*.html"):
        reader = Text()
        reader.feed(file.read_text())
        pages[file.stem] = " ".join("".join(reader.found).split())
    return pages


@pytest.mark.slow
def test_the_pages_say_all_that_the_docstrings_say(built):
    words = letters("".join(built.values()))
    for name, value in PUBLIC.items():
        lines = inspect.getdoc(value).splitlines()
        for line in lines:
            if line.strip() in SECTIONS or "  " in line.strip():  # or of a table
                continue
            described = re.match(r" {4}[\w, ]+: (.*)", line)
            text = letters(described[1] if described else line)
            assert text in words, f"{name}: {line}"


@pytest.mark.slow
def test_signatures_read_as_they_are_written(built):
    pages = ("merging", "charts", "files", "running")
    merging, charts, files, running = (built[page] for page in pages)
    assert "presence: Bool[AnyArray, 'M N']," in merging
    assert "weights: Weights | None = None" in merging
    assert "empty: Number = jnp.nan" in merging
    assert (
        "class AtlasState(total: Float[Array, 'N A'], count: Float[Array, 'N'])"
        in running
    )
    assert "num_features: int = 128, rngs: nnx.Rngs, )" in charts
    assert "report: Callable[[Progress], None] | None = None" in charts
    # The one of files is another than the public one, which would be linked.
    assert "progress: Callable[[int, int], None] | None = None" in files
    everything = "".join(built.values())
    assert "jaxlib" not in everything
    assert "Return type" not in everything
    assert re.search(r"num_classes \W C\.", everything)  # no list of A, B and C
