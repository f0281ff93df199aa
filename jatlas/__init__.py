"""jatlas: merge the latent spaces of many encoders into one, in JAX."""

from jatlas.cli import interrupts as _  # noqa: F401 - first: the rest takes seconds

# isort: split
import importlib
from types import ModuleType
from typing import TYPE_CHECKING

from jatlas import devices, files, merging, metrics, probes, running, scenarios
from jatlas.files import AtlasFile, load, merge_files, save
from jatlas.merging import (
    Consensus,
    Spaces,
    Transform,
    anchor_pool,
    anchor_rows,
    apply_consensus,
    apply_transform,
    assemble,
    check_anchors,
    choose_anchors,
    dropped_directions,
    fit_center,
    fit_consensus,
    fit_nystroem,
    fit_standardize,
    fit_translation,
    fit_whiten,
    masked_mean,
    merge,
    merge_consensus,
    relativize,
)
from jatlas.metrics import cka, separability
from jatlas.probes import Probe, fit_probe, probe_logits

if TYPE_CHECKING:
    from jatlas import charts

__version__ = "0.1.0"

__all__ = [
    "AtlasFile",
    "Consensus",
    "Probe",
    "Spaces",
    "Transform",
    "__version__",
    "anchor_pool",
    "anchor_rows",
    "apply_consensus",
    "apply_transform",
    "assemble",
    "charts",
    "check_anchors",
    "choose_anchors",
    "cka",
    "devices",
    "dropped_directions",
    "files",
    "fit_center",
    "fit_consensus",
    "fit_nystroem",
    "fit_probe",
    "fit_standardize",
    "fit_translation",
    "fit_whiten",
    "load",
    "masked_mean",
    "merge",
    "merge_consensus",
    "merge_files",
    "merging",
    "metrics",
    "probe_logits",
    "probes",
    "relativize",
    "running",
    "save",
    "scenarios",
    "separability",
]


def __getattr__(name: str) -> ModuleType:
    """The charts, whose import takes longer than all else here."""
    if name == "charts":
        return importlib.import_module("jatlas.charts")
    raise AttributeError(f"module 'jatlas' has no attribute {name!r}")


def __dir__() -> list[str]:
    """All names, that of the charts too."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
