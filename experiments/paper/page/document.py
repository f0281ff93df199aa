"""The page of a run: one file that opens from disk.

It needs neither a network nor a server. Tables, pictures and an interactive view of the
spaces, drawn by Plotly, which is in the page, packed. Nothing that is read from data
becomes markup.
"""

import base64
import functools
import gzip
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from markdown_it import MarkdownIt
from PIL import Image
from plotly.offline import get_plotlyjs

from experiments.data import storage
from experiments.data.dataset import Dataset
from experiments.measures.protocols import PROTOCOLS
from experiments.paper import claims
from experiments.paper.page.points import Cell, encoded, points
from experiments.paper.sections import Report, Section, Table
from experiments.runs.rows import Rows

_TEMPLATES = Path(__file__).parent / "templates"


def write(
    path: Path,
    report: Report,
    settings: Mapping[str, Any],
    rows: Rows,
    cells: Sequence[Cell],
    dataset: Dataset,
    pictures: Mapping[str, Path],
) -> None:
    """Write the page in full or not at all.

    The bytes are the same every time.

    Args:
        path: of the page.
        report: from which `table.md` is made.
        settings: what `runner.describe` gave.
        rows: of the results.
        cells: those of which the spaces are shown.
        dataset: of the run.
        pictures: of the whole run, by what is in them.

    Raises:
        ValueError: as `points.points`.
        OSError: if a picture cannot be read.
    """
    storage.write_text(path, page(report, settings, rows, cells, dataset, pictures))


def page(
    report: Report,
    settings: Mapping[str, Any],
    rows: Rows,
    cells: Sequence[Cell],
    dataset: Dataset,
    pictures: Mapping[str, Path],
) -> str:
    """The page, as HTML; of the arguments of `write`."""
    data, sheet = points(cells, dataset)
    return Template((_TEMPLATES / "page.html").read_text("utf-8")).substitute(
        title=html.escape(f"jatlas on {dataset.name}"),
        about=_paragraphs(report.about, *map(html.escape, dataset.notes)),
        summary=_summary(report.sections, rows),
        tables=_tables(report),
        pictures=_pictures(pictures, cells),
        settings=_settings(settings),
        style=(_TEMPLATES / "page.css").read_text("utf-8"),
        script=(_TEMPLATES / "page.js").read_text("utf-8"),
        data=_json(data),
        sheet=_uri(sheet),
        plotly=_plotly(),
    )


def _summary(sections: Sequence[Section], rows: Rows) -> str:
    """The tables in words by section, and the facts that hold."""
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
    """The number of facts that hold, and a list of others."""
    against = "".join(
        f"<li>{html.escape(f'{f.scenario} {f.setting}: {f.statement}')} "
        f"({f.more:.3f} against {f.less:.3f})</li>"
        for f in facts
        if not f.holds
    )
    held = sum(map(bool, (f.holds for f in facts)))
    exceptions = f"; these do not:<ul>{against}</ul>" if against else "."
    return f"<li>Under {protocol}, {held} of {len(facts)} hold{exceptions}</li>"


def _tables(report: Report) -> str:
    """Those of all sections, and how they are to be read."""
    how = _markdown(report.how_to_read)
    parts = [
        f"<details><summary>How to read the tables</summary>{how}</details>",
        _table(report.overview),
    ]
    first = next((s for s in report.sections if s.words), None)
    for s in report.sections:
        opened = " open" if s is first or not s.words else ""
        inside = _markdown(s.notes) + "".join(map(_table, s.tables))
        title = f"<summary>{_inline(s.title)}</summary>"
        parts.append(f"<details{opened}>{title}{inside}</details>")
    return "\n".join(parts)


def _table(table: Table) -> str:
    """A table that sorts and scrolls."""
    body = "\n".join(_line("td", line) for line in table.lines)
    return (
        '<div class="scroll"><table class="sorts">\n'
        f"<thead>\n{_line('th', table.head)}\n</thead>\n"
        f"<tbody>\n{body}\n</tbody>\n</table></div>\n"
    )


def _line(tag: str, cells: Sequence[str]) -> str:
    inside = "\n".join(f"<{tag}>{_inline(cell)}</{tag}>" for cell in cells)
    return f"<tr>\n{inside}\n</tr>"


def _pictures(pictures: Mapping[str, Path], cells: Sequence[Cell]) -> str:
    parts = [_picture(words, file) for words, file in pictures.items()]
    for number, cell in enumerate(cells):
        title = html.escape(f"{cell.name}: {cell.title}")
        inside = "".join(_picture(words, f) for words, f in cell.pictures.items())
        opened = " open" if number == 0 else ""
        parts.append(f"<details{opened}><summary>{title}</summary>{inside}</details>")
    return "\n".join(parts)


def _picture(words: str, file: Path) -> str:
    """A saved picture in a third of the bytes."""
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
            f"<td>{html.escape(_in_words(value))}</td></tr>"
            for key, value in of.items()
        )
        heading = html.escape(name.capitalize())
        parts.append(
            f'<h3>{heading}</h3><div class="scroll"><table>{lines}</table></div>'
        )
    return "\n".join(parts)


def _in_words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_in_words(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_in_words, value))
    return "unset" if value is None else str(value)


def _paragraphs(text: str, *escaped: str) -> str:
    return _markdown(text) + "".join(f"<p>{line}</p>" for line in escaped)


@functools.cache
def _converter() -> MarkdownIt:
    """Nothing is loaded, linked to, or taken as HTML."""
    converter = MarkdownIt("commonmark", {"html": False})
    return converter.disable(["image", "link", "autolink", "reference"])


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
