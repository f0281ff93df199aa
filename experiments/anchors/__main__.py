"""`python -m experiments.anchors`."""

from experiments.anchors.experiment import EXPERIMENT
from experiments.runs import runner

if __name__ == "__main__":
    runner.command(EXPERIMENT)
