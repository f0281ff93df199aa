"""`python -m experiments.federated`."""

from experiments.federated.experiment import EXPERIMENT
from experiments.runs import runner

if __name__ == "__main__":
    runner.command(EXPERIMENT)
