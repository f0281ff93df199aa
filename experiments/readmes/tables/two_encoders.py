"""Two encoders' spaces: does a sample find itself in the other's chart?"""

from collections.abc import Callable
from functools import partial

from experiments.readmes.files import Runs
from experiments.two_encoders import report
from experiments.two_encoders.tables.change import CHANGES

RUN, GROWN_RUN = "default", "grown"


def made(runs: Runs, name: str, run: str = RUN) -> str:
    """One of the tables that a run itself writes."""
    return report.tables(runs[run])[name]()


PAIRS = ("sentences", "images")
NAMES = (
    *(f"{pair}_{count}" for pair in PAIRS for count in (64, 256, 1000)),
    *(f"chain_{pair}" for pair in PAIRS),
    *(f"index_{pair}_{way}" for pair in (*PAIRS, "synthetic") for way in ("ab", "ba")),
    *(f"change_{pair}_{way}" for pair in PAIRS for way in CHANGES[pair]),
    "change_beforehand",
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
TABLES |= {
    f"grown_{pair}": partial(made, name=f"grown_{pair}", run=GROWN_RUN)
    for pair in PAIRS
}
