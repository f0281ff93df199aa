"""Every README and guide, and what should stand in it."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from experiments.readmes import (
    anchors,
    benchmarks,
    blind,
    continual,
    federated,
    files,
    marks,
    multihost,
    paper,
    two_encoders,
)
from experiments.readmes.files import NotPublished, Runs

ROOT = files.EXPERIMENTS.parent
# Each has TABLES, functions of `Runs` by name, and perhaps `keep`, which says of a row
# of the results whether a table needs it.
TABLES: dict[str, ModuleType] = {
    module.__name__.rpartition(".")[2]: module
    for module in (
        paper,
        anchors,
        blind,
        two_encoders,
        continual,
        federated,
        multihost,
        benchmarks,
    )
}


def pages() -> list[Path]:
    """The files that are looked at."""
    return [ROOT / "README.md", *sorted((ROOT / "experiments").glob("**/*.md"))]


def renew() -> list[str]:
    """Write all pages anew; what is wrong with their marks, in words."""
    return _each(lambda page, text: page.write_text(text))


def check() -> list[str]:
    """What differs from what should stand there, in words."""

    def differs(page: Path, text: str) -> str | None:
        both = zip(page.read_text().splitlines(), text.splitlines(), strict=False)
        different = next((pair for pair in both if pair[0] != pair[1]), None)
        if page.read_text() == text:
            return None
        there, right = different or ("the end", "more lines, or fewer")
        return f"{there.strip()!r} should be {right.strip()!r}"

    return _each(differs)


def table(name: str, folder: Path | None = None) -> str:
    """The Markdown of a table; a sentence if its run is not published yet.

    Args:
        name: EXPERIMENT.TABLE.
        folder: of the experiments whose results are read; those of this package if
            left out.

    Raises:
        marks.BadMark: if there is no table of this name.
    """
    experiment, _, own = name.partition(".")
    if experiment not in TABLES:
        raise marks.BadMark(f"{name}: no experiment of these: {', '.join(TABLES)}")
    known = {"runs": files.runs_table, **TABLES[experiment].TABLES}
    if own not in known:
        raise marks.BadMark(f"{name}: {own!r} is not one of {', '.join(known)}")
    try:
        return known[own](Runs(experiment, folder or files.EXPERIMENTS))
    except NotPublished as error:
        return f"*No results yet: `{error.args[0]}` is not there.*"


def publish(
    source: Path, name: str, command: str | None = None, seconds: float | None = None
) -> None:
    """Take a run's results into `experiments/EXPERIMENT/published/RUN.json`.

    Args:
        source: the file that the run wrote, or its folder if it was not finished.
        name: EXPERIMENT/RUN.
        command: that made it.
        seconds: that it took.
    """
    experiment, _, run = name.partition("/")
    target = files.EXPERIMENTS / experiment / "published" / f"{run}.json"
    keep = getattr(TABLES[experiment], "keep", lambda row: True)
    files.publish(source, target, keep, command=command, seconds=seconds)


def _each(act: Callable[[Path, str], str | int | None]) -> list[str]:
    """Call with each page and what should stand in it; the faults, in words."""
    faults = []
    for page in pages():
        name = page.relative_to(ROOT)
        try:
            text = marks.renewed(page.read_text(), table)
        except marks.BadMark as error:
            faults.append(f"{name}: {error}")
            continue
        if isinstance(said := act(page, text), str):
            faults.append(f"{name}: {said}")
    return faults
