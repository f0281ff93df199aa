"""What is written is whole or not there, and what is damaged is named."""

import contextlib

import numpy as np
import pytest

from experiments.data import storage


def test_what_is_written_is_read_back(tmp_path):
    value = {"rows": [{"value": np.float32(0.5), "seed": np.int64(3)}], "a": (1, 2)}
    storage.write_json(tmp_path / "new" / "x.json", value)
    found = storage.read_json(tmp_path / "new" / "x.json")
    assert found == {"rows": [{"value": 0.5, "seed": 3}], "a": [1, 2]}
    arrays = {"both/space": np.eye(3), "labels": np.arange(3)}
    storage.write_arrays(tmp_path / "x.npz", arrays)
    found = storage.read_arrays(tmp_path / "x.npz")
    assert found.keys() == arrays.keys()
    np.testing.assert_array_equal(found["both/space"], np.eye(3))


def test_what_is_no_number_is_null(tmp_path):
    storage.write_json(tmp_path / "x.json", [float("nan"), np.float32("inf"), 1.0])
    text = (tmp_path / "x.json").read_text()
    assert "".join(text.split()) == "[null,null,1.0]"
    assert storage.read_json(tmp_path / "x.json") == [None, None, 1.0]


def test_an_interrupted_write_leaves_what_was_there_and_nothing_else(tmp_path):
    file = tmp_path / "x.json"
    storage.write_text(file, "whole")

    def interrupted(stream):
        stream.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        storage.write(file, interrupted)
    assert file.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("content", [b"", b'{"rows": [', b"\xff\xfe"])
def test_a_damaged_file_is_named(tmp_path, content):
    file = tmp_path / "x.json"
    file.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"x\.json is damaged \(.+\); delete it\.$"
    ) as e:
        storage.read_json(file)
    assert str(e.value).startswith(str(file))


def test_a_pickle_is_not_written(tmp_path):
    with pytest.raises(ValueError, match=r"objects are not written: \['b'\]"):
        storage.write_arrays(
            tmp_path / "a.npz", {"a": np.ones(2), "b": np.array([{}], object)}
        )
    assert list(tmp_path.iterdir()) == []
    storage.write_arrays(tmp_path / "a.npz", {"a": np.ones(2)})
    with np.load(tmp_path / "a.npz") as arrays:  # and nothing else, as by old NumPy
        assert arrays.files == ["a"]


def test_a_pickle_is_not_read(tmp_path):
    np.savez(tmp_path / "x.npz", evil=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        storage.read_arrays(tmp_path / "x.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half an archive"])
def test_damaged_arrays_are_named(tmp_path, content):
    file = tmp_path / "x.npz"
    file.write_bytes(content)
    with pytest.raises(storage.Damaged, match=r"x\.npz is damaged"):
        storage.read_arrays(file)


def test_of_arrays_with_a_wrong_bit_anywhere_it_is_said_or_nothing_is_changed(tmp_path):
    arrays, file = {"x": np.arange(30.0)}, tmp_path / "x.npz"
    storage.write_arrays(file, arrays)
    whole, found = file.read_bytes(), []
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with contextlib.suppress(storage.Damaged):
            found += [value.tolist() for value in storage.read_arrays(file).values()]
    assert len(found) < len(whole) / 4
    assert all(values == arrays["x"].tolist() for values in found)
