"""Every global name that a module reads is one that it imports or defines.

The linter cannot tell: it takes the axes in annotations of arrays for names.
"""

import ast
import builtins
import dis
import types
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path
    for room in ("jatlas", "experiments", "tests")
    for path in (ROOT / room).rglob("*.py")
)
OF_MODULES = {
    "__file__",
    "__name__",
    "__doc__",
    "__path__",
    "__spec__",
    "__annotations__",
}


def read(code):
    """The global names that a code object and those within it read."""
    names = {i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"}
    inner = (c for c in code.co_consts if isinstance(c, types.CodeType))
    return names.union(*map(read, inner))


def defined(code):
    """The global names that a module, and functions by `global`, define."""
    stores = ("STORE_NAME", "STORE_GLOBAL")
    names = {i.argval for i in dis.get_instructions(code) if i.opname in stores}
    inner = (c for c in code.co_consts if isinstance(c, types.CodeType))
    return names.union(*map(defined, inner))


def undefined(source):
    tree = ast.parse(source)
    code = compile(tree, "module", "exec", dont_inherit=True)
    return sorted(read(code) - defined(code) - set(dir(builtins)) - OF_MODULES)


def test_every_name_is_defined():
    faults = {
        str(path.relative_to(ROOT)): undefined(path.read_text()) for path in FILES
    }
    assert {path: names for path, names in faults.items() if names} == {}


def test_a_name_that_is_not_defined_is_seen():
    source = (
        "import numpy as np\ndef f():\n    return jax.tree.leaves(np.ones(len([])))"
    )
    assert undefined(source) == ["jax"]
