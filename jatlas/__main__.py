"""`python -m jatlas`: commands that merge files of embeddings, and look at them."""

import sys

from jatlas.cli import interrupts
from jatlas.cli.commands import main

if __name__ == "__main__":
    interrupts.restore()
    sys.exit(main())
