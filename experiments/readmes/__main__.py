"""Write the tables and figures of all READMEs anew: `python -m experiments.readmes`.

They are made of the results in `experiments/NAME/published/`. A new run gets there by
`--publish results/federated/own/results.json federated/own`, or by copying its file.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before JAX starts

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from experiments.readmes import pages
from experiments.runs import runner

ABOUT = "Write the tables and figures of all READMEs anew, from the published results."


@dataclass(frozen=True)
class Options:
    """The options of the command."""

    check: bool = False
    """Write nothing; name all that differs, and end with exit code 1 if something
    does."""
    publish: Annotated[tuple[Path, str] | None, tyro.conf.arg(metavar="FILE NAME")] = (
        None
    )
    """First take a run's results.json, as EXPERIMENT/RUN."""
    command: str | None = None
    """With --publish: the command that made it."""
    seconds: float | None = None
    """With --publish: how long it took."""


def main(options: Options) -> None:
    """What the command does."""
    if options.publish is not None:
        source, name = options.publish
        pages.publish(source, name, options.command, options.seconds)
    faults = pages.check() if options.check else pages.renew()
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    prog = "python -m experiments.readmes"
    main(runner.parse_options(Options(), (), ABOUT, prog))
