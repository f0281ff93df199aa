"""The floors of the house: what `jatlas` may import, and from where."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A module imports from lower floors only. A new module gets its floor here.
FLOORS = {
    "jatlas.arrays": 0,
    "jatlas.chunks": 0,
    "jatlas.layout": 0,
    "jatlas.seeds": 0,
    "jatlas.tiles": 0.25,
    "jatlas.median": 0.5,
    "jatlas.rbf": 0.75,
    "jatlas.transforms": 1,
    "jatlas.relative": 1,
    "jatlas.anchors": 1,
    "jatlas.cka": 1,
    "jatlas.geometry": 1,
    "jatlas.neighbors": 1,
    "jatlas.probe": 1,
    "jatlas.crossfit": 1.5,
    "jatlas.retrieval": 1,
    "jatlas.charts": 1,
    "jatlas.tasks": 1,
    "jatlas.embedding": 1.5,
    "jatlas.learning": 1.5,
    "jatlas.optimizers": 1,
    "jatlas.permutation": 1,
    "jatlas.atlas": 2,
    "jatlas.disagreement": 2.5,
    "jatlas.merging": 2.5,
    "jatlas.training": 2,
    "jatlas.spaces": 2,
    "jatlas.sharding": 2,
    "jatlas.files": 2.75,
    "jatlas.storage": 3,
    "jatlas.commands": 3.25,
    "jatlas": 3.5,  # names what all of these offer, for those above
    "jatlas.__main__": 4,
}
ALLOWED = {"jax", "chex", "flax", "optax", "numpy", "jaxtyping"}
HEAVY = ["tensorflow_datasets", "tensorflow", "sklearn", "matplotlib", "experiments"]
HEAVY += ["pyarrow", "h5py"]


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_name(path): path for path in sorted(ROOT.glob("jatlas/**/*.py"))}
each_module = pytest.mark.parametrize("module", MODULES)


def room(module):
    """A package is one room: `jatlas.charts.cnn` is in `jatlas.charts`."""
    return ".".join(module.split(".")[:2])


def imported(module, source):
    """The modules that `source` imports, wherever in it, by their whole names."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                package = module.split(".")[: -node.level] or ["jatlas"]
                origin = ".".join([*package, *origin.split(".")]).rstrip(".")
            for alias in node.names:
                whole = f"{origin}.{alias.name}"
                is_module = whole in MODULES or whole in FLOORS
                found.add(whole if is_module else origin)
    return found


def faults(module, source):
    """What is wrong with the imports of a module, in words."""
    for name in sorted(imported(module, source)):
        top = name.split(".")[0]
        if top != "jatlas":
            if top not in ALLOWED | sys.stdlib_module_names:
                yield f"{module} imports {name}, not one of {sorted(ALLOWED)}"
        elif room(name) not in FLOORS:
            yield f"{module} imports {name}, which has no floor"
        elif room(name) == room(module) != "jatlas":
            if name == room(module):
                yield f"{module} imports the package that it is a part of"
        elif FLOORS[room(name)] >= FLOORS[room(module)]:
            yield (
                f"{module} (floor {FLOORS[room(module)]}) imports {name} (floor "
                f"{FLOORS[room(name)]}); imports go down the floors only"
            )


@each_module
def test_every_module_has_a_floor(module):
    assert room(module) in FLOORS, f"give {module} a floor in {Path(__file__).name}"


@each_module
def test_imports_go_down_the_floors_only(module):
    assert list(faults(module, MODULES[module].read_text())) == []


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        ("jatlas.arrays", "from jatlas import relative", "imports jatlas.relative"),
        ("jatlas.relative", "from jatlas.cka import cka", "floor 1.*jatlas.cka"),
        ("jatlas.relative", "def f():\n    import jatlas.atlas", "jatlas.atlas"),
        ("jatlas.relative", "from jatlas import merge", r"imports jatlas \(floor 3.5"),
        ("jatlas.relative", "from .atlas import merge", "imports jatlas.atlas"),
        ("jatlas.relative", "from . import atlas", "imports jatlas.atlas"),
        ("jatlas.relative", "import jatlas", r"imports jatlas \(floor 3.5"),
        ("jatlas.relative", "from jatlas.new import x", "jatlas.new, which has no"),
        ("jatlas.relative", "import sklearn.cluster", "sklearn.cluster, not one of"),
        ("jatlas.relative", "from experiments import run", "imports experiments"),
        ("jatlas.charts.cnn", "from jatlas.charts import Chart", "it is a part of"),
        ("jatlas.charts.cnn", "from jatlas.training import x", "jatlas.training"),
    ],
)
def test_an_import_that_goes_up_is_found(module, source, fault):
    (found,) = faults(module, source)
    assert re.search(fault, found)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("jatlas.relative", "import jax.numpy as jnp\nfrom jatlas import arrays"),
        ("jatlas.atlas", "from jatlas.relative import relativize"),
        ("jatlas.charts.cnn", "from jatlas.charts.chart import Chart"),
        ("jatlas.charts", "from jatlas.charts.cnn import CNN"),
        ("jatlas.__main__", "import jatlas\nimport sys"),
        ("jatlas", "from jatlas.merging import merge"),
    ],
)
def test_an_import_that_goes_down_is_not(module, source):
    assert list(faults(module, source)) == []


def test_importing_jatlas_brings_nothing_heavy():
    program = "import sys, jatlas; print(*sys.modules, sep='\\n')"
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    loaded = set(run.stdout.split())
    assert "jatlas.arrays" in loaded
    assert loaded.isdisjoint(HEAVY)
