"""Every README and guide, and what should stand in it."""

from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from pathlib import Path
from types import ModuleType

from experiments.readmes import files, marks
from experiments.readmes.files import NotPublished, Runs
from experiments.readmes.tables import (
    anchors,
    benchmarks,
    blind,
    continual,
    federated,
    few_labels,
    multihost,
    paper,
    two_encoders,
)

ROOT = files.EXPERIMENTS.parent
# Each has TABLES, functions of `Runs` by name, and perhaps `keep`, which says of a row
# of the results whether a table needs it.
TABLES: dict[str, ModuleType] = {
    module.__name__.rpartition(".")[2]: module
    for module in (
        paper,
        anchors,
        blind,
        few_labels,
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
    """Write all pages anew; what is wrong with their marks, in words.

    A page with a bad mark is left as it is.
    """
    faults = []
    for page in pages():
        text, bad = marks.renewal(page.read_text("utf-8"), table)
        faults += _of_page(page, bad)
        if not bad:
            page.write_text(text, "utf-8")
    return faults


def check() -> list[str]:
    """All bad marks and outdated lines, in words."""
    faults = []
    for page in pages():
        text, bad = marks.renewal(page.read_text("utf-8"), table)
        faults += _of_page(page, [*bad, *_different(page.read_text("utf-8"), text)])
    return faults


def table(name: str, folder: Path | None = None) -> str:
    """The Markdown of a table, or a sentence if it is unpublished.

    Args:
        name: EXPERIMENT.TABLE.
        folder: of the experiments whose results are read; those of this package if
            left out.

    Raises:
        marks.BadMark: if there is no table of this name.
    """
    experiment, _, table_name = name.partition(".")
    if experiment not in TABLES:
        raise marks.BadMark(f"{name}: no experiment of these: {', '.join(TABLES)}")
    known = {"runs": files.runs_table, **TABLES[experiment].TABLES}
    if table_name not in known:
        raise marks.BadMark(f"{name}: {table_name!r} is not one of {', '.join(known)}")
    try:
        return known[table_name](Runs(experiment, folder or files.EXPERIMENTS))
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


def _of_page(page: Path, faults: Iterable[str]) -> list[str]:
    return [f"{page.relative_to(ROOT)}: {fault}" for fault in faults]


def _different(there: str, right: str) -> Iterator[str]:
    """Lines that should differ, and blocks of the wrong length."""
    old, new = there.splitlines(), right.splitlines()
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    for kind, start, stop, first, last in matcher.get_opcodes():
        if kind == "equal":
            continue
        pairs = zip(old[start:stop], new[first:last], strict=False)
        if stop - start != last - first:
            blocks = "\n".join(old[start:stop]), "\n".join(new[first:last])
            pairs = iter([blocks])
        for number, (line, wanted) in enumerate(pairs, start=start + 1):
            yield f"line {number}, {line.strip()!r} should be {wanted.strip()!r}"
