"""`python -m jatlas`: commands that merge files of embeddings."""

import sys

from jatlas.cli import interrupts
from jatlas.cli.commands import main

if __name__ == "__main__":
    interrupts.restore()
    sys.exit(main())
