"""Twenty kills at random moments of the main job end in an undisturbed run's files."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
KILLS = 20
JOB = [sys.executable, "-m", "experiments", "--dataset", "digits"]
JOB += ["--settings", "S4_N2", "T2", "--seeds", "0", "--max-epochs", "3"]
JOB += ["--probe-epochs", "10"]


def start(folder):
    command = [*JOB, "--out", str(folder)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def finished(folder):
    """Seconds that a run took to its end."""
    began = time.monotonic()
    process = start(folder)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return time.monotonic() - began


def contents(folder):
    """Every file, hidden ones too, by its path in the folder."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


@pytest.mark.slow
def test_killed_twenty_times_it_ends_in_the_files_of_an_undisturbed_run(tmp_path):
    finished(tmp_path / "first")  # compiles
    took = finished(tmp_path / "undisturbed")
    whole = contents(tmp_path / "undisturbed")
    assert contents(tmp_path / "first") == whole  # bit for bit
    moments = random.Random(0)
    for _ in range(KILLS):
        process = start(tmp_path / "killed")
        time.sleep(moments.uniform(0.1, 0.9) * took)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    finished(tmp_path / "killed")
    assert contents(tmp_path / "killed") == whole
