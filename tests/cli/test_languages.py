"""The command by another language, and a terminal that does not have all letters."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jatlas.files.storage import load

ROOT = Path(__file__).parents[2]
PLAIN = {"LC_ALL": "C", "LANG": "C", "PYTHONCOERCECLOCALE": "0"}
TERMINALS = {
    "C": PLAIN,
    "ascii": PLAIN | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "1"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
}


def jatlas(folder, *arguments, **more):
    return subprocess.run(
        [sys.executable, "-m", "jatlas", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | more,
        capture_output=True,
    )


@pytest.fixture
def charts(tmp_path):
    folder = tmp_path / "größer 猫 \n2"
    folder.mkdir()
    z = np.random.default_rng(0).normal(size=(60, 4))
    ids = np.array([f"猫{n}" for n in range(60)])
    for name, power in (("ü", 1), ("猫", 3)):
        np.savez(folder / f"{name} 1.npz", id=ids, x=np.tanh(z**power).astype("f"))
    return folder


MERGE = ["merge", "ü 1.npz", "猫 1.npz", "--anchors", "shared:8"]
MERGE += ["--coordinates", "relative", "--out", "größer 猫.parquet"]


@pytest.mark.slow
@pytest.mark.parametrize("terminal", TERMINALS)
def test_it_merges_and_shows_other_letters_by_number(charts, terminal):
    run = jatlas(charts, *MERGE, **TERMINALS[terminal])
    assert run.returncode == 0, run.stderr
    assert load(charts / "größer 猫.parquet").ids[0] == "猫0"
    wrote = run.stdout.splitlines()[-1]
    assert wrote.startswith(b"wrote gr")
    if terminal != "C":  # in which Python itself writes UTF-8
        assert b"\\u732b.parquet" in wrote
    run = jatlas(charts, "neighbors", "größer 猫.parquet", "狗", **TERMINALS[terminal])
    assert run.returncode == 2
    assert run.stderr.startswith(b"error: there is no sample ")
    assert run.stderr.count(b"\n") == 1


@pytest.mark.slow
def test_where_names_are_not_in_utf8_it_says_what_to_set(charts):
    """Only who turns off what Python does of itself comes here."""
    before = sorted(os.listdir(charts))
    run = jatlas(charts, *MERGE, **PLAIN, PYTHONUTF8="0")
    assert run.returncode == 2
    assert run.stderr.startswith(b"error: the name of a file is not in UTF-8; set ")
    assert run.stderr.count(b"\n") == 1
    assert sorted(os.listdir(charts)) == before
