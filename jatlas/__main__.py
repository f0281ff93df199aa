"""`python -m jatlas`, or `jatlas`: commands that merge files of embeddings."""

import sys

from jatlas.cli import interrupts
from jatlas.cli.commands import main


def command() -> int:
    """Run the command line of this process; its exit code."""
    interrupts.restore()
    return main()


if __name__ == "__main__":
    sys.exit(command())
