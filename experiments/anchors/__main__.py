"""`python -m experiments.anchors`."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before JAX starts

import tyro

from experiments.anchors.measure import Sweep, main

if __name__ == "__main__":
    main(tyro.cli(Sweep, prog="python -m experiments.anchors"))
