"""`python -m experiments.paper`."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before JAX starts

import tyro

from experiments.paper.published_tables import Paper, options
from experiments.runs import runner

if __name__ == "__main__":
    runner.do(options(tyro.cli(Paper, prog="python -m experiments.paper")))
