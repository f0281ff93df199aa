"""Measures of spaces, and of how alike two of them are."""

from jatlas._src.pairs.median import median_distance
from jatlas.metrics.alignment import cka
from jatlas.metrics.cca import mean_squared_cca, pwcca, svcca
from jatlas.metrics.classes import separability
from jatlas.metrics.dependence import hsic, minibatch_cka
from jatlas.metrics.dissimilarity import rsa
from jatlas.metrics.groups.ceiling import NoiseCeiling, noise_ceiling
from jatlas.metrics.groups.spaces import SpaceMatrices, compare_spaces
from jatlas.metrics.neighborhoods.local_alignment import cknna
from jatlas.metrics.neighborhoods.neighbors import (
    cycle_neighbors,
    jaccard_neighbors,
    mutual_neighbors,
    rank_biased_neighbors,
)
from jatlas.metrics.neighborhoods.ranking import Retrieval, retrieval
from jatlas.metrics.permutation import PermutationTest, permutation_test
from jatlas.metrics.prediction import predictivity
from jatlas.metrics.procrustes import procrustes_distance, procrustes_similarity
from jatlas.metrics.resampling import BootstrapInterval, bootstrap_interval
from jatlas.metrics.self_similarity import self_similarity_correlation

__all__ = [
    "BootstrapInterval",
    "NoiseCeiling",
    "PermutationTest",
    "Retrieval",
    "SpaceMatrices",
    "bootstrap_interval",
    "cka",
    "cknna",
    "compare_spaces",
    "cycle_neighbors",
    "hsic",
    "jaccard_neighbors",
    "mean_squared_cca",
    "median_distance",
    "minibatch_cka",
    "mutual_neighbors",
    "noise_ceiling",
    "permutation_test",
    "predictivity",
    "procrustes_distance",
    "procrustes_similarity",
    "pwcca",
    "rank_biased_neighbors",
    "retrieval",
    "rsa",
    "self_similarity_correlation",
    "separability",
    "svcca",
]
