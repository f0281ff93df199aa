"""`python -m experiments.continual`."""

from experiments.continual.experiment import EXPERIMENT
from experiments.runs import runner

if __name__ == "__main__":
    runner.command(EXPERIMENT)
