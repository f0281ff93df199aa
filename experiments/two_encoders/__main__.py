"""`python -m experiments.two_encoders`."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before JAX starts

import tyro

from experiments.two_encoders.measure import Options, main

if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m experiments.two_encoders"))
