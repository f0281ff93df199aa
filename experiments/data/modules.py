"""Our modules that code depends on, and their hashes.

What is kept on disk is kept under such hashes: a comment, a docstring or the layout of
the code is no part of them.
"""

import ast
import hashlib
import importlib.util
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import numpy as np

OURS = ("jatlas", "experiments")


def hashes(roots: Iterable[str], without: tuple[str, ...] = ()) -> dict[str, str]:
    """Hashes of the modules of `closure`, by their names."""
    return {name: hash_of_file(path) for name, path in closure(roots, without).items()}


def hash_of(modules: dict[str, str]) -> str:
    """One hash of the hashes of modules."""
    return hash_of_parts(
        f"{name} {value}".encode() for name, value in sorted(modules.items())
    )


def closure(roots: Iterable[str], without: tuple[str, ...] = ()) -> dict[str, Path]:
    """The modules of ours that are imported from these, at whatever remove.

    Of a package only the module counts that defines what is taken from it: whoever uses
    `jatlas.cka` does not depend on how files are read.

    Args:
        roots: names of modules.
        without: the beginnings of names that are left out.
    """
    paths: dict[str, Path] = {}
    waiting = [name for name in roots if name.split(".")[0] in OURS]
    while waiting:
        name = waiting.pop()
        if name in paths or name.startswith(without):
            continue
        if (path := _path(name)) is not None:
            paths[name] = path
            waiting.extend(_imported(name))
    return paths


@cache
def _path(name: str) -> Path | None:
    """The file of a module, or None if it is missing."""
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return None
    origin = spec and spec.origin
    return Path(origin) if origin and origin.endswith(".py") else None


def _imported(name: str) -> Iterator[str]:
    """The modules of ours that a module takes something from."""
    tree = _tree(_path(name))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield from _origin(node.module, (alias.name,))
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield from _origin(alias.name, ())
    names = _bound(tree)
    for chain in _chains(tree):
        if chain[0] in names:
            yield from _origin(names[chain[0]], chain[1:])


def _bound(tree: ast.Module) -> dict[str, str]:
    """The packages of ours in a module, by their local names."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                whole = alias.name if alias.asname else alias.name.split(".")[0]
                names[alias.asname or whole] = whole
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return {k: v for k, v in names.items() if v.split(".")[0] in OURS}


def _chains(tree: ast.Module) -> Iterator[tuple[str, ...]]:
    """What stands in the code as a.b.c, as ("a", "b", "c")."""
    for node in ast.walk(tree):
        names: list[str] = []
        while isinstance(node, ast.Attribute):
            names.insert(0, node.attr)
            node = node.value
        if names and isinstance(node, ast.Name):
            yield (node.id, *names)


def _origin(module: str, names: tuple[str, ...]) -> Iterator[str]:
    """The modules that a name in a module comes from.

    Through packages, which only pass on what others define, to that other module.
    """
    if module.split(".")[0] not in OURS or (path := _path(module)) is None:
        return
    if path.name != "__init__.py":
        yield module
    elif names:
        inner = f"{module}.{names[0]}"
        passed = _bound(_tree(path)).get(names[0])
        if _path(inner) is not None:
            yield from _origin(inner, names[1:])
        elif passed is not None:
            package, _, last = passed.rpartition(".")
            yield from _origin(package, (last, *names[1:]))
        else:  # the package defines it itself
            yield module


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


@cache
def hash_of_file(path: Path) -> str:
    """A hash of what the code does: neither docstrings nor comments count."""
    return hash_of_parts(
        [ast.dump(without_docstrings(path.read_text("utf-8"))).encode()]
    )


def without_docstrings(source: str) -> ast.Module:
    """The code, parsed, without strings that nothing is done with."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            lines = getattr(node, field, None)
            if isinstance(lines, list):
                setattr(node, field, [line for line in lines if not _is_text(line)])
    return tree


def _is_text(node: ast.AST) -> bool:
    value = getattr(node, "value", None)
    return (
        isinstance(node, ast.Expr)
        and isinstance(value, ast.Constant)
        and isinstance(value.value, str)
    )


def hash_of_parts(parts: Iterable[bytes | np.ndarray]) -> str:
    """The hash of all parts' hashes, without copying contiguous ones."""
    whole = hashlib.sha256()
    for part in parts:
        content = np.ascontiguousarray(part) if isinstance(part, np.ndarray) else part
        whole.update(hashlib.sha256(content).digest())
    return whole.hexdigest()[:16]
