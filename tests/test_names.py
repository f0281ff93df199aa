"""Every global name that a module reads is one that it imports or defines.

The linter cannot tell: it takes the axes in annotations of arrays for names.
"""

import builtins
import symtable
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path
    for room in ("jatlas", "experiments", "tests")
    for path in (ROOT / room).rglob("*.py")
)
OF_MODULES = {"__file__", "__name__", "__doc__", "__path__", "__spec__"}
KNOWN = set(dir(builtins)) | OF_MODULES


def tables(table):
    """A table of symbols, and those of all that is defined within."""
    yield table
    for child in table.get_children():
        yield from tables(child)


def undefined(source):
    top, *others = tables(symtable.symtable(source, "module", "exec"))
    bound = {s.get_name() for s in top.get_symbols() if s.is_assigned()}
    bound |= {s.get_name() for s in top.get_symbols() if s.is_imported()}
    bound |= {s.get_name() for s in top.get_symbols() if s.is_namespace()}
    reads = {
        s.get_name()
        for table in [top, *others]
        for s in table.get_symbols()
        if s.is_referenced() and (table is top or s.is_global())
    }
    return sorted(reads - bound - KNOWN)


def test_every_name_is_defined():
    names = {str(path.relative_to(ROOT)): undefined(path.read_text()) for path in FILES}
    assert {path: missing for path, missing in names.items() if missing} == {}


def test_a_name_that_is_not_defined_is_seen():
    source = (
        "import numpy as np\ndef f():\n    return jax.tree.leaves(np.ones(len([])))"
    )
    assert undefined(source) == ["jax"]
