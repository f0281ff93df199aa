"""How the API pages are made of the docstrings.

    python -m sphinx -W -b html experiments/api_pages build/api

A public name is written on one of the pages beside this file; a test finds those that
are on none.
"""

import ast
import inspect
import re
import sys
import textwrap
from typing import Any

from sphinx.application import Sphinx

import jatlas

# The classes that are public, by their last names: these are linked.
PUBLIC = {
    name: value
    for module in (jatlas.charts, jatlas.files, jatlas.metrics, jatlas.scenarios)
    for name, value in vars(module).items()
    if inspect.isclass(value)
}

project = "jatlas"
html_title = "jatlas"
html_theme_options = {"page_width": "1100px", "show_powered_by": False}
html_show_copyright = False
html_copy_source = False

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon"]
default_role = "py:obj"  # `merge` in a docstring is a link; what is no name is code
add_module_names = False
maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"
napoleon_custom_sections = [("Attributes", "params_style")]


def as_written(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, *signature: str | None
) -> tuple[str, str | None]:
    """The signature of a public object as it stands in the source.

    What Python makes of it is hard to read: `AnyArray`, an array of JAX or NumPy, turns
    every annotation into two.

    Returns:
        The arguments in parentheses, or the fields of a class that lists them; and what
        a function returns.
    """
    obj = inspect.unwrap(obj)
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(obj))).body
    names = vars(sys.modules[obj.__module__])
    if isinstance(tree, ast.FunctionDef):
        return f"({_text(tree.args, names)})", _text(tree.returns, names)
    starts = [part for part in tree.body if getattr(part, "name", "") == "__init__"]
    if starts:
        return f"({_text(starts[0].args, names).removeprefix('self, ')})", None
    fields = [part for part in tree.body if isinstance(part, ast.AnnAssign)]
    return f"({', '.join(_text(field, names) for field in fields)})", None


def _text(tree: ast.AST, names: dict[str, Any]) -> str:
    """The source, with public names spelled out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = node.value.strip()  # " N" is one axis, for linters' sake
        if isinstance(node, ast.Name) and node.id in PUBLIC:
            meant = names[node.id]
            if meant is not PUBLIC[node.id]:
                node.id = str(meant).removeprefix("collections.abc.")
    return ast.unparse(tree)


def as_meant(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Escape two things in our docstrings that Sphinx takes for markup.

    "num_classes: C." begins no list whose items are A, B and C, and in "Returns: A
    `Tasks`: samples .." no type stands before the colon.
    """
    for i, line in enumerate(lines):
        lines[i] = re.sub(r"^( +\w+: )(\w\.)", r"\1\\\2", line)
        if line == "Returns:":
            lines[i + 1] = re.sub(r"^ +", "    : ", lines[i + 1])


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-signature", as_written)
    app.connect("autodoc-process-docstring", as_meant, priority=400)  # the first
