import gzip
import hashlib
import struct
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests

from experiments.data import archives

URL = "http://127.0.0.1:9/files/"


def info_of(content: bytes, name: str) -> SimpleNamespace:
    checksum = hashlib.sha256(content).hexdigest()
    return SimpleNamespace(size=len(content), checksum=checksum, filename=name)


def a_builder(files: dict[str, bytes], **changes) -> SimpleNamespace:
    """What `gather` asks of a builder: these files, from a port at which nobody is."""
    good = {
        "name": "some",
        "MANUAL_DOWNLOAD_INSTRUCTIONS": None,
        "BUILDER_CONFIGS": [],
        "url_infos": {URL + name: info_of(files[name], name) for name in files},
    }
    return SimpleNamespace(**good | changes)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def manual(tmp_path) -> Path:
    folder = tmp_path / "manual"
    folder.mkdir()
    (folder / "a.tar").write_bytes(b"one")
    return folder


@pytest.fixture
def scratch(tmp_path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def test_files_that_are_the_expected_ones_are_taken_without_a_network(manual, scratch):
    (manual / "unrelated").write_bytes(b"x")
    got = archives.gather(a_builder({"a.tar": b"one"}), manual, scratch)
    assert [file.name for file in got.iterdir()] == ["a.tar"]
    assert (got / "a.tar").read_bytes() == b"one"


@pytest.mark.parametrize("expected", [b"two", b"three"])
def test_another_file_of_the_same_name_is_refused(manual, scratch, expected):
    checksum = hashlib.sha256(expected).hexdigest()
    with pytest.raises(
        ValueError,
        match=rf"a\.tar is not the file that some .* 3 bytes, expected are "
        rf"{len(expected)} .*{checksum}.*anew from {URL}a\.tar",
    ):
        archives.gather(a_builder({"a.tar": expected}), manual, scratch)


def test_with_neither_files_nor_a_network_the_message_lists_them(manual, scratch):
    builder = a_builder({"a.tar": b"one", "b.tar": b"two"})
    with pytest.raises(ValueError, match="some has not been prepared yet") as error:
        archives.gather(builder, manual, scratch)
    for word in (
        "ConnectionError at 127.0.0.1:9",
        f"{manual} lacks some of them",
        "--manual-dir",
        f"a.tar (3) from {URL}a.tar",
        f"b.tar (3) from {URL}b.tar",
    ):
        assert word in str(error.value)


def test_without_a_manual_dir_the_message_says_so_and_names_the_package(scratch):
    builder = a_builder({"a.tar": b"one"}, name="fashion_mnist")
    with pytest.raises(
        ValueError, match=r"no manual_dir was given(?s:.*)package dataset-fashion-mnist"
    ):
        archives.gather(builder, None, scratch)


def test_with_a_network_what_is_lacking_is_left_to_be_downloaded(
    manual, scratch, monkeypatch
):
    asked = []
    monkeypatch.setattr(requests, "head", lambda url, timeout: asked.append(url))
    builder = a_builder({"a.tar": b"one", "b.tar": b"two", "c.tar": b"three"})
    got = archives.gather(builder, manual, scratch)
    assert [file.name for file in got.iterdir()] == ["a.tar"]
    assert len(asked) == 1  # one host, asked once


def test_the_file_of_one_config_is_enough(manual, scratch):
    builder = a_builder({"a.tar": b"one", "b.tar": b"two"}, BUILDER_CONFIGS=["a", "b"])
    got = archives.gather(builder, manual, scratch)
    assert [file.name for file in got.iterdir()] == ["a.tar"]


def test_a_builder_with_instructions_gets_the_folder_itself(manual, scratch, tmp_path):
    builder = a_builder({}, MANUAL_DOWNLOAD_INSTRUCTIONS="Put\n  it there.")
    assert archives.gather(builder, manual, scratch) == manual
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder, found in ((None, "none was given"), (empty, "empty is empty")):
        with pytest.raises(ValueError, match=rf"{found}\. Put it there\."):
            archives.gather(builder, folder, scratch)


def packed(content: bytes, time: int, name: bytes = b"") -> bytes:
    """A gzip file as the tool writes it: with a name and a time, or without a name."""
    body = gzip.compress(content, mtime=0)[10:]
    flags = 8 if name else 0
    header = b"\x1f\x8b\x08" + bytes([flags]) + struct.pack("<I", time) + b"\x00\x03"
    return header + (name + b"\0" if name else b"") + body


@pytest.mark.parametrize("time", [1504176606, 1504176627])
def test_files_under_another_gzip_header_get_the_original_one_back(
    manual, scratch, time
):
    original = packed(b"pictures", time, b"images-ubyte")
    assert gzip.decompress(original) == b"pictures"
    mine = packed(b"pictures", 1591610093)
    (manual / "images-ubyte.gz").write_bytes(mine)
    builder = a_builder({"images-ubyte.gz": original}, name="fashion_mnist")
    got = archives.gather(builder, manual, scratch)
    assert (got / "images-ubyte.gz").read_bytes() == original
    assert (manual / "images-ubyte.gz").read_bytes() == mine


@pytest.mark.parametrize(
    ("name", "mine"),
    [
        ("fashion_mnist", packed(b"picturez", 5)),  # other content
        ("fashion_mnist", b"\x1f\x8b\x08\x01" + packed(b"pictures", 5)[4:]),
        ("kmnist", packed(b"pictures", 5)),  # a set of which no times are known
    ],
)
def test_only_the_same_content_is_mended(manual, scratch, name, mine):
    original = packed(b"pictures", 1504176606, b"images-ubyte")
    (manual / "images-ubyte.gz").write_bytes(mine)
    builder = a_builder({"images-ubyte.gz": original}, name=name)
    with pytest.raises(ValueError, match=r"images-ubyte\.gz is not the file"):
        archives.gather(builder, manual, scratch)
    assert not list((scratch / "manual").iterdir())
