"""A folder belongs to one run, made by one code unless it is forced."""

import errno
import fcntl
import subprocess
import sys

import pytest

from experiments.data import storage
from experiments.runs import folders

SETTINGS = {"options": {"seeds": (0, 1), "dataset": "digits"}, "device": "cpu"}


def test_a_folder_can_be_claimed_again_by_the_same_settings_only(tmp_path):
    folder = tmp_path / "out"
    folders.claim(folder, SETTINGS)
    folders.claim(folder, SETTINGS)
    others = {**SETTINGS, "options": {"seeds": (0,), "dataset": "digits"}}
    with pytest.raises(
        ValueError,
        match=r"other options: options\.seeds is \[0, 1\] there and \[0\] here",
    ):
        folders.claim(folder, others)


def test_a_folder_with_other_files_is_not_claimed(tmp_path):
    (tmp_path / "thesis.tex").write_text("...")
    with pytest.raises(ValueError, match="has files in it that are not of a run"):
        folders.claim(tmp_path, SETTINGS)
    assert not (tmp_path / "settings.json").exists()


def test_what_a_kill_left_half_written_does_not_make_a_folder_another_s(tmp_path):
    half = tmp_path / ".settings.json.x1y2"
    half.write_text("{")
    (tmp_path / ".settings.json.z3.part").write_text("{")
    folders.claim(tmp_path, SETTINGS)
    assert {file.name for file in tmp_path.iterdir()} == {"settings.json", half.name}


def test_what_a_killed_run_left_half_written_is_cleared_by_the_next(tmp_path):
    folder = tmp_path / "out"
    folders.claim(folder, SETTINGS)
    (folder / "parts").mkdir()
    left = [folder / ".tsne.png.x1y2.part", folder / "parts" / ".a.json.z3.part"]
    kept = [folder / "tsne.png", folder / ".hidden", folder / "parts" / "a.part"]
    for file in (*left, *kept):
        file.write_text("half")
    folders.claim(folder, SETTINGS)
    assert not any(file.exists() for file in left)
    assert all(file.exists() for file in kept)


def test_of_a_damaged_claim_the_folder_is_to_be_deleted(tmp_path):
    folders.claim(tmp_path / "out", SETTINGS)
    (tmp_path / "out" / "settings.json").write_text("{")
    with pytest.raises(storage.Damaged, match=r"is damaged; delete the folder .*out"):
        folders.claim(tmp_path / "out", SETTINGS)


def code(**modules):
    return SETTINGS | {"modules": modules}


def test_of_other_code_the_modules_that_differ_are_named(tmp_path):
    folder = tmp_path / "out"
    assert folders.claim(folder, code(same="1", changed="1", gone="1")) == []
    with pytest.raises(
        ValueError,
        match=r"begun by other code: changed, gone, new differ.*with --force",
    ):
        folders.claim(folder, code(same="1", changed="2", new="1"))
    assert storage.read_json(folder / "settings.json")["modules"]["changed"] == "1"


def test_of_many_modules_five_are_named(tmp_path):
    folders.claim(tmp_path / "out", code(**{f"m{k}": "1" for k in range(8)}))
    with pytest.raises(ValueError, match="m0, m1, m2, m3, m4 and 3 more differ"):
        folders.claim(tmp_path / "out", code(**{f"m{k}": "2" for k in range(8)}))


def test_by_force_it_is_gone_on_with_and_never_forgotten(tmp_path):
    folder = tmp_path / "out"
    folders.claim(folder, code(a="1", b="1"))
    assert folders.claim(folder, code(a="2", b="1"), force=True) == ["a"]
    assert folders.claim(folder, code(a="2", b="1")) == ["a"]  # by the new code
    assert folders.claim(folder, code(a="2", b="3"), force=True) == ["a", "b"]
    with pytest.raises(ValueError, match="other code: a differ"):
        folders.claim(folder, code(a="1", b="3"))


def test_other_options_are_not_to_be_forced(tmp_path):
    folder = tmp_path / "out"
    folders.claim(folder, code(a="1"))
    others = code(a="2") | {"device": "gpu"}
    with pytest.raises(ValueError, match="other options: device is 'cpu' there"):
        folders.claim(folder, others, force=True)


HOLDS = """
import sys, time
from pathlib import Path
from experiments.runs import folders
with folders.held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_folder_is_held_by_one_process_until_it_ends(tmp_path):
    folder = tmp_path / "a b ü"
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDS, folder], stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "held\n"
        message = r"another run is at work in .*a b ü\. Wait"
        with pytest.raises(ValueError, match=message), folders.held(folder):
            pytest.fail("held by two")
    finally:
        other.kill()
        other.communicate()
    with folders.held(folder):
        assert list(folder.iterdir()) == []


def test_where_a_file_system_has_no_locks_nobody_is_refused(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with folders.held(tmp_path), folders.held(tmp_path):
        folders.claim(tmp_path, SETTINGS)
