"""The rows of the results, and how one finds some of them."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np

Rows = list[dict[str, Any]]


def of_setting(rows: Rows, setting: tuple[str, str]) -> Rows:
    """The rows of one (scenario, setting)."""
    return [r for r in rows if (r["scenario"], r["setting"]) == setting]


def select(rows: Rows, protocol: str, space: str, metric: str) -> dict[int, float]:
    """The values by seed; NaN where a run wrote null."""
    wanted = (protocol, space, metric)
    return {
        r["seed"]: float("nan") if r["value"] is None else r["value"]
        for r in rows
        if (r["protocol"], r["space"], r["metric"]) == wanted
    }


def settings_of(rows: Rows) -> list[tuple[str, str]]:
    """The (scenario, setting) that there are, in the order of the rows."""
    return list(dict.fromkeys((r["scenario"], r["setting"]) for r in rows))


def in_cell(values: Collection[float | None]) -> str:
    """Mean ± standard deviation as in tables; one value alone."""
    known = [np.nan if value is None else value for value in values]
    if not known:
        return "n/a"
    mean = f"{np.mean(known):.3f}"
    return mean if len(known) < 2 else f"{mean} ± {np.std(known, ddof=1):.3f}"


def markdown_table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, without an end of line after the last."""
    every = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in every)
