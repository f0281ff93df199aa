"""No foreign bytes get anything out of a reader but data or the library's own error.

In CI from fixed seeds. For as long as one likes, from any seed:

    JATLAS_FUZZ_SEED=7 JATLAS_FUZZ_SECONDS=600 python -m pytest -n 0 -m slow \
        tests/files/test_fuzz.py
"""

import json
import os
import random
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
from fuzzing import READERS, Reader, inputs, mutated, one

from jatlas.files.readers import OPENERS

ROOT = Path(__file__).parents[2]
INPUTS = 150  # a reader, in CI
SECONDS = float(os.environ.get("JATLAS_FUZZ_SECONDS", 120))
SEED = os.environ.get("JATLAS_FUZZ_SEED", "0")


def child(seed, seconds, count, names, folder):
    """How many inputs each reader got, and what it did that it should not do."""
    last = folder / "last"
    command = [sys.executable, str(ROOT / "tests/files/fuzzing.py")]
    command += [seed, str(seconds), str(count), *names]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "JATLAS_FUZZ_LAST": str(last)}
    run = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        timeout=seconds + 300,
    )
    left = last.read_bytes().hex()[:20000] if last.exists() else "none"
    assert run.returncode == 0, f"{run.stderr[-3000:]}\nthe input: {left}"
    lines = list(map(json.loads, run.stdout.splitlines()))
    done = {line["reader"]: line["done"] for line in lines if "done" in line}
    return done, [line for line in lines if "fault" in line]


@pytest.fixture(scope="module")
def fixed(tmp_path_factory):
    """One process for all readers: it takes longer to start than to read."""
    folder = tmp_path_factory.mktemp("fuzz")
    return child("fixed", 300, INPUTS, READERS, folder)


@pytest.mark.parametrize("name", READERS)
def test_mutated_inputs_give_data_or_an_error_of_ours(name, fixed):
    done, faults = fixed
    assert [fault for fault in faults if fault["reader"] == name] == []
    assert done[name] == INPUTS


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_mutated_inputs_for_as_long_as_one_likes(name, tmp_path):
    done, faults = child(SEED, SECONDS / len(READERS), -1, [name], tmp_path)
    assert faults == []
    assert done[name] > 0
    print(f"{name}: {done[name]} inputs")


def test_every_kind_of_file_is_tried():
    seeds = [files for reader in READERS.values() for files in reader().seeds]
    names = {name.partition(".")[2] for files in seeds for name in files}
    tried = {OPENERS[f".{name}"] for name in names if f".{name}" in OPENERS}
    assert tried == set(OPENERS.values())


# What watches is watched


def fake(read):
    return Reader([{"a": b"0123456789" * 9}], read, (ValueError,))


def test_the_inputs_of_a_seed_are_the_same_and_differ():
    reader = fake(lambda path: None)
    first, again, other = (
        [files["a"] for files in islice(inputs(reader, seed), 50)]
        for seed in ("1", "1", "2")
    )
    assert first == again
    assert first != other
    assert len(set(first)) > 40
    assert mutated(b"", random.Random(0)) is not None


def raises(error):
    def read(path):
        raise error

    return read


@pytest.mark.parametrize(
    ("read", "fault"),
    [
        (lambda path: None, None),
        (raises(ValueError("ours")), None),
        (raises(KeyError("raw")), "KeyError: 'raw'"),
        (raises(MemoryError()), "MemoryError: "),
    ],
)
def test_a_fault_is_seen(tmp_path, read, fault):
    assert one(fake(read), {"a": b"1"}, tmp_path) == fault


def test_memory_that_was_not_to_be_had_is_seen(tmp_path):
    def read(path):
        try:
            raise MemoryError
        except MemoryError as error:
            raise ValueError("ours") from error

    assert "too much memory" in one(fake(read), {"a": b"1"}, tmp_path)


def test_memory_is_limited():
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import fuzzing, numpy\n"
        "fuzzing.limit_memory(100)\n"
        "numpy.empty(2**20)\n"
        "try: numpy.empty(2**27)\n"
        "except MemoryError: print('limited')\n"
    )
    command = [sys.executable, "-c", program, str(Path(__file__).parent)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.stdout == "limited\n", run.stderr
