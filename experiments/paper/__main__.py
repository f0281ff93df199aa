"""`python -m experiments.paper`."""

from experiments.paper.experiment import EXPERIMENT
from experiments.runs import runner

if __name__ == "__main__":
    runner.command(EXPERIMENT)
