"""Results are whole or not there, and a folder belongs to one run."""

import contextlib

import numpy as np
import pytest

from experiments.runs import storage

SETTINGS = {"options": {"seeds": (0, 1), "dataset": "digits"}, "device": "cpu"}


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


def test_a_folder_can_be_claimed_again_by_the_same_settings_only(tmp_path):
    folder = tmp_path / "out"
    storage.claim(folder, SETTINGS)
    storage.claim(folder, SETTINGS)
    others = {**SETTINGS, "options": {"seeds": (0,), "dataset": "digits"}}
    with pytest.raises(
        ValueError,
        match=r"other options: options\.seeds is \[0, 1\] there and \[0\] here",
    ):
        storage.claim(folder, others)


def test_a_folder_with_other_files_is_not_claimed(tmp_path):
    (tmp_path / "thesis.tex").write_text("...")
    with pytest.raises(ValueError, match="has files in it that are not of a run"):
        storage.claim(tmp_path, SETTINGS)
    assert not (tmp_path / "settings.json").exists()


def test_what_a_kill_left_half_written_does_not_make_a_folder_another_s(tmp_path):
    half = tmp_path / ".settings.json.x1y2"
    half.write_text("{")
    storage.claim(tmp_path, SETTINGS)
    assert {file.name for file in tmp_path.iterdir()} == {"settings.json", half.name}


@pytest.mark.parametrize("content", [b"", b'{"rows": [', b"\xff\xfe"])
def test_a_damaged_file_is_named(tmp_path, content):
    file = tmp_path / "x.json"
    file.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"x\.json is damaged \(.+\); delete it\.$"
    ) as e:
        storage.read_json(file)
    assert str(e.value).startswith(str(file))


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


def test_of_a_damaged_claim_the_folder_is_to_be_deleted(tmp_path):
    storage.claim(tmp_path / "out", SETTINGS)
    (tmp_path / "out" / "settings.json").write_text("{")
    with pytest.raises(storage.Damaged, match=r"is damaged; delete the folder .*out"):
        storage.claim(tmp_path / "out", SETTINGS)
