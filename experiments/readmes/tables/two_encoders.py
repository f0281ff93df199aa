"""Two encoders' spaces: does a sample find itself in the other's chart?"""

from collections.abc import Callable
from functools import partial

from experiments.readmes.files import Runs
from experiments.two_encoders import report
from experiments.two_encoders.tables.change import CHANGES

RUN, CHANGE_RUN = "default", "change"


def made(runs: Runs, name: str, run: str = RUN) -> str:
    """One of the tables that a run itself writes."""
    return report.tables(runs[run])[name]()


PAIRS = ("sentences", "images")
WAYS = CHANGES["sentences"]
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
TABLES |= {
    name: partial(made, name=name, run=CHANGE_RUN)
    for name in (*(f"change_sentences_{way}" for way in WAYS), "change_beforehand")
}
