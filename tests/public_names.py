"""The public names of the library: `{"merge": ..., "metrics.cka": ...}`."""

import inspect
from types import ModuleType

import jatlas

NAMESPACES = {
    name: getattr(jatlas, name)
    for name in jatlas.__all__
    if inspect.ismodule(getattr(jatlas, name))
}
FLAT = {
    name: getattr(jatlas, name)
    for name in jatlas.__all__
    if name not in NAMESPACES and name != "__version__"
}


def named(module: ModuleType, prefix: str) -> dict[str, object]:
    """What a namespace offers, those inside it included, by whole names."""
    names: dict[str, object] = {}
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.ismodule(value):
            names |= named(value, f"{prefix}{name}.")
        else:
            names[f"{prefix}{name}"] = value
    return names


EVERY = {**FLAT}
for _name, _module in NAMESPACES.items():
    EVERY |= named(_module, f"{_name}.")


def canonical() -> dict[str, object]:
    """Each object once: under its flat name where it has one."""
    first: dict[int, str] = {}
    for name, value in EVERY.items():
        first.setdefault(id(value), name)
    return {name: EVERY[name] for name in first.values()}
