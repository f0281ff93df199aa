"""Commands on files, on a disk that is full at any moment: nothing is lost."""

import errno
import itertools
import os
import re
import resource
from contextlib import contextmanager

import numpy as np
import pytest
from full_disk import full_at

from jatlas.cli.commands import main
from jatlas.files.formats.whole import write_whole
from jatlas.files.storage import load

N, D = 120, 6
SLOW = pytest.param("atlas/", marks=pytest.mark.slow)
OUTS = ["atlas.parquet", "atlas.safetensors", SLOW]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a name that needs care, and three charts in it."""
    folder = tmp_path / "my atlas ü 猫"
    folder.mkdir()
    monkeypatch.chdir(folder)
    rng = np.random.default_rng(0)
    z = rng.normal(size=(N, D))
    for name in "abc":
        x = np.tanh(z @ rng.normal(size=(D, D))).astype(np.float32)
        np.savez(f"{name} ü.npz", id=np.arange(N), x=x)
    return folder


def merge(out, *files):
    names = [f"{name} ü.npz" for name in files]
    few = ["--anchors", "shared:8", "--coordinates", "relative", "--batch-size", "16"]
    return ["merge", *names, *few, "--out", out]


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def refused(capsys, folder, before, out, rows):
    """One line with the file, and the folder and its atlas as they were."""
    said = capsys.readouterr().err
    assert said.startswith("error: [Errno ")
    assert said.count("\n") == 1
    assert re.search(r"['/]atlas[./']", said), said
    assert tree(folder) == before
    np.testing.assert_array_equal(load(out).merged, rows)


@pytest.mark.parametrize("out", OUTS)
def test_full_at_any_call_the_old_atlas_stays(folder, capsys, out):
    assert main(merge(out, "a", "b")) == 0
    before, rows = tree(folder), load(out).merged
    capsys.readouterr()
    for k in itertools.count(1):
        with full_at(folder, k) as disk:
            code = main(merge(out, "a", "c"))
        if not disk.failed:
            break
        assert code == 2
        refused(capsys, folder, before, out, rows)
    assert k > 3  # it was asked, and refused, more often than that
    assert code == 0
    assert tree(folder) == before
    assert not np.array_equal(load(out).merged, rows)


@pytest.mark.parametrize("out", OUTS)
def test_full_at_any_call_a_new_atlas_is_not_there(folder, capsys, out):
    before = tree(folder)
    for k in itertools.count(1):
        with full_at(folder, k) as disk:
            code = main(merge(out, "a", "b"))
        if not disk.failed:
            break
        assert code == 2
        assert tree(folder) == before
    assert code == 0
    assert load(out).ids.size == N


@contextmanager
def files_up_to(size):
    """The system writes no file beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.slow
@pytest.mark.parametrize("out", OUTS)
def test_full_in_the_midst_of_any_file_the_old_atlas_stays(folder, capsys, out):
    assert main(merge(out, "a", "b")) == 0
    before, rows = tree(folder), load(out).merged
    capsys.readouterr()
    place = folder / out.strip("/")
    files = list(place.iterdir()) if place.is_dir() else list(folder.glob("atlas*"))
    largest = max(file.stat().st_size for file in files)
    for size in range(0, largest, max(largest // 30, 1)):
        with files_up_to(size):
            code = main(merge(out, "a", "c"))
        assert code == 2
        assert f"[Errno {errno.EFBIG}]" in (said := capsys.readouterr().err), said
        assert tree(folder) == before
        np.testing.assert_array_equal(load(out).merged, rows)


def test_the_disk_of_the_tests_refuses_once(tmp_path):
    with full_at(tmp_path, 2) as disk:
        (tmp_path / "a").mkdir()
        with pytest.raises(OSError, match="No space left"):
            os.mkdir(tmp_path / "b")
        os.mkdir(tmp_path / "b")
    assert (disk.calls, disk.failed) == (3, True)


def test_numpys_error_of_a_full_disk_is_one_of_a_full_disk(tmp_path):
    """It has no number, and says how many numbers were written."""

    def fill(stream):
        with files_up_to(2**10):
            np.ones(2**12).tofile(stream)

    with pytest.raises(OSError, match=r"requested and .* written") as caught:
        write_whole({tmp_path / "x.npy": fill})
    assert caught.value.errno == errno.ENOSPC
    assert "No space left, or a limit on files" in str(caught.value)
    assert list(tmp_path.iterdir()) == []
