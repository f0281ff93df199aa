"""The rows of the results, and how one finds some of them."""

from typing import Any

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
