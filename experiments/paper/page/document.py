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
        summary=_summary(report.summary, rows),
        tables=_tables(report),
        pictures=_pictures(pictures, cells),
        settings=_settings(settings),
        style=(_TEMPLATES / "page.css").read_text("utf-8"),
        script=(_TEMPLATES / "page.js").read_text("utf-8"),
        data=_json(data),
        sheet=_uri(sheet),
        plotly=_plotly(),
    )


def _summary(summary: Section, rows: Rows) -> str:
    """What holds of all settings, said once, and the facts that hold."""
    parts = [_markdown(summary.notes), *_tables_of(summary)]
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
    cells: dict[str, list[str]] = {}
    for f in facts:
        if not f.holds:
            cell = f"{f.scenario} {f.setting} ({f.more:.3f} against {f.less:.3f})"
            cells.setdefault(f.statement, []).append(cell)
    lines = (f"{statement}: {', '.join(where)}" for statement, where in cells.items())
    against = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    held = sum(map(bool, (f.holds for f in facts)))
    exceptions = f"; these do not:<ul>{against}</ul>" if against else "."
    return f"<li>Under {protocol}, {held} of {len(facts)} hold{exceptions}</li>"


def _tables(report: Report) -> str:
    """Those of all sections, and how they are to be read."""
    how = _markdown(report.how_to_read)
    parts = [
        _details("How to read the tables", how, opened=False),
        _table(report.overview, "Accuracy in all settings"),
    ]
    for s in (*report.sections, *report.beside):
        inside = _markdown(s.notes) + "".join(_tables_of(s))
        # Of one setting all is open; of several, a list to choose from.
        opened = len(report.sections) < 2 or s in report.beside
        parts.append(_details(_inline(s.title), inside, opened))
    return "\n".join(parts)


def _details(title: str, inside: str, opened: bool) -> str:
    """A part that folds away, whose title is a heading."""
    return (
        f"<details{' open' if opened else ''}><summary><h3>{title}</h3></summary>"
        f"{inside}</details>"
    )


def _tables_of(section: Section) -> list[str]:
    """Its tables; of several each is named after its first figure, too."""
    several = len(section.tables) > 1
    return [
        _table(t, f"{section.title}: {t.head[1]}" if several else section.title)
        for t in section.tables
    ]


def _table(table: Table, name: str) -> str:
    """A table that sorts and scrolls, with a name for screen readers."""
    body = "\n".join(_line(line, "row") for line in table.lines)
    return (
        f'<div class="scroll"><table class="sorts" aria-label="{html.escape(name)}">\n'
        f"<thead>\n{_line(table.head, 'col')}\n</thead>\n"
        f"<tbody>\n{body}\n</tbody>\n</table></div>\n"
    )


def _line(cells: Sequence[str], scope: str) -> str:
    """Headings ("col"), or cells after their heading ("row")."""
    tags = ["th", *["th" if scope == "col" else "td"] * (len(cells) - 1)]
    inside = "\n".join(
        f"<{tag}{f' scope={scope}' if tag == 'th' else ''}>{_inline(cell)}</{tag}>"
        for tag, cell in zip(tags, cells, strict=True)
    )
    return f"<tr>\n{inside}\n</tr>"


def _pictures(pictures: Mapping[str, Path], cells: Sequence[Cell]) -> str:
    parts = [_picture(words, file, words) for words, file in pictures.items()]
    for cell in cells:
        title = html.escape(f"{cell.name}: {cell.title}")
        inside = "".join(
            _picture(words, file, f"{words}, {cell.name}")
            for words, file in cell.pictures.items()
        )
        parts.append(_details(title, inside, opened=len(cells) < 2))
    return "\n".join(parts)


def _picture(words: str, file: Path, name: str) -> str:
    """A saved picture in a third of the bytes, with a name."""
    with Image.open(file) as image:
        width, height = image.size
        source = _uri(encoded(image.convert("RGB"), quality=75))
    words, name = html.escape(words), html.escape(name)
    return (
        f'<figure><figcaption>{words}</figcaption><img src="{source}" alt="{name}" '
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
            f'<h3>{heading}</h3><div class="scroll"><table aria-label="{heading}">'
            f"{lines}</table></div>"
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
