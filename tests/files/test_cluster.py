"""Merges by the workers of a Dask cluster: the merge of one machine, or one line."""

import importlib
import os
import re
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from test_parted_atlases import BATCH, A, command, options, write_charts

from jatlas.cli import commands
from jatlas.cli.commands import main
from jatlas.files.cluster import scheduling
from jatlas.files.folders import layout, tasks
from jatlas.files.folders.merging import merge_to_folder
from jatlas.files.formats import atlas_table
from jatlas.files.merging import merge_files
from jatlas.files.storage import load

distributed = pytest.importorskip("distributed")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_charts(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def address():
    """The scheduler of two workers in this process."""
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=False,
        dashboard_address="127.0.0.1:0",
    ) as cluster:
        yield cluster.scheduler_address


def assert_close(ours, theirs):
    np.testing.assert_array_equal(ours.ids, theirs.ids)
    np.testing.assert_array_equal(ours.count, theirs.count)
    np.testing.assert_array_equal(ours.presence, theirs.presence)
    np.testing.assert_allclose(ours.merged, theirs.merged, atol=1e-6)
    np.testing.assert_allclose(ours.disagreement, theirs.disagreement, atol=1e-6)


@pytest.mark.parametrize(
    "kind",
    ["relative", "nystroem", pytest.param("consensus", marks=pytest.mark.slow)],
)
def test_the_workers_merge_as_one_machine(files, tmp_path, address, monkeypatch, kind):
    monkeypatch.setattr(atlas_table, "GROUP", 4 * A * 2 * BATCH)
    projected = []
    chart_rows = tasks.chart_rows

    def noted(recipe, chart, source, *more):
        projected.append(source.path.name)
        return chart_rows(recipe, chart, source, *more)

    monkeypatch.setattr(tasks, "chart_rows", noted)
    progress = []
    merge_to_folder(
        tmp_path / "atlas",
        files,
        scheduler=address,
        keep=["n"],
        progress=lambda *counts: progress.append(counts),
        **options(kind),
    )
    assert sorted(projected) == ["0.parquet", "2.parquet", "a.npz"]
    assert_close(load(tmp_path / "atlas"), merge_files(files, **options(kind)))
    _, kept = atlas_table.id_and_kept(layout.part_path(tmp_path / "atlas", 0))
    assert kept == ["n"]
    assert progress[-1][0] == progress[-1][1]
    assert [path.name for path in tmp_path.iterdir()] == ["atlas"]


def refused(capsys, folder, arguments, message):
    before = sorted(folder.rglob("*"))
    assert main(list(map(str, arguments))) == 2
    err = capsys.readouterr().err
    assert re.search(message, err), err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert sorted(folder.rglob("*")) == before


def test_what_a_worker_refuses_is_said_in_a_line(
    files, tmp_path, address, capsys, monkeypatch
):
    to = "--out", tmp_path / "atlas", "--scheduler"
    monkeypatch.setattr(scheduling, "_CONNECTING", 0.3)
    nobody = [*command(files), *to, "tcp://127.0.0.1:1"]
    refused(capsys, tmp_path, nobody, r"no scheduler answers at tcp://127\.0\.0\.1:1 ")
    refused(capsys, tmp_path, [*command(files), *to, "127.0.0.1"], "port")
    both = [*command(files), *to, address, "--workers", 2]
    refused(capsys, tmp_path, both, "give one")
    none = [*command(files), "--out", tmp_path / "atlas", "--workers", 0]
    refused(capsys, tmp_path, none, r"workers \(--workers\) must")

    np.savez(tmp_path / "large.npz", id=[f"s{n:02d}" for n in range(60)], x=LARGE)
    pair = [files[0], tmp_path / "large.npz"]
    more = [*command(pair), "--similarity", "inner", *to, address]
    refused(
        capsys, tmp_path, more, r"large\.npz: the inner similarities of row \d+ are"
    )

    zero = np.random.default_rng(0).normal(size=(60, 5))
    zero[7] = 0
    np.savez(tmp_path / "zero.npz", id=[f"s{n:02d}" for n in range(60)], x=zero)
    pair = [*command([files[0], tmp_path / "zero.npz"]), *to, address]
    pair.remove("--drop-invalid")
    rows = r"zero\.npz: only zeros in row 7; rows \[7\], ids \['s07'\]\. .*--drop-inv"
    refused(capsys, tmp_path, pair, rows)

    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(scheduling, "_wait", stopped)
        assert main([*command(files), *map(str, to), address]) == 130
    capsys.readouterr()
    monkeypatch.setattr(os.path, "isdir", lambda path: False)
    blind = [*command(files), *to, address]
    refused(capsys, tmp_path, blind, "2 workers do not see .* on a disk")


LARGE = np.float32(1e20) * np.random.default_rng(0).normal(size=(60, 5))


def test_the_extra_is_named_where_dask_is_missing(files, tmp_path, capsys, monkeypatch):
    find = importlib.import_module

    def missing(name):
        if name == "distributed":
            raise ImportError(name)
        return find(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    arguments = [*command(files), "--out", tmp_path / "x/", "--workers", 2]
    refused(capsys, tmp_path, arguments, re.escape("pip install 'jatlas[cluster]'"))


# Processes, which can be lost

PROCESSES = """
import sys, time
from distributed import LocalCluster
if __name__ == "__main__":
    two = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(**two) as c:
        print(c.scheduler_address, *[w.pid for w in c.workers.values()], flush=True)
        time.sleep(600)
"""
SLOW = """
import time
from jatlas.files.folders import tasks
reduce = tasks.reduce_part
def reduce_part(*arguments):
    time.sleep(0.5)
    return reduce(*arguments)
tasks.reduce_part = reduce_part
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A scheduler of two worker processes, whose parts take half a second."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code/slow_parts.py").write_text(SLOW)
    path = os.pathsep.join([str(tmp_path / "code"), str(ROOT)])
    settings = {"PYTHONPATH": path, "DASK_DISTRIBUTED__WORKER__PRELOAD": "slow_parts"}
    (tmp_path / "code/start.py").write_text(PROCESSES)
    run = subprocess.Popen(
        [sys.executable, tmp_path / "code/start.py"],
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert run.stdout is not None
    address, *workers = run.stdout.readline().split()
    monkeypatch.setattr(atlas_table, "GROUP", 4 * A * BATCH)
    yield run, address, [int(worker) for worker in workers]
    run.kill()
    run.wait()


def lost(pid, after):
    """What kills a process once so many rows are done."""
    killed = []

    def show(done, total):
        if done > after * total and not killed:
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    return show


@pytest.mark.slow
def test_a_worker_that_is_killed_changes_nothing(files, tmp_path, cluster):
    _, address, (first, _) = cluster
    out = tmp_path / "atlas"
    merge_to_folder(
        out, files, scheduler=address, progress=lost(first, 0.8), **options()
    )
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    assert_close(load(out), merge_files(files, **options()))
    assert not list(tmp_path.glob(".atlas*"))


@pytest.mark.slow
def test_a_scheduler_that_is_lost_is_said_in_a_line(
    files, tmp_path, cluster, capsys, monkeypatch
):
    run, address, _ = cluster
    monkeypatch.setattr(commands, "line", lambda *_: nullcontext(lost(run.pid, 0.8)))
    arguments = [*command(files), "--out", tmp_path / "atlas", "--scheduler", address]
    refused(capsys, tmp_path, arguments, f"the scheduler at {address} is gone; nothing")
    run.wait(timeout=10)


@pytest.mark.slow
def test_processes_of_this_machine_merge_too(files, tmp_path):
    arguments = [*command(files), "--out", "atlas/", "--workers", "2"]
    run = subprocess.run(
        [sys.executable, "-m", "jatlas", *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
    )
    # On a busy machine it says in between how far it is.
    assert re.sub(rb"(?m)^.* (left, .* rows, .*|so far)\n", b"", run.stderr) == b""
    assert_close(load(tmp_path / "atlas"), merge_files(files, **options()))
