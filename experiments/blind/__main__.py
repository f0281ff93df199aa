"""`python -m experiments.blind`."""

from experiments.blind.experiment import EXPERIMENT
from experiments.runs import runner

if __name__ == "__main__":
    runner.command(EXPERIMENT)
