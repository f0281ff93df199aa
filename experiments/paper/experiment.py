"""What does merging gain? The main job and the paper's tables.

Source: Crisostomi et al., "From Charts to Atlas" (2023).
"""

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from experiments.measures.protocols import PROTOCOLS
from experiments.paper import published_tables, tables
from experiments.paper.measure import measure
from experiments.paper.published_tables import PaperOptions
from experiments.runs.experiment import Experiment, Run
from experiments.runs.rows import Rows, of_setting, select
from experiments.runs.settings import titles_of


def draw(run: Run, results: dict[str, Any]) -> None:
    """The pictures and the page."""
    from experiments.paper import outputs  # takes seconds, and is needed last

    outputs.show(run, results)


def brief(rows: Rows) -> list[str]:
    """A unit's accuracies in a line: oracle / blind."""
    spaces = ("original_abs", "merged", "merged_nystroem")
    shown = [f"{tables.SPACES[space]} {_by_protocol(rows, space)}" for space in spaces]
    return [f"accuracy, oracle / blind: {'; '.join(shown)}"]


def _by_protocol(rows: Rows, space: str) -> str:
    """The mean accuracies of a space over seeds: oracle / blind."""
    values = [select(rows, p, space, "accuracy").values() for p in PROTOCOLS]
    return " / ".join(f"{sum(v) / len(v):.3f}" if v else "  -  " for v in values)


def accuracies(results: dict[str, Any]) -> list[Table | str]:
    """The accuracies alone, for the terminal: oracle / blind."""
    table = Table("space", title="Accuracy: oracle / blind", box=SIMPLE_HEAD)
    titles = titles_of(results["settings"]["options"]["settings"])
    for scenario, setting in titles:
        table.add_column(f"{scenario} {setting}", justify="right", no_wrap=True)
    for space, name in tables.SPACES.items():
        of_titles = (of_setting(results["rows"], key) for key in titles)
        table.add_row(name, *(_by_protocol(rows, space) for rows in of_titles))
    return [
        table,
        "Mean over seeds. oracle: a sample is embedded by the charts of its own tasks, "
        "which takes knowledge of its class. blind: by all charts.",
        *tables.cautions(results),
        *results["settings"].get("notes", ()),
    ]


EXPERIMENT = Experiment(
    name="paper",
    about=(
        "Train charts that each know part of the data, merge their spaces, and measure "
        'what is gained: the three scenarios of "From Charts to Atlas" (Crisostomi et '
        "al., 2023). Writes results.json, table.md and pictures; by default in 5 to 10 "
        "minutes on 2 cores, with --seeds 0 in two to four. If it is interrupted, the "
        "same command goes on where it was."
    ),
    options=PaperOptions(),
    measure=measure,
    report=tables.table,
    draw=draw,
    show=accuracies,
    brief=brief,
    resolve=published_tables.resolve,
    subfolder=published_tables.subfolder,
)
