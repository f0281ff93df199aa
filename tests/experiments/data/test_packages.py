"""Files of installed packages are found by their names, and no code is run."""

import sys

from experiments.data import packages


def test_files_of_a_package_are_found_and_its_code_is_not_run(tmp_path, monkeypatch):
    folder = tmp_path / "a_package"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit")
    for name in ("b.pth", "a.pth", "c.txt"):
        (folder / "models" / name).touch()
    monkeypatch.syspath_prepend(tmp_path)
    found = packages.find("a-package", "models/*.pth")
    assert found == [folder / "models" / name for name in ("a.pth", "b.pth")]
    assert packages.find("a_package", "models/*.bin") == []
    assert "a_package" not in sys.modules


def test_of_a_package_that_is_not_there_nothing_is_found():
    assert packages.find("no-such-package", "*") == []
