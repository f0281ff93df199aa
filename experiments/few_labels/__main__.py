"""`python -m experiments.few_labels`."""

from experiments.few_labels.experiment import EXPERIMENT
from experiments.runs import runner

if __name__ == "__main__":
    runner.command(EXPERIMENT)
