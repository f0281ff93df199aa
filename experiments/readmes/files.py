"""The published results: what a run wrote, in `experiments/NAME/published/RUN.json`.

The whole file of the run, or what its tables need of it. Under `published` stand the
command, the seconds it took, and what was left out, where they are known.
"""

import json
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from experiments.runs.rows import markdown_table

EXPERIMENTS = Path(__file__).parents[1]
Results = dict[str, Any]
_PLACES = ("out", "data_dir", "manual_dir")


class NotPublished(KeyError):
    """A run without a file."""


class About(NamedTuple):
    """Where figures come from: what a run says of itself.

    Attributes:
        options: what was asked for.
        versions: of Python and packages.
        device: what it ran on.
    """

    options: dict[str, Any]
    versions: dict[str, str]
    device: str


class Runs:
    """The published runs of an experiment, by name."""

    def __init__(self, experiment: str, folder: Path = EXPERIMENTS) -> None:
        """Of `experiments/EXPERIMENT/published`, or of another folder's."""
        self.folder = folder / experiment / "published"

    def __getitem__(self, name: str) -> Results:
        """What the run wrote.

        Raises:
            NotPublished: if there is no such file.
        """
        file = self.folder / f"{name}.json"
        if not file.exists():
            raise NotPublished(str(file.relative_to(self.folder.parents[2])))
        return _read(file, file.stat().st_mtime_ns)

    def __contains__(self, name: str) -> bool:
        """Whether there is a file."""
        return (self.folder / f"{name}.json").exists()

    def names(self) -> list[str]:
        """Those that there are."""
        return sorted(file.stem for file in self.folder.glob("*.json"))


def about(results: Results) -> About:
    """What a run says of itself.

    Raises:
        KeyError: if it does not say one of the three.
    """
    settings = results.get("settings", results)
    machine = settings.get("machine", settings)
    device = machine["device"] if "device" in machine else ", ".join(machine["devices"])
    return About(settings["options"], settings["versions"], device)


def runs_table(runs: Runs) -> str:
    """The files behind an experiment's tables, and their provenance."""
    lines = []
    for name in runs.names():
        results = runs[name]
        described = about(results)
        seeds = described.options.get("seeds", ())
        published = results.get("published", {})
        part = "part" in published
        lines.append(
            [
                f"[{name}](published/{name}.json)",
                f"`{published['command']}`" if "command" in published else "",
                ", ".join(map(str, seeds)) + (" (not finished)" if part else ""),
                _minutes(results),
                described.device,
                described.versions["jax"],
            ]
        )
    head = ("results", "command", "seeds", "minutes", "device", "jax")
    return markdown_table(head, lines)


def _minutes(results: Results) -> str:
    """How long it took, if that is known."""
    seconds = results.get("published", {}).get("seconds")
    if seconds is None and "jobs" in results:
        seconds = sum(job["took"] for job in results["jobs"].values())
    return "" if seconds is None else f"{seconds / 60:.1f}"


def publish(
    source: Path,
    target: Path,
    keep: Callable[[dict[str, Any]], bool],
    *,
    command: str | None = None,
    seconds: float | None = None,
) -> None:
    """Write what the tables need of a run's results.

    Args:
        source: the results that the run wrote, or the folder of a run that was not
            finished: then of the seeds of which every setting is done.
        target: the file to write.
        keep: of a row, whether a table needs it.
        command: that made them.
        seconds: that it took.
    """
    whole = not source.is_dir()
    results = json.loads(source.read_text("utf-8")) if whole else unfinished(source)
    results = _without_places(results)
    origin = {"command": command, "seconds": seconds}
    made = {name: value for name, value in origin.items() if value is not None}
    if not whole:
        made["part"] = "the seeds that were done of a run that was not finished"
    rows = results.get("rows")
    if isinstance(rows, list) and rows and isinstance(rows[0], dict):
        kept = [row for row in rows if keep(row)]
        if len(kept) < len(rows):
            made["cut"] = f"{len(rows) - len(kept):,} rows that no table shows"
        results = results | {"rows": kept}
    target.parent.mkdir(exist_ok=True)
    target.write_text(_compact({"published": made} | results), "utf-8")


def unfinished(folder: Path) -> Results:
    """What is done of a run that keeps its parts as `parts/CELL_seedN.json`.

    Only seeds with as many cells as any seed has: a table mixes no others.

    Raises:
        FileNotFoundError: if the folder has no such parts.
    """
    settings = json.loads((folder / "settings.json").read_text("utf-8"))
    cells: dict[int, list[Any]] = {}
    for file in sorted((folder / "parts").glob("*_seed*.json")):
        seed = int(file.stem.rpartition("_seed")[2])
        cells.setdefault(seed, []).append(json.loads(file.read_text("utf-8")))
    if not cells:
        raise FileNotFoundError(f"{folder} has no parts/*_seed*.json")
    most = max(map(len, cells.values()))
    seeds = sorted(seed for seed, parts in cells.items() if len(parts) == most)
    rows = [row for seed in seeds for part in cells[seed] for row in _rows(part)]
    options = settings["options"] | {"seeds": seeds}
    return {"settings": settings | {"options": options}, "rows": rows}


def _rows(part: Any) -> list[Any]:
    """The rows of a part, which can have more beside them."""
    return part if isinstance(part, list) else part["rows"]


def _without_places(results: Results) -> Results:
    """The results without the folders of the machine that made them."""
    if "settings" in results:
        return results | {"settings": _without_places(results["settings"])}
    options = results.get("options", {})
    return results | {"options": {k: v for k, v in options.items() if k not in _PLACES}}


def _compact(results: Results) -> str:
    """JSON, a line a row."""
    lines = []
    for name, value in results.items():
        if name == "rows" and isinstance(value, list):
            text = "[\n" + ",\n".join(_lines(value)) + "\n]"
        else:
            text = json.dumps(value, ensure_ascii=False)
        lines.append(f"{json.dumps(name)}: {text}")
    return "{" + ",\n".join(lines) + "}\n"


def _lines(rows: Iterable[Any]) -> Iterable[str]:
    return (json.dumps(row, ensure_ascii=False) for row in rows)


@lru_cache(maxsize=32)
def _read(file: Path, changed: int) -> Results:
    return json.loads(file.read_text("utf-8"))
