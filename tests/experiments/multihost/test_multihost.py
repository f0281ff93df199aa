"""Several hosts: two processes give what one gives, and none outlives another."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

import jatlas
from experiments.data import storage
from experiments.data.catalog import load
from experiments.multihost import host, launcher, report
from experiments.multihost.launcher import MultihostOptions

ROOT = Path(launcher.__file__).parents[2]
DEVICES = 4  # in one process as in two; see conftest.py
# An odd number, and as many padded rows in one process as in two.
OPTIONS = MultihostOptions(
    num_samples=1001, shares=(49, 51), num_features=16, num_anchors=16, devices=2
)
ROWS = [490, 511]
COMMAND = [sys.executable, "-m", "experiments.multihost"]
COMMAND += ["--num-samples", "1001", "--devices", "2"]
COMMAND += ["--num-features", "16", "--num-anchors", "16"]
PATIENCE = 300  # seconds, for a machine that does much else
TIMEOUT = 10  # that the program is given, to find another process lost


def refused(message: str):
    return pytest.raises(ValueError, match=message)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Programs run as they are compiled quickest, and are compiled once."""
    return os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("xla")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


@pytest.fixture(scope="module")
def two(tmp_path_factory, environment):
    """Two processes with two devices each; the folder, and what they said."""
    folder = tmp_path_factory.mktemp("two")
    command = [*COMMAND, "--local", "2", "--shares", "49", "51", "--out", str(folder)]
    ended = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert ended.returncode == 0, ended.stderr
    return folder, ended.stdout


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """This process alone, with four devices."""
    folder = tmp_path_factory.mktemp("one")
    results = host.run(replace(OPTIONS, shares=None, out=folder))
    return results, storage.read_arrays(folder / "atlas_0_of_1.npz")["atlas"]


# Two processes, and one


def test_two_processes_give_what_one_gives(one, two):
    ours = storage.read_json(two[0] / "results.json")
    theirs, atlas = one
    assert (ours["rows"], theirs["rows"]) == (ROWS, [1001])
    assert len(ours["devices"]) == len(theirs["devices"]) == DEVICES
    for name, value in theirs.items():
        if name.startswith(("atlas", "cka")):
            np.testing.assert_allclose(ours[name], value, rtol=1e-6, err_msg=name)
    parts = [f"atlas_{i}_of_2.npz" for i in (0, 1)]
    parts = [storage.read_arrays(two[0] / part)["atlas"] for part in parts]
    assert [len(part) for part in parts] == ROWS
    np.testing.assert_allclose(np.concatenate(parts), atlas, rtol=1e-6, atol=1e-6)


def test_streaming_gives_the_cka_of_the_global_arrays(one, two):
    for found in (one[0], storage.read_json(two[0] / "results.json")):
        for kind in ("", "_debiased"):
            streamed = found[f"cka_streamed{kind}"]
            assert streamed == pytest.approx(found[f"cka{kind}"], rel=1e-6)
        assert 0.1 < found["cka"] < 0.9


def test_two_processes_train_the_probe_that_one_trains(one, two, monkeypatch):
    """Batches are drawn by place, so one process must have the rows where two do."""
    ours = storage.read_json(two[0] / "results.json")
    assert ours["padded_rows"] == one[0]["padded_rows"]
    half = ours["padded_rows"] // 2
    dataset = load(OPTIONS.dataset)

    def padded(x, axis=0):
        widths = [(0, 0)] * x.ndim
        widths[axis] = (0, half - x.shape[axis])
        return np.pad(x, widths)

    both = [
        host.host_samples(replace(OPTIONS, num_processes=2, process_id=i), dataset)
        for i in (0, 1)
    ]
    rows = jax.tree.map(
        lambda *x: np.concatenate([*map(padded, x)]), *(b[0] for b in both)
    )
    presence = np.concatenate([padded(b[1], axis=1) for b in both], axis=1)
    monkeypatch.setattr(host, "host_samples", lambda *_: (rows, presence))
    options = replace(OPTIONS, shares=None)
    placed = host.place(jatlas.devices.sample_mesh(), options, dataset)
    atlas = jatlas.merge(placed.embeddings, placed.anchors, placed.presence)
    probe = jatlas.fit_probe(
        jax.random.key(0),
        atlas,
        placed.labels,
        len(dataset.class_names),
        where=placed.learn,
        validation=placed.validation,
        max_epochs=options.probe_epochs,
    )
    theirs = float(host.accuracy(probe, atlas, placed))
    assert ours["accuracy"] == pytest.approx(theirs, abs=0.01)
    assert theirs > 0.3  # ten classes; the probe has learned from 500 samples


def test_each_process_says_the_same_results(two):
    said = re.findall(r"process (\d) of 2: (\d+) rows, (CKA .*)", two[1])
    assert sorted(line[:2] for line in said) == [("0", "490"), ("1", "511")]
    assert said[0][2] == said[1][2]
    assert "table.md" in two[1].splitlines()[-1]


def test_the_table_is_that_of_the_results(two):
    ours = storage.read_json(two[0] / "results.json")
    shown = (two[0] / "table.md").read_text()
    assert shown == f"{report.table(ours)}\n"
    assert f"| CKA | {ours['cka']:.6f} |" in shown
    assert "| rows of process 1 | 511 |" in shown


# A process that is lost


class Host:
    """A process of two, started by itself as on a host of its own."""

    def __init__(self, process_id, port, folder, environment):
        join = ["--coordinator", f"127.0.0.1:{port}", "--num-processes", "2"]
        join += ["--process-id", str(process_id), "--timeout", str(TIMEOUT)]
        self.process = subprocess.Popen(
            [*COMMAND, *join, "--repeats", "1000000", "--out", str(folder)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def signal(self, number):
        """To the command and to the child that does its work."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


@pytest.fixture
def hosts(tmp_path, environment):
    """Two that are in the midst of their work, and will be for days."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = [Host(i, port, tmp_path, environment) for i in (0, 1)]
    overdue = threading.Timer(
        PATIENCE, lambda: [h.signal(signal.SIGKILL) for h in started]
    )
    overdue.start()
    try:
        for host in started:
            for line in host.process.stdout:
                if "pass 3 of" in line:
                    break
        yield started
    finally:
        overdue.cancel()
        for host in started:
            host.signal(signal.SIGKILL)
            host.process.communicate()


def end_of(host):
    """Its exit code, its last line and the seconds until then, of one that must end."""
    began = time.monotonic()
    _, errors = host.process.communicate(timeout=PATIENCE)
    took = time.monotonic() - began
    return host.process.returncode, errors.splitlines()[-1], took


@pytest.mark.slow
def test_a_process_ends_with_an_error_when_another_is_killed(hosts, tmp_path):
    # Of the command alone; its child must follow it.
    hosts[1].process.kill()
    code, last, took = end_of(hosts[0])
    assert code == 2
    assert last == (
        f"error: process 0 of 2 lost process 1, which did not answer for {TIMEOUT} s. "
        "There are no results; start all processes again."
    )
    assert took < TIMEOUT + 15
    assert not (tmp_path / "results.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 1])
@pytest.mark.parametrize("how", ["SIGKILL", "SIGSTOP"])
def test_a_process_ends_with_an_error_however_another_is_lost(hosts, lost, how):
    """SIGSTOP: as a host without power, which does not even break off connections."""
    hosts[lost].signal(signal.Signals[how])
    code, last, took = end_of(hosts[1 - lost])
    assert code == 2
    assert f"error: process {1 - lost} of 2 lost process {lost}, which" in last
    assert took < TIMEOUT + 15


@pytest.mark.slow
def test_a_process_that_is_alone_does_not_wait_for_ever(tmp_path, environment):
    command = [*COMMAND, "--coordinator", "127.0.0.1:9", "--num-processes", "2"]
    command += ["--process-id", "1", "--wait", "3", "--out", str(tmp_path)]
    ended = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 2
    last = ended.stderr.splitlines()[-1]
    assert "did not find the others by way of 127.0.0.1:9 within 3 s" in last


# Refusals


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"timeout": 0}, "--timeout must be 1 or more, got 0"),
        ({"num_charts": 1}, "--num-charts must be 2 or more, got 1"),
        ({"local": 2, "num_processes": 2}, "--local starts all processes itself"),
        ({"num_processes": 2}, "needs --coordinator HOST:PORT of process 0, got None"),
        (
            {"num_processes": 2, "coordinator": "host"},
            "HOST:PORT of process 0, got host",
        ),
        ({"process_id": 1}, "--process-id must be from 0 to 0, .* got 1"),
        ({"shares": (1, 2)}, r"--shares must be 1 numbers of 1 or more.* got \(1, 2\)"),
        ({"shares": (0, 2), "local": 2}, r"must be 2 numbers of 1 or more.* \(0, 2\)"),
    ],
)
def test_options_of_which_no_run_can_be_made_are_refused(changes, message):
    with refused(message):
        launcher.check(replace(MultihostOptions(), **changes))


def test_too_few_samples_are_refused():
    dataset = load(OPTIONS.dataset)
    with refused("--num-samples 7001 is more than the 7000 of fashion_mnist_7k"):
        launcher.deal(replace(OPTIONS, num_samples=7001), dataset)
    with refused("--num-anchors 116 is more than the 115 training samples"):
        launcher.deal(replace(OPTIONS, num_anchors=116), dataset)
    launcher.deal(replace(OPTIONS, num_anchors=115), dataset)


def test_a_refusal_is_one_line_and_nothing_is_started(monkeypatch, capsys):
    monkeypatch.setattr(launcher, "start", lambda _: pytest.fail("started"))
    with pytest.raises(SystemExit) as refused:
        launcher.main(["--timeout", "0"])
    assert refused.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --timeout must be 1 or more")
