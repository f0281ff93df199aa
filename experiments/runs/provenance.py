"""What a run's numbers come from: code, versions, device, data."""

import ast
import hashlib
import importlib.util
import platform
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.data.dataset import Dataset
from experiments.encoders import chart_kinds, plugins
from experiments.encoders.pretrained import weights_file
from experiments.runs import settings
from experiments.runs.options import Options

PACKAGES = ("jatlas", "jax", "jaxlib", "flax", "optax", "numpy", "scikit-learn")
OURS = ("jatlas", "experiments")
# What only draws or prints: no number depends on it.
SHOWN = ("experiments.plots", "experiments.runs.terminal")


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Of the packages, and of Python."""
    found = {name: metadata.version(name) for name in packages}
    return found | {"python": platform.python_version()}


def device() -> str:
    """What it is computed on."""
    first = jax.devices()[0]
    return f"{first.platform}: {first.device_kind} ({platform.machine()})"


def of_dataset(options: Options, dataset: Dataset) -> dict[str, Any]:
    """What a run on images says of itself: all options resolved, and hashes of data."""
    chosen = settings.chosen(
        options.settings, options.scenario, options.dataset, len(dataset.class_names)
    )
    return {
        "options": {
            "settings": [setting.name for setting in chosen],
            "num_held_out": options.held_out,
            "max_epochs": {kind: options.epochs(kind) for kind in options.charts},
        },
        "versions": {
            "data": _hash([dataset.images, dataset.labels]),
            **_weights(options.charts),
        },
        "notes": list(dataset.notes),
    }


def _weights(charts: Iterable[str]) -> dict[str, str]:
    """Hashes of the frozen encoders' weights, by kind of chart."""
    variants = {kind: chart_kinds.kind(kind).variant for kind in charts}
    return {
        f"weights of {kind}": _hash([weights_file(variant).read_bytes()])
        for kind, variant in variants.items()
        if variant is not None
    }


# The code


def code(functions: Iterable[Callable], parts: Iterable[str] = ()) -> dict[str, str]:
    """Hashes of all modules of ours that these functions depend on, by their names.

    A comment, a docstring or the layout of the code is no part of a hash, so that a run
    goes on after these have changed; nor is what only draws or prints.

    Args:
        functions: those that make the numbers.
        parts: names of charts and similarities; the modules of those that are the
            user's own, as MODULE:FUNCTION, count too.
    """
    roots = {_unwrapped(function).__module__ for function in functions}
    found = {name: _hash_of(path) for name, path in closure(roots).items()}
    for name in parts:
        if plugins.is_own(name) and (path := plugins.file_of(name)) is not None:
            found[name.split(":")[0]] = _hash_of(path)
    return dict(sorted(found.items()))


def hash_of(modules: dict[str, str]) -> str:
    """One hash of the hashes of modules."""
    return _hash(f"{name} {value}".encode() for name, value in sorted(modules.items()))


def closure(roots: Iterable[str]) -> dict[str, Path]:
    """The modules of ours that are imported from these, at whatever remove.

    Of a package only the module counts that defines what is taken from it: whoever uses
    `jatlas.cka` does not depend on how files are read.
    """
    found: dict[str, Path] = {}
    waiting = [name for name in roots if name.split(".")[0] in OURS]
    while waiting:
        name = waiting.pop()
        if name in found or name.startswith(SHOWN):
            continue
        if (path := _path(name)) is not None:
            found[name] = path
            waiting.extend(_imported(name))
    return found


def _unwrapped(function: Callable) -> Callable:
    while isinstance(function, partial):
        function = function.func
    return function


@cache
def _path(name: str) -> Path | None:
    """The file of a module; None if there is none of this name."""
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
    """The packages of ours that a module has under a name, by that name."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                whole = alias.name if alias.asname else alias.name.split(".")[0]
                found[alias.asname or whole] = whole
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return {k: v for k, v in found.items() if v.split(".")[0] in OURS}


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
    """The modules that a name comes from, which is looked up in a module.

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
    return ast.parse(path.read_text())


@cache
def _hash_of(path: Path) -> str:
    """A hash of what the code does: neither docstrings nor comments count."""
    return _hash([ast.dump(without_docstrings(path.read_text())).encode()])


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


def _hash(parts: Iterable[bytes | np.ndarray]) -> str:
    """Of the hashes of all parts; nothing is copied that lies in one piece."""
    whole = hashlib.sha256()
    for part in parts:
        content = np.ascontiguousarray(part) if isinstance(part, np.ndarray) else part
        whole.update(hashlib.sha256(content).digest())
    return whole.hexdigest()[:16]
