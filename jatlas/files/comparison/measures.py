"""The measures that files are compared by."""

from collections.abc import Callable
from functools import partial

from jaxtyping import Array

from jatlas._src import arrays
from jatlas._src.pairs.median import median_distance
from jatlas.metrics.alignment import cka
from jatlas.metrics.cca import mean_squared_cca, svcca
from jatlas.metrics.dissimilarity import rsa
from jatlas.metrics.neighborhoods.neighbors import (
    mutual_neighbors,
    rank_biased_neighbors,
)
from jatlas.metrics.procrustes import procrustes_similarity
from jatlas.metrics.self_similarity import self_similarity_correlation

Statistic = Callable[[Array, Array], Array]
Measure = Callable[[Array, Array, int], Statistic]


def _rbf(x: Array, y: Array, k: int, *, debiased: bool = False) -> Statistic:
    """CKA with widths fixed once: shuffling the samples keeps them."""
    widths = median_distance(x), median_distance(y)
    return partial(cka, kernel="rbf", sigma=widths, debiased=debiased)


def _neighbors(x: Array, y: Array, k: int) -> Statistic:
    """Mutual neighbours by cosine."""

    def shared(x: Array, y: Array) -> Array:
        return mutual_neighbors(arrays.unit(x), arrays.unit(y), k)

    return shared


# All are symmetric, and 1 for a space with itself. The first six are taken if none is
# named.
MEASURES: dict[str, Measure] = {
    "cka-linear": lambda x, y, k: cka,
    "cka-linear-debiased": lambda x, y, k: partial(cka, debiased=True),
    "cka-rbf": _rbf,
    "cka-rbf-debiased": partial(_rbf, debiased=True),
    "neighbors": _neighbors,
    "self-similarity": lambda x, y, k: self_similarity_correlation,
    "rank-biased": lambda x, y, k: partial(rank_biased_neighbors, k=k),
    "procrustes": lambda x, y, k: procrustes_similarity,
    "cca": lambda x, y, k: mean_squared_cca,
    "svcca": lambda x, y, k: svcca,
    "rsa": lambda x, y, k: rsa,
    "rsa-spearman": lambda x, y, k: partial(rsa, method="spearman"),
}
USUAL = 6

# Those that look at k neighbours.
NEAREST = {"neighbors", "rank-biased"}

# Those that a mean taken off the rows does not change.
TRANSLATED = {name for name in MEASURES if name.startswith("cka")}
TRANSLATED |= {"procrustes", "cca", "svcca"}
