"""The floors of the house: what may import what, and how large a room may be."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A module imports from lower floors, or from its own room. A new room gets its floor
# here; an experiment is on the floor of experiments, and imports no other.
FLOORS = {
    "jatlas._src": 0,
    "jatlas.merging": 1,
    "jatlas.metrics": 1,
    "jatlas.probes": 1,
    "jatlas.charts": 1,
    "jatlas.running": 1,
    "jatlas.scenarios": 2,
    "jatlas.devices": 2,
    "jatlas.files": 2,
    "jatlas.cli": 3,
    "jatlas": 3,  # names what those below offer
    "jatlas.__main__": 4,
    "experiments.data": 5,
    "experiments.encoders": 6,
    "experiments.runs": 7,
    "experiments.measures": 8,
    "experiments.plots": 8,
    "experiments.paper": 9,
    "experiments.anchors": 9,
    "experiments.blind": 9,
    "experiments.few_labels": 9,
    "experiments.two_encoders": 9,
    "experiments.continual": 9,
    "experiments.federated": 9,
    "experiments.multihost": 9,
    "experiments.benchmarks": 9,
    "experiments.__main__": 10,
    "experiments.guides": 10,
    "experiments.readmes": 10,
    "experiments.notebooks": 10,
    "experiments.api_pages": 10,
    "experiments": 0,  # says what the package is, and imports nothing
}
ALLOWED = {"jax", "chex", "flax", "optax", "numpy", "jaxtyping"}
HEAVY = ["tensorflow_datasets", "tensorflow", "sklearn", "matplotlib", "experiments"]
HEAVY += ["pyarrow", "h5py", "dask", "distributed", "flax"]
MOST_FILES = 14
MOST_LINES = 300
# Their first line says why they are longer: "(long: ...)".
REASON = re.compile(r"\(long: .{10,}\)")


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


PATHS = [
    *sorted(ROOT.glob("jatlas/**/*.py")),
    *sorted(ROOT.glob("experiments/**/*.py")),
]
MODULES = {module_name(path): path for path in PATHS}
each_module = pytest.mark.parametrize("module", MODULES)


def room(module):
    """A package is one room: `jatlas.charts.cnn` is in `jatlas.charts`."""
    return ".".join(module.split(".")[:2])


def imported(module, source):
    """The modules that `source` imports, wherever in it, by their whole names."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                package = module.split(".")[: -node.level] or ["jatlas"]
                origin = ".".join([*package, *origin.split(".")]).rstrip(".")
            for alias in node.names:
                whole = f"{origin}.{alias.name}"
                is_module = whole in MODULES or whole in FLOORS
                names.add(whole if is_module else origin)
    return names


def faults(module, source):
    """What is wrong with the imports of a module, in words."""
    home = room(module)
    for name in sorted(imported(module, source)):
        top = name.split(".")[0]
        if top not in ("jatlas", "experiments"):
            if (
                home.startswith("jatlas")
                and top not in ALLOWED | sys.stdlib_module_names
            ):
                yield f"{module} imports {name}, not one of {sorted(ALLOWED)}"
        elif room(name) not in FLOORS:
            yield f"{module} imports {name}, which has no floor"
        elif room(name) == home not in ("jatlas", "experiments"):
            if name == home:
                yield f"{module} imports the package that it is a part of"
        elif FLOORS[room(name)] >= FLOORS[home]:
            yield (
                f"{module} (floor {FLOORS[home]}) imports {name} (floor "
                f"{FLOORS[room(name)]}); imports go down the floors only"
            )


@each_module
def test_every_module_has_a_floor(module):
    assert room(module) in FLOORS, f"give {module} a floor in {Path(__file__).name}"


@each_module
def test_imports_go_down_the_floors_only(module):
    if module == "jatlas":  # the namespaces are what it is for
        return
    assert list(faults(module, MODULES[module].read_text())) == []


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        ("jatlas._src.arrays", "from jatlas import merging", "imports jatlas.merging"),
        ("jatlas.merging.mean", "from jatlas.metrics import cka", "floor 1.*metrics"),
        ("jatlas.merging.mean", "def f():\n    import jatlas.files", "jatlas.files"),
        ("jatlas.merging.mean", "from jatlas import merge", r"imports jatlas \(floor"),
        ("jatlas.merging.mean", "from ..probes import probe", "imports jatlas.probes"),
        ("jatlas.merging.mean", "import jatlas", r"imports jatlas \(floor 3"),
        ("jatlas.merging.mean", "from jatlas.new import x", "jatlas.new, which has no"),
        (
            "jatlas.merging.mean",
            "import sklearn.cluster",
            "sklearn.cluster, not one of",
        ),
        ("jatlas.merging.mean", "from experiments import runs", "imports experiments"),
        ("jatlas.charts.cnn", "from jatlas.charts import Chart", "it is a part of"),
        ("jatlas.charts.cnn", "from jatlas.scenarios import x", "jatlas.scenarios"),
        ("experiments.blind.cell", "from experiments.paper import x", "floor 9.*paper"),
        ("experiments.runs.x", "from experiments.plots import y", "experiments.plots"),
    ],
)
def test_an_import_that_goes_up_is_found(module, source, fault):
    (message,) = faults(module, source)
    assert re.search(fault, message)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "jatlas.merging.mean",
            "import jax.numpy as jnp\nfrom jatlas._src import arrays",
        ),
        ("jatlas.files.storage", "from jatlas.merging.relative import relativize"),
        ("jatlas.charts.cnn", "from jatlas.charts.chart import Chart"),
        ("jatlas.charts", "from jatlas.charts.cnn import CNN"),
        ("jatlas.__main__", "import jatlas\nimport sys"),
        ("experiments.blind.cell", "import jatlas\nimport sklearn"),
    ],
)
def test_an_import_that_goes_down_is_not(module, source):
    assert list(faults(module, source)) == []


def test_importing_jatlas_brings_nothing_heavy():
    program = "import sys, jatlas; print(*sys.modules, sep='\\n')"
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    loaded = set(run.stdout.split())
    assert "jatlas._src.arrays" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_the_main_job_is_refused_or_begun_without_scikit_learn():
    """It takes as long to import as all else, and what is mistyped need not wait."""
    program = "import sys, experiments.paper.experiment; print(*sys.modules, sep='\\n')"
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(run.stdout.split())
    assert "experiments.paper.measure" in loaded
    assert loaded.isdisjoint({"sklearn", "scipy.stats", "pandas", "matplotlib"})


def test_no_folder_of_code_is_crowded():
    counts = {}
    for path in PATHS:
        counts[path.parent] = counts.get(path.parent, 0) + 1
    crowded = {str(f.relative_to(ROOT)): n for f, n in counts.items() if n > MOST_FILES}
    assert not crowded


@each_module
def test_no_module_is_long_without_a_reason(module):
    text = MODULES[module].read_text()
    if text.count("\n") > MOST_LINES:
        assert REASON.search(text.partition("\n")[0]), (
            f"{module}: {text.count(chr(10))}"
        )


PUBLIC = ["jatlas", *(name for name in FLOORS if name.count(".") == 1)]
PUBLIC = [p for p in PUBLIC if p.startswith("jatlas") and "_" not in p]


@pytest.mark.parametrize("package", PUBLIC)
def test_no_function_has_the_name_of_a_module_beside_it(package):
    """`from jatlas.metrics import cka` must not depend on what was imported before."""
    functions = {
        node.name if isinstance(node, ast.FunctionDef) else alias.asname or alias.name
        for node in ast.parse(MODULES[package].read_text()).body
        for alias in getattr(node, "names", [None])
        if isinstance(node, ast.FunctionDef | ast.ImportFrom)
    }
    modules = {m.rpartition(".")[2] for m in MODULES if m.rpartition(".")[0] == package}
    namespaces = modules if package in ("jatlas", "jatlas.running") else set()
    assert (functions & modules) - namespaces == set()


def test_the_top_level_is_the_design_card_s():
    listed = ["git", "ls-tree", "--name-only", "HEAD"]
    run = subprocess.run(listed, capture_output=True, text=True, check=True, cwd=ROOT)
    names = {name for name in run.stdout.split() if not name.startswith(".")}
    card = {"pyproject.toml", "README.md", "LICENSE", "jatlas", "experiments", "tests"}
    assert names == card
