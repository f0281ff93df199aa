"""Measures of spaces, and of how alike two of them are."""

from jatlas._src.pairs.median import median_distance
from jatlas.metrics.alignment import cka
from jatlas.metrics.classes import separability
from jatlas.metrics.neighbors import mutual_neighbors
from jatlas.metrics.permutation import PermutationTest, permutation_test
from jatlas.metrics.ranking import Retrieval, retrieval
from jatlas.metrics.self_similarity import self_similarity_correlation

__all__ = [
    "PermutationTest",
    "Retrieval",
    "cka",
    "median_distance",
    "mutual_neighbors",
    "permutation_test",
    "retrieval",
    "self_similarity_correlation",
    "separability",
]
