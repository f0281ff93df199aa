"""With the real builder of CIFAR-100, on a small archive of the real layout."""

import errno
import hashlib
import io
import pickle
import subprocess
import sys
import tarfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import requests
import tensorflow_datasets as tfds

from experiments.data import catalog, tfds_reader, tfds_writer
from experiments.data.tfds_writer import Wanted

ROOT = Path(__file__).parents[3]
URL = "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz"
FINE = tuple(f"class {i}" for i in range(100))
COARSE = tuple(f"group {i}" for i in range(20))
# Two training images a class and one to test, in no order.
LABELS = {
    "train": np.random.default_rng(0).permutation(np.arange(200) % 100),
    "test": np.random.default_rng(1).permutation(100),
}


def pixels(split: str) -> np.ndarray:
    """(N, 32, 32, 3) noise."""
    shape = (len(LABELS[split]), 32, 32, 3)
    seed = len(split)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """As downloaded; a record is two labels, then all of red, of green, of blue."""
    files = {
        "fine_label_names.txt": "".join(f"{name}\n" for name in FINE).encode(),
        "coarse_label_names.txt": "".join(f"{name}\n" for name in COARSE).encode(),
    }
    for split, fine in LABELS.items():
        planes = pixels(split).transpose(0, 3, 1, 2).reshape(len(fine), -1)
        records = np.column_stack([fine % 20, fine, planes]).astype(np.uint8)
        files[f"{split}.bin"] = records.tobytes()
    path = tmp_path_factory.mktemp("archive") / "cifar-100-binary.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-100-binary/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def small_cifar100(size: int, checksum: str, **options):
    """TFDS's builder, told of the small archive's checksum; also in another process."""
    builder = tfds.builder("cifar100", **options)
    info = builder.url_infos[URL]
    info.size, info.checksum = type(info.size)(size), checksum
    return builder


@pytest.fixture
def make_builder(archive, monkeypatch):
    info = tfds.builder_cls("cifar100").url_infos[URL]
    monkeypatch.setattr(info, "size", info.size)  # put back afterwards
    monkeypatch.setattr(info, "checksum", info.checksum)
    checksum = hashlib.sha256(archive.read_bytes()).hexdigest()
    return partial(small_cifar100, archive.stat().st_size, checksum)


@pytest.mark.slow
def test_cifar100_is_prepared_by_tensorflow_and_read_without(
    archive, make_builder, tmp_path, capfd
):
    first = tfds_reader.read(
        "cifar100", make_builder, tmp_path, manual=archive.parent, tensorflow=True
    )
    assert capfd.readouterr() == ("", "")
    # Neither the archive nor what it held is kept: other sets name their files alike.
    assert sorted(file.name for file in tmp_path.iterdir()) == [".lock", "cifar100"]
    dataset = catalog.load("cifar100", cache_dir=tmp_path)
    assert "tensorflow" not in sys.modules
    for one, other in zip(first, dataset, strict=True):
        np.testing.assert_array_equal(one, other)
    assert dataset.class_names == FINE
    assert dataset.superclass_names == COARSE
    assert dataset.superclasses.tolist() == [i % 20 for i in range(100)]
    for split, labels in LABELS.items():
        samples = dataset.split(split)
        np.testing.assert_array_equal(samples.images, pixels(split))
        np.testing.assert_array_equal(samples.labels, labels)
        assert samples.ids[1] == f"{split}/{split}_00001"


@pytest.fixture
def no_process(monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("a process was started")

    monkeypatch.setattr(tfds_writer.subprocess, "Popen", refuse)


def test_a_damaged_archive_is_refused_before_anything_is_prepared(
    archive, make_builder, tmp_path, no_process
):
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / archive.name).write_bytes(content)
    with pytest.raises(
        ValueError, match=r"gz is not the file that cifar100 .* damaged"
    ):
        tfds_reader.read(
            "cifar100", make_builder, tmp_path / "c", manual=tmp_path, tensorflow=True
        )
    assert [file.name for file in (tmp_path / "c").iterdir()] == [".lock"]


def test_without_files_and_network_cifar100_says_what_to_get(
    tmp_path, monkeypatch, no_process
):
    def refuse(url, timeout):
        raise requests.ConnectionError("no network")

    monkeypatch.setattr(requests, "head", refuse)
    with pytest.raises(ValueError, match=r"--manual-dir(?s:.*)160\.71 MiB") as error:
        catalog.load("cifar100", cache_dir=tmp_path)
    assert f"cifar-100-binary.tar.gz (160.71 MiB) from {URL}" in str(error.value)
    assert [file.name for file in tmp_path.iterdir()] == [".lock"]


def test_without_tensorflow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds_writer.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"the extra `prepare` \(pip install"):
        catalog.load("cifar100", cache_dir=tmp_path)
    assert not list(tmp_path.iterdir())


class Failing(tfds.core.GeneratorBasedBuilder):
    """Fails in the midst of writing."""

    VERSION = tfds.core.Version("1.0.0")
    ERROR: Exception = RuntimeError("no such luck")

    def _info(self):
        features = tfds.features.FeaturesDict({"x": tfds.features.Scalar(np.int64)})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        yield 0, {"x": 0}
        raise self.ERROR


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (RuntimeError("no luck"), ValueError, "failing could not be prepared: Runtime"),
        (OSError(errno.ENOSPC, "full"), OSError, r"failing could not .*\[Errno 28\]"),
        (
            requests.ConnectionError("gone"),
            ValueError,
            r"cannot be downloaded \(ConnectionError: gone",
        ),
    ],
)
def test_what_fails_in_the_other_process_is_raised_in_this_one(
    tmp_path, monkeypatch, error, kind, message
):
    monkeypatch.setattr(Failing, "ERROR", error)
    wanted = Wanted("failing", Failing, tmp_path)
    kinds = tfds_writer._attempt(wanted, tmp_path, tmp_path)
    with pytest.raises(kind, match=message):
        tfds_writer._raise(wanted, tfds_writer.json.dumps(kinds).encode(), 0, "")
    assert not list(tmp_path.rglob("*.array_record*"))


def test_a_process_that_dies_without_an_answer_is_told_of(tmp_path):
    wanted = Wanted("failing", Failing, tmp_path)
    with pytest.raises(ValueError, match=r"status -9 .* out of memory.*words: Killed"):
        tfds_writer._raise(wanted, b"", -9, "Killed")


def test_the_other_process_ends_with_the_one_that_started_it(tmp_path):
    job = (Wanted("failing", print, tmp_path), tmp_path, tmp_path)
    # Without its input it ends at once, whatever it is at: here, importing TensorFlow.
    done = subprocess.run(
        [sys.executable, "-m", "experiments.data.tfds_writer"],
        cwd=ROOT,
        input=pickle.dumps(job),
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")
