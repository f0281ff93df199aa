"""What a run's numbers come from: code, versions, device, data."""

import platform
import resource
import sys
from collections.abc import Callable, Iterable
from functools import partial
from importlib import metadata
from typing import Any

import jax

from experiments.data import modules
from experiments.data.dataset import Dataset
from experiments.data.modules import hash_of_parts
from experiments.encoders import chart_kinds, plugins
from experiments.encoders.pretrained import weights_file
from experiments.runs import settings
from experiments.runs.options import Options

PACKAGES = ("jatlas", "jax", "jaxlib", "flax", "optax", "numpy", "scikit-learn")
# What only draws or prints: no number depends on it.
SHOWN = ("experiments.plots", "experiments.runs.terminal")


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Of the packages, and of Python."""
    installed = {name: metadata.version(name) for name in packages}
    return installed | {"python": platform.python_version()}


def device() -> str:
    """What it is computed on."""
    first = jax.devices()[0]
    return f"{first.platform}: {first.device_kind} ({platform.machine()})"


def peak_memory() -> float:
    """The most memory that this process had, in GiB."""
    unit = 2**30 if sys.platform == "darwin" else 2**20  # bytes there, else kilobytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def of_dataset(options: Options, dataset: Dataset) -> dict[str, Any]:
    """A run's provenance on images: resolved options and data hashes."""
    chosen = settings.chosen(
        options.settings, options.scenario, options.dataset, len(dataset.class_names)
    )
    return {
        "options": {
            "settings": [setting.name for setting in chosen],
            "num_held_out": options.held_out,
            "max_epochs": {
                kind: options.epochs(kind, chart_kinds.asked_epochs(kind, dataset))
                for kind in options.charts
            },
        },
        "versions": {
            "data": hash_of_parts([dataset.images, dataset.labels]),
            **_weights(options.charts),
        },
        "notes": [
            *dataset.notes,
            *(
                note
                for kind in dict.fromkeys(options.charts)
                for note in chart_kinds.notes(kind, dataset)
            ),
        ],
    }


def _weights(charts: Iterable[str]) -> dict[str, str]:
    """Hashes of the frozen encoders' weights, by kind of chart."""
    variants = {kind: chart_kinds.kind(kind).variant for kind in charts}
    return {
        f"weights of {kind}": hash_of_parts([weights_file(variant).read_bytes()])
        for kind, variant in variants.items()
        if variant is not None
    }


# The code


def code(functions: Iterable[Callable], parts: Iterable[str] = ()) -> dict[str, str]:
    """Hashes of all our modules that these functions depend on.

    They are by name. A comment, a docstring or the layout of the code is no part of a
    hash, so that a run goes on after these have changed; nor is what only draws or
    prints.

    Args:
        functions: those that make the numbers.
        parts: names of charts and similarities; the modules of those that are the
            user's own, as MODULE:FUNCTION, count too.
    """
    roots = {_unwrapped(function).__module__ for function in functions}
    hashes = modules.hashes(roots, without=SHOWN)
    for name in parts:
        if plugins.is_plugin(name) and (path := plugins.file_of(name)) is not None:
            hashes[name.split(":")[0]] = modules.hash_of_file(path)
    return dict(sorted(hashes.items()))


def _unwrapped(function: Callable) -> Callable:
    while isinstance(function, partial):
        function = function.func
    return function
