"""Rows of the results, found by what they hold."""

from typing import Any

from experiments.runs.rows import Rows, in_cell


def select(rows: Rows, **wanted: Any) -> Rows:
    """The rows that have these values."""
    return [row for row in rows if wanted.items() <= row.items()]


def values(rows: Rows, **wanted: Any) -> list[float]:
    """The values of these rows, a seed each."""
    return [row["value"] for row in select(rows, **wanted)]


def cell_or_nothing(known: list[float]) -> str:
    """As `in_cell`, and empty where a method has no such value."""
    return in_cell(known) if known else ""
