"""The wheel and the sdist, in clean environments: alone, and with each extra."""

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import markdown_pages as pages
import pytest

pytestmark = pytest.mark.slow
ROOT = pages.ROOT
SOURCES = ROOT / "jatlas"
FILES = {"py.typed", "CHANGELOG.md"}  # beside modules


def run(*command, where=None, code=0, **more):
    """Standard output, or standard error of a command that is to fail."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "XLA_FLAGS")}
    done = subprocess.run(
        list(map(str, command)),
        cwd=where,
        env=env | {"JAX_PLATFORMS": "cpu"} | more,
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout if code == 0 else done.stderr


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    """An environment with what builds and installs."""
    folder = tmp_path_factory.mktemp("tools")
    run(sys.executable, "-m", "venv", folder)
    run(folder / "bin/pip", "install", "--quiet", "hatchling>=1.25", "uv")
    return folder / "bin"


@pytest.fixture(scope="module")
def built(tools, tmp_path_factory):
    """The wheel and the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    run(tools / "python", "-m", "hatchling", "build", "-d", folder, where=ROOT)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


@pytest.fixture(scope="module")
def installed(tools, built, tmp_path_factory):
    """A clean environment with the wheel and some extras; its programs."""
    made = {}

    def install(extra=""):
        if extra not in made:
            folder = tmp_path_factory.mktemp(f"with_{extra or 'nothing'}")
            uv = [tools / "uv", "--quiet"]
            run(*uv, "venv", "--python", sys.executable, folder / "v")
            wheel = f"{built[0]}[{extra}]" if extra else str(built[0])
            python = folder / "v/bin/python"
            run(*uv, "pip", "install", "--python", python, wheel)
            made[extra] = folder / "v/bin"
        return made[extra]

    return install


# The two files


def test_the_wheel_has_the_library_and_nothing_else(built):
    with zipfile.ZipFile(built[0]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        size = sum(entry.file_size for entry in wheel.infolist())
    assert names == {
        str(path.relative_to(ROOT))
        for path in SOURCES.rglob("*")
        if path.suffix == ".py" or path.name in FILES
    }
    assert size < 3e6


def test_the_sdist_builds_the_same_wheel(tools, built, tmp_path):
    with tarfile.open(built[1]) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    again = tmp_path / "again"
    run(
        tools / "python", "-m", "hatchling", "build", "-t", "wheel", "-d", again,
        where=source,
    )  # fmt: skip
    (wheel,) = again.glob("*.whl")
    assert wheel.name == built[0].name
    assert wheel.read_bytes() == built[0].read_bytes()


# Without extras


IMPORT = """
import time, jax
before = time.process_time()
import jatlas
print(time.process_time() - before)
"""


def test_it_is_imported_in_less_than_a_second_beyond_jax(installed, tmp_path):
    python = installed() / "python"
    took = [float(run(python, "-c", IMPORT, where=tmp_path)) for _ in range(3)]
    assert min(took) < 1, took  # of the processor: others may be at work beside


def test_the_first_example_and_the_command_run(installed, tmp_path):
    programs = installed()
    first = next(
        block
        for block in pages.blocks((ROOT / "README.md").read_text())
        if block.kind == "python"
    )
    promised = re.search(r"print\(.*\)\s+# (.*)$", first.text, re.M)[1]
    printed = run(programs / "python", "-c", first.text, where=tmp_path)
    assert pages.alike(promised, printed.strip()), printed
    for command in ([programs / "jatlas"], [programs / "python", "-m", "jatlas"]):
        text = run(*command, "--help", where=tmp_path)
        assert "merge" in text
        assert "translate" in text


CHARTS = """
import numpy as np
rng = np.random.default_rng(0)
z = rng.normal(size=(300, 8))
for name in "ab":
    x = np.tanh(z @ rng.normal(size=(8, 16))).astype("f")
    np.savez(f"{name}.npz", id=np.arange(300), x=x)
"""
MERGE = ["merge", "a.npz", "b.npz", "--anchors", "shared:32", "--out"]


@pytest.fixture
def charts(installed, tmp_path):
    run(installed() / "python", "-c", CHARTS, where=tmp_path)
    return tmp_path


def test_files_are_merged_without_an_extra(installed, charts):
    run(installed() / "jatlas", *MERGE, "atlas.safetensors", where=charts)
    assert "nearest to 7" in run(
        installed() / "jatlas", "neighbors", "atlas.safetensors", "7", where=charts
    )


WANTING = {
    "files": [*MERGE, "atlas.parquet"],
    "plots": ["compare", "a.npz", "b.npz", "--picture", "x.png"],
    "view": ["view", "atlas.safetensors"],
}


@pytest.mark.parametrize("extra", WANTING)
def test_a_missing_extra_is_named(installed, charts, extra):
    run(installed() / "jatlas", *MERGE, "atlas.safetensors", where=charts)
    before = sorted(charts.iterdir())
    said = run(installed() / "jatlas", *WANTING[extra], where=charts, code=2)
    assert f"pip install 'jatlas[{extra}]'" in said
    assert said.count("\n") == 1
    assert sorted(charts.iterdir()) == before


def test_of_an_address_the_package_of_its_store_is_named(installed, charts):
    """Flax brings fsspec, which is what the extra `remote` has beside files."""
    command = ["merge", "s3://bucket/a.npz", "b.npz", "--out", "x.safetensors"]
    said = run(installed() / "jatlas", *command, where=charts, code=2)
    assert said.startswith("error: s3://bucket/a.npz: ")
    assert "s3fs" in said
    assert said.count("\n") == 1


def test_a_cluster_without_its_extra_is_named(installed, charts):
    command = [*MERGE, "atlas/", "--workers", "2"]
    said = run(installed("files") / "jatlas", *command, where=charts, code=2)
    assert "pip install 'jatlas[cluster]'" in said


@pytest.mark.parametrize("module", ["experiments", "experiments.federated"])
def test_an_experiment_without_its_extra_says_so(installed, tmp_path, module):
    python = installed() / "python"
    said = run(python, "-m", module, where=tmp_path, code=2, PYTHONPATH=str(ROOT))
    assert said.startswith(f"error: python -m {module} takes packages that are not")
    assert said.endswith("pip install -e '.[experiments]'\n")
    assert said.count("\n") == 1


# Each extra alone, with what it is for

REMOTE = """
import fsspec, numpy as np
from jatlas.files import read_embeddings
with fsspec.open("memory://a.npz", "wb") as stream:
    np.savez(stream, id=np.arange(3), x=np.eye(3))
print(read_embeddings("memory://a.npz")[1].shape)
"""
HDF5 = """
import h5py, numpy as np
with h5py.File("c.h5", "w") as file:
    file["id"], file["x"] = np.arange(300), np.load("a.npz")["x"]
"""
LANCE = """
import lancedb, pyarrow as arrow, numpy as np
x = np.load("a.npz")["x"]
rows = arrow.table({"id": range(300), "vector": arrow.FixedSizeListArray.from_arrays(
    x.ravel(), 16)})
table = lancedb.connect("db").create_table("a", rows)
print(table.search(x[7]).limit(1).to_list()[0]["id"])
"""
WEIGHTS = """
from experiments.encoders import pretrained
for variant in (0, 1, 2):
    pretrained.encoder(variant)
print("read")
"""
VERSES = """
from experiments.data import verses
print(len(verses.verses()) > 10_000)
"""
TENSORFLOW = """
import tensorflow_datasets, tensorflow as tf
print(tf.io.gfile.exists("a.npz"), len(tensorflow_datasets.list_builders()) > 100)
"""
QUICK = ["--dataset", "digits", "--settings", "T2", "--seeds", "0", "--max-epochs", "1"]
QUICK += ["--probe-epochs", "2", "--out", "out"]
NOTEBOOK = ROOT / "experiments/notebooks/five_minutes.py"
PAGES = ROOT / "experiments/api_pages"

# By extra: commands, and what the last one prints.
USES = {
    "files": (
        [["python", "-c", HDF5], ["jatlas", *MERGE, "atlas.parquet"],
         ["jatlas", "compare", "c.h5", "atlas.parquet", "--measures", "cka-linear"]],
        "cka-linear"),
    "remote": ([["python", "-c", REMOTE]], "(3, 3)"),
    "cluster": ([["jatlas", *MERGE, "atlas/", "--workers", "2"]], "wrote atlas"),
    "lance": ([["python", "-c", LANCE]], "7"),
    "view": (
        [["jatlas", *MERGE, "x.safetensors"],
         ["jatlas", "view", "x.safetensors", "--export", "projector", "--out", "seen"],
         ["tensorboard", "--version"]],
        "."),
    "plots": ([["jatlas", "compare", "a.npz", "b.npz", "--picture", "x.png"]], "x.png"),
    "experiments": ([["python", "-m", "experiments", *QUICK]], "The table is in out"),
    "pretrained": ([["python", "-c", WEIGHTS]], "read"),
    "two-encoders": ([["python", "-c", VERSES]], "True"),
    "prepare": ([["python", "-c", TENSORFLOW]], "True True"),
    "browser": ([["python", "-m", "playwright", "--version"]], "Version"),
    "docs": (
        [["jupytext", "--to", "ipynb", "-o", "five.ipynb", NOTEBOOK],
         ["python", "-m", "sphinx", "-W", "-q", "-b", "html", PAGES, "api"],
         ["python", "-c", "import os; print(os.listdir('api'))"]],
        "index.html"),
    "test": (
        [["python", "-m", "pytest", "-n", "0", "-q", "-p", "no:cacheprovider",
          ROOT / "tests/merging/test_relative.py"]],
        "passed"),
}  # fmt: skip
ELSEWHERE = {
    "dev": "installed by .ci/run, which then runs all tests with it",
    "bench": "brings 3 GB with the default build of torch; .ci/slow installs torch",
}


def test_every_extra_is_tried():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = set(project["optional-dependencies"])
    assert set(USES) | set(ELSEWHERE) == extras
    assert not set(USES) & set(ELSEWHERE)


@pytest.mark.parametrize("extra", USES)
def test_an_extra_alone_brings_what_it_is_for(installed, charts, extra):
    programs, (commands, printed) = installed(extra), USES[extra]
    text = ""
    for name, *arguments in commands:
        path = {} if name == "jatlas" else {"PYTHONPATH": str(ROOT)}
        text = run(programs / name, *arguments, where=charts, **path)
    assert printed in text


def test_the_library_is_that_of_the_wheel(installed, tmp_path):
    where = run(
        installed() / "python", "-c", "import jatlas; print(jatlas.__file__)",
        where=tmp_path,
    )  # fmt: skip
    assert not Path(where.strip()).is_relative_to(ROOT)
