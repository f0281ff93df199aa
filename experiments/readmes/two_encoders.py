"""Two encoders' spaces: does a sample find itself in the other's chart?"""

from collections.abc import Callable
from functools import partial

from experiments.readmes.files import Runs
from experiments.two_encoders import report

RUN = "default"


def made(runs: Runs, name: str) -> str:
    """One of the tables that the run itself writes."""
    return report.tables(runs[RUN])[name]()


PAIRS = ("sentences", "images")
NAMES = (
    *(f"{pair}_{count}" for pair in PAIRS for count in (64, 256, 1000)),
    *(f"chain_{pair}" for pair in PAIRS),
    *(f"index_{pair}_{way}" for pair in (*PAIRS, "synthetic") for way in ("ab", "ba")),
    "overview",
    "translation",
    "index_mrr",
    "index_new",
    "gaps",
    "index_gaps",
)
TABLES: dict[str, Callable[[Runs], str]] = {
    name: partial(made, name=name) for name in NAMES
}
