"""The main job: `python -m experiments`, from real images to a table."""

from experiments.paper.experiment import EXPERIMENT
from experiments.runs import runner

if __name__ == "__main__":
    runner.command(EXPERIMENT, prog="python -m experiments")
