"""`python -m experiments.two_encoders`."""

from experiments.runs import runner
from experiments.two_encoders.experiment import EXPERIMENT

if __name__ == "__main__":
    runner.command(EXPERIMENT)
