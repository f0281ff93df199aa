"""The parts of a report, for Markdown and the page."""

from collections.abc import Sequence
from typing import NamedTuple

from experiments.runs.rows import markdown_table


class Table(NamedTuple):
    """A table, whose cells are Markdown.

    Attributes:
        head: the names of the columns.
        lines: one list of cells a line.
    """

    head: Sequence[str]
    lines: Sequence[Sequence[str]]


class Section(NamedTuple):
    """A part of the report with a heading; texts are Markdown.

    Attributes:
        title: the heading.
        tables: its tables.
        notes: what stands above them.
    """

    title: str
    tables: Sequence[Table]
    notes: str = ""


class Report(NamedTuple):
    """The whole report of a run; all texts are Markdown.

    Attributes:
        title: the heading.
        about: what was run.
        how_to_read: notes on the data and on the tables.
        overview: the accuracies of all settings.
        summary: what they say, once for all settings.
        sections: one a setting.
        beside: those that compare settings, or with what was published.
    """

    title: str
    about: str
    how_to_read: str
    overview: Table
    summary: Section
    sections: Sequence[Section]
    beside: Sequence[Section] = ()


def report_in_markdown(report: Report) -> str:
    """The text of `table.md`."""
    head = [f"# {report.title}", report.about, report.how_to_read]
    parts = [*head, markdown_table(*report.overview)]
    parts += map(in_markdown, [report.summary, *report.sections, *report.beside])
    return "\n\n".join(parts) + "\n"


def in_markdown(section: Section) -> str:
    """A section as in `table.md`, without the last newline."""
    tables = [markdown_table(*table) for table in section.tables]
    parts = [f"## {section.title}", section.notes, *tables]
    return "\n\n".join(filter(None, parts))
