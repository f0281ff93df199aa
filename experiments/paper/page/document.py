"""The page of a run: one file that opens from disk, without a network or a server.

Tables, pictures and an interactive view of the spaces, drawn by Plotly, which is in the
page, packed. Nothing that is read from data becomes markup.
"""

import base64
import functools
import gzip
import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from markdown_it import MarkdownIt
from PIL import Image
from plotly.offline import get_plotlyjs

from experiments.data import storage
from experiments.data.dataset import Dataset
from experiments.measures.protocols import PROTOCOLS
from experiments.paper import claims
from experiments.paper.page.points import Cell, encoded, points
from experiments.runs.rows import Rows

_TEMPLATES = Path(__file__).parent / "templates"
_IN_WORDS = "*In words:* "


class Section(NamedTuple):
    """A part of `table.md`.

    Attributes:
        title: its heading, as Markdown.
        words: what its tables say, as Markdown; empty if that is not said.
        tables: its tables, as Markdown.
        rest: whatever else is there, as Markdown.
    """

    title: str
    words: str
    tables: str
    rest: str


def write(
    path: Path,
    text: str,
    settings: Mapping[str, Any],
    rows: Rows,
    cells: Sequence[Cell],
    dataset: Dataset,
    pictures: Mapping[str, Path],
) -> None:
    """Write the page, in full or not at all: the same bytes every time.

    Args:
        path: of the page.
        text: of `table.md`.
        settings: what `runner.describe` gave.
        rows: of the results.
        cells: those of which the spaces are shown.
        dataset: of the run.
        pictures: of the whole run, by what is in them.

    Raises:
        ValueError: as `points.points`.
        OSError: if a picture cannot be read.
    """
    storage.write_text(path, page(text, settings, rows, cells, dataset, pictures))


def page(
    text: str,
    settings: Mapping[str, Any],
    rows: Rows,
    cells: Sequence[Cell],
    dataset: Dataset,
    pictures: Mapping[str, Path],
) -> str:
    """The page, as HTML; of the arguments of `write`."""
    head, *sections = parse(text)
    data, sheet = points(cells, dataset)
    return Template((_TEMPLATES / "page.html").read_text()).substitute(
        title=html.escape(f"jatlas on {dataset.name}"),
        about=_paragraphs(head.rest.split("\n\n")[0], *map(html.escape, dataset.notes)),
        summary=_summary(sections, rows),
        tables=_tables(head, sections),
        pictures=_pictures(pictures, cells),
        settings=_settings(settings),
        style=(_TEMPLATES / "page.css").read_text(),
        script=(_TEMPLATES / "page.js").read_text(),
        data=_json(data),
        sheet=_uri(sheet),
        plotly=_plotly(),
    )


def parse(text: str) -> list[Section]:
    r"""The parts of a Markdown text, as its headings cut it; the first is its head.

    Example:
        >>> parse("# All\n\nfive seeds\n\n## A: some\n\n| a |\n|---|\n| 1 |")[1]
        Section(title='A: some', words='', tables='| a |\n|---|\n| 1 |', rest='')
    """
    sections = []
    for part in re.split(r"^##? ", text, flags=re.MULTILINE)[1:]:
        title, _, body = part.partition("\n")
        blocks = [b.strip("\n") for b in re.split(r"\n{2,}|\n(?=\*In words)", body)]
        tables = [b for b in blocks if b.startswith("|")]
        words = [b for b in blocks if b.startswith(_IN_WORDS)]
        rest = [b for b in blocks if b and b not in tables and b not in words]
        said = " ".join(words).removeprefix(_IN_WORDS)
        sections.append(Section(title, said, "\n\n".join(tables), "\n\n".join(rest)))
    return sections


def _summary(sections: Sequence[Section], rows: Rows) -> str:
    """What the tables say, section by section, and how many direction facts hold."""
    parts = [
        f"<h3>{_inline(s.title)}</h3>\n{_markdown(s.words[:1].upper() + s.words[1:])}"
        for s in sections
        if s.words
    ]
    facts = claims.check(rows)
    if facts:
        lines = [_held(p, [f for f in facts if f.protocol == p]) for p in PROTOCOLS]
        parts.append(
            "<h3>Direction facts</h3>\n<p>Of what held in all cells that the paper "
            "published, under its own protocol, oracle:</p>\n"
            f"<ul>{''.join(lines)}</ul>"
        )
    return "\n".join(parts)


def _held(protocol: str, facts: Sequence[claims.Fact]) -> str:
    """How many facts hold under a protocol, and a list of those that do not."""
    against = "".join(
        f"<li>{html.escape(f'{f.scenario} {f.setting}: {f.statement}')} "
        f"({f.more:.3f} against {f.less:.3f})</li>"
        for f in facts
        if not f.holds
    )
    held = sum(map(bool, (f.holds for f in facts)))
    rest = f"; these do not:<ul>{against}</ul>" if against else "."
    return f"<li>Under {protocol}, {held} of {len(facts)} hold{rest}</li>"


def _tables(head: Section, sections: Sequence[Section]) -> str:
    """Those of all sections, and how they are to be read."""
    _, _, how = head.rest.partition("\n\n")
    parts = [
        f"<details><summary>How to read the tables</summary>{_markdown(how)}</details>",
        _markdown(head.tables),
    ]
    first = next((s for s in sections if s.words), None)
    for s in sections:
        opened = " open" if s is first or not s.words else ""
        inside = _markdown(s.rest) + _markdown(s.tables)
        title = f"<summary>{_inline(s.title)}</summary>"
        parts.append(f"<details{opened}>{title}{inside}</details>")
    return "\n".join(parts)


def _pictures(pictures: Mapping[str, Path], cells: Sequence[Cell]) -> str:
    parts = [_picture(words, file) for words, file in pictures.items()]
    for number, cell in enumerate(cells):
        title = html.escape(f"{cell.name}: {cell.title}")
        inside = "".join(_picture(words, f) for words, f in cell.pictures.items())
        opened = " open" if number == 0 else ""
        parts.append(f"<details{opened}><summary>{title}</summary>{inside}</details>")
    return "\n".join(parts)


def _picture(words: str, file: Path) -> str:
    """A picture as it was saved, but in a third of the bytes."""
    with Image.open(file) as image:
        width, height = image.size
        source = _uri(encoded(image.convert("RGB"), quality=75))
    words = html.escape(words)
    return (
        f'<figure><figcaption>{words}</figcaption><img src="{source}" alt="{words}" '
        f'width="{width}" height="{height}" loading="lazy"></figure>'
    )


def _settings(settings: Mapping[str, Any]) -> str:
    """Options, versions and device, a table each."""
    parts = []
    for name, values in settings.items():
        of = values if isinstance(values, Mapping) else {name: values}
        lines = "".join(
            f"<tr><th scope=row>{html.escape(str(key))}</th>"
            f"<td>{html.escape(_said(value))}</td></tr>"
            for key, value in of.items()
        )
        heading = html.escape(name.capitalize())
        parts.append(
            f'<h3>{heading}</h3><div class="scroll"><table>{lines}</table></div>'
        )
    return "\n".join(parts)


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_said(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_said, value))
    return "unset" if value is None else str(value)


def _paragraphs(text: str, *escaped: str) -> str:
    return _markdown(text) + "".join(f"<p>{line}</p>" for line in escaped)


@functools.cache
def _converter() -> MarkdownIt:
    """Tables sort and scroll; nothing is loaded, linked to, or taken as HTML."""
    converter = MarkdownIt("commonmark", {"html": False}).enable("table")
    converter.disable(["image", "link", "autolink", "reference"])
    opened = '<div class="scroll"><table class="sorts">\n'
    converter.add_render_rule("table_open", lambda *_: opened)
    converter.add_render_rule("table_close", lambda *_: "</table></div>\n")
    return converter


def _markdown(text: str) -> str:
    return _converter().render(text)


def _inline(text: str) -> str:
    return _converter().renderInline(text)


def _json(data: Any) -> str:
    """JSON that cannot end the element it stands in."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _uri(image: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(image).decode()}"


@functools.cache
def _plotly() -> str:
    """Plotly, packed: a third of its 5 MB."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()
