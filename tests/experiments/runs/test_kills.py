"""Kills at random moments: what is there at the end is that of an undisturbed run."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jatlas.files.storage import load

ROOT = Path(__file__).parents[3]
KILLS = 20
MORE_KILLS = 8  # of a job whose mechanism is that of the first
DIGITS = ["--dataset", "digits", "--seeds", "0", "--max-epochs", "3"]
DIGITS += ["--probe-epochs", "10"]
JOBS = {
    "main job": ["", "--settings", "S4_N2", "T2"],
    "grid": [".paper", "--settings", "S2_N2", "S4_N2", "P80_20", "T2", "T5"],
    "continual": [".continual", "--num-public", "100", "--num-anchors", "16"],
    "federated": [".federated", "--settings", "T2", "--num-public", "100",
                  "--num-anchors", "16"],
}  # fmt: skip


def start(job, folder):
    module, *options = JOBS[job]
    command = [sys.executable, "-m", f"experiments{module}", *DIGITS, *options]
    return subprocess.Popen(
        [*command, "--out", str(folder)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(job, folder):
    """Seconds that a run took to its end."""
    began = time.monotonic()
    process = start(job, folder)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return time.monotonic() - began


def killed(job, folder, times, took):
    moments = random.Random(0)
    for _ in range(times):
        process = start(job, folder)
        time.sleep(moments.uniform(0.1, 0.9) * took)
        process.send_signal(signal.SIGKILL)
        process.communicate()


def contents(folder):
    """Every file, hidden ones too, by its path in the folder."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


@pytest.mark.slow
@pytest.mark.parametrize(("job", "times"), [("main job", KILLS), ("grid", MORE_KILLS)])
def test_killed_at_random_it_ends_in_the_files_of_an_undisturbed_run(
    tmp_path, job, times
):
    finished(job, tmp_path / "first")  # compiles
    took = finished(job, tmp_path / "undisturbed")
    whole = contents(tmp_path / "undisturbed")
    assert contents(tmp_path / "first") == whole  # bit for bit
    killed(job, tmp_path / "killed", times, took)
    finished(job, tmp_path / "killed")
    assert contents(tmp_path / "killed") == whole


def rows(folder):
    """What was measured, without seconds."""
    every = json.loads((folder / "results.json").read_text())["rows"]
    return [row for row in every if not row.get("metric", "").startswith("seconds")]


@pytest.mark.slow
@pytest.mark.parametrize("job", ["continual", "federated"])
def test_killed_at_random_it_ends_in_the_rows_of_an_undisturbed_run(tmp_path, job):
    """Their files also hold seconds, and what a client sent twice."""
    finished(job, tmp_path / "first")
    took = finished(job, tmp_path / "undisturbed")
    whole = rows(tmp_path / "undisturbed")
    assert rows(tmp_path / "first") == whole != []
    killed(job, tmp_path / "killed", MORE_KILLS, took)
    finished(job, tmp_path / "killed")
    assert rows(tmp_path / "killed") == whole
    left = [file.name for file in (tmp_path / "killed").rglob(".*")]
    assert left == []


# A merge of files

N, D = 20_000, 32


def merge(folder, out, seed):
    command = [sys.executable, "-m", "jatlas", "merge", "a.npz", "b.npz", "--out", out]
    command += ["--anchors", "shared:64", "--batch-size", "64", "--seed", str(seed)]
    command += ["--coordinates", "relative"]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("out", ["atlas.parquet", "atlas.safetensors", "atlas/"])
def test_a_merge_that_is_killed_leaves_the_atlas_that_was_there(tmp_path, out):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(N, D))
    for name in "ab":
        x = np.tanh(z @ rng.normal(size=(D, D))).astype(np.float32)
        np.savez(tmp_path / f"{name}.npz", id=np.arange(N), x=x)
    wanted = {}
    for seed in (0, 1):
        began = time.monotonic()
        process = merge(tmp_path, out, seed)
        _, errors = process.communicate()
        assert process.returncode == 0, errors
        took = time.monotonic() - began
        wanted[seed] = load(tmp_path / out).merged
    assert not np.array_equal(wanted[0], wanted[1])
    moments, stands = random.Random(0), 1
    for number in range(KILLS):
        # The last tenth of a run is what reads, computes and writes.
        begin = 0.2 if number % 2 else 0.7
        process = merge(tmp_path, out, 1 - stands)
        time.sleep(moments.uniform(begin, 1.05) * took)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        merged = load(tmp_path / out).merged
        if process.returncode == 0:  # it was done before
            stands = 1 - stands
        # Killed behind its last step, it has written the new one whole.
        assert any(np.array_equal(merged, wanted[seed]) for seed in (0, 1))
        stands = 0 if np.array_equal(merged, wanted[0]) else 1
    process = merge(tmp_path, out, 1 - stands)
    process.communicate()
    assert process.returncode == 0
    np.testing.assert_array_equal(load(tmp_path / out).merged, wanted[1 - stands])
    names = {file.name for file in tmp_path.iterdir()}
    expected = {"a.npz", "b.npz", out.strip("/")}
    if out.endswith(".parquet"):
        expected |= {"atlas.recipe.safetensors"}
    assert names == expected  # the last took away what the killed ones left
