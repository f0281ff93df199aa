"""The main job: `python -m experiments`, from real images to a table.

Source: Crisostomi et al., "From Charts to Atlas" (2023). The default takes 5
to 10 minutes on 2 cores; `--seeds 0` two to four.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before JAX starts

import tyro

from experiments.runs import runner
from experiments.runs.config import Options

if __name__ == "__main__":
    runner.do(tyro.cli(Options, prog="python -m experiments"))
