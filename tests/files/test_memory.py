"""What merges hold in memory, and that pieces of them change no bit."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jatlas.files import sums
from jatlas.files.formats import atlas_table, rows

LEFT = """
import re
from pathlib import Path
import numpy as np
from jatlas.files.formats.rows import give_back

def resident():
    text = Path("/proc/self/status").read_text()
    return int(re.search(r"RssAnon:\\s+(\\d+)", text)[1])

arrays = [np.ones(10_000) for _ in range(1000)]  # 80 kB each, none mapped by itself
last = np.ones(10_000)  # above them: what is below it is not given back by itself
full = resident()
del arrays
give_back()
print(full - resident())
"""


def _is_told() -> bool:
    """Whether the system says what a process holds, and the library gives it back."""
    status = Path("/proc/self/status")
    told = status.exists() and "RssAnon" in status.read_text()
    return told and rows._C is not None and "LD_PRELOAD" not in os.environ


@pytest.mark.skipif(
    not _is_told(),
    reason="the system keeps freed memory otherwise, or does not say what is held",
)
def test_freed_memory_is_given_back():
    freed = subprocess.run(
        [sys.executable, "-c", LEFT], capture_output=True, text=True, check=True
    ).stdout
    assert int(re.findall(r"-?\d+", freed)[-1]) > 60_000  # of 80,000 kB


@pytest.mark.parametrize("bytes_at_once", [1, 2**9, 2**18])
def test_rows_added_in_pieces_are_the_same_bits(monkeypatch, bytes_at_once):
    rng = np.random.default_rng(0)
    whole, pieces = sums.empty_running(300, 8), sums.empty_running(300, 8)
    for _ in range(4):
        here = rng.permutation(300)[:200]
        x = rng.standard_normal((200, 8), np.float32)
        monkeypatch.setattr(sums, "_ADDED", 2**30)
        sums.add_rows(whole, here, x)
        monkeypatch.setattr(sums, "_ADDED", bytes_at_once)
        sums.add_rows(pieces, here, x)
    for one, other in zip(whole, pieces, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("width", [1, 256, 3000])
def test_a_group_of_a_table_is_of_16_megabytes(width):
    size = atlas_table.group_size(width)
    assert size * 4 * width <= 2**24 < (size + 1) * 4 * width


def test_a_row_wider_than_a_group_is_a_group():
    assert atlas_table.group_size(2**23) == 1
