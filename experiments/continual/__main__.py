"""`python -m experiments.continual`."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before JAX starts

import tyro

from experiments.continual.measure import Continual, main

if __name__ == "__main__":
    main(tyro.cli(Continual, prog="python -m experiments.continual"))
