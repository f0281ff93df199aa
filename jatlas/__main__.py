"""`python -m jatlas`: merge, add, project, compare and view files of embeddings."""

import sys

from jatlas.cli import interrupts
from jatlas.cli.commands import main

if __name__ == "__main__":
    interrupts.restore()
    sys.exit(main())
