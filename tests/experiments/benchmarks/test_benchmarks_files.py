"""The benchmark of files: what it reads, and what it says of memory."""

import subprocess
import sys

import numpy as np
import pytest

from experiments.benchmarks import memory
from experiments.benchmarks.jobs import files
from experiments.benchmarks.measure import Bench
from jatlas.files import merge_files


def test_the_reference_reads_each_row_that_is_merged_once(tmp_path):
    files.write_charts(tmp_path / "charts", 2000)
    paths = [tmp_path / "charts" / name for name in files._CHARTS]
    atlas = merge_files(paths, anchors="shared:50")
    rows = list(files._batches(tmp_path / "charts"))
    assert sum(map(len, rows)) == atlas.count.sum() == 3040
    expected = sum(float(x[0].sum(dtype=np.float64)) for x in rows)
    total = files._read_and_multiply(tmp_path / "charts")
    assert total == pytest.approx(expected, rel=1e-4)
    stored = sum(file.stat().st_size for file in tmp_path.rglob("*.*"))
    assert files._size(paths) == stored > sum(x.nbytes for x in rows)


def test_a_childs_peak_is_its_own_and_not_its_parents():
    held = np.ones(300 * 2**20, np.uint8)  # which a child begins with, by `os.wait4`
    code = "import time; x = bytearray(b'1') * (64 * 2**20); time.sleep(0.5)"
    process = subprocess.Popen([sys.executable, "-c", code])
    peak = memory.peak_of_process(process)
    assert process.returncode == 0
    assert 2**26 < peak < 2**27 < held.nbytes


@pytest.mark.slow
def test_the_job_measures_every_command(tmp_path):
    paired, commands = files.rows(Bench(True, 1, None))
    assert paired["values"]["megabytes of input a second, ours"] > 0
    peaks = [name for name in commands["values"] if name.startswith("peak")]
    assert len(peaks) == 2 * 4
    assert all(commands["values"][name] > 2**26 for name in peaks)
