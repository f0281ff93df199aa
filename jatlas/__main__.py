"""`python -m jatlas`, or `jatlas`: commands that merge files of embeddings."""

import io
import sys

from jatlas.cli import interrupts
from jatlas.cli.commands import main


def command() -> int:
    """Run the command line of this process; its exit code."""
    interrupts.restore()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Letters that the terminal does not have are shown by their numbers.
            stream.reconfigure(errors="backslashreplace")
    return main()


if __name__ == "__main__":
    sys.exit(command())
