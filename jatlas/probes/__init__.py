"""Classifiers on a space: probes, cross-fitted probes, class means."""

from jatlas.probes.crossfit import CrossFit, crossfit_probabilities, fit_crossfit
from jatlas.probes.means import class_means, nearest_class_mean
from jatlas.probes.probe import Probe, probe_logits
from jatlas.probes.training import fit_probe

__all__ = [
    "CrossFit",
    "Probe",
    "class_means",
    "crossfit_probabilities",
    "fit_crossfit",
    "fit_probe",
    "nearest_class_mean",
    "probe_logits",
]
