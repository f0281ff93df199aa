"""K-means clusters of a space, compared with the classes."""

import numpy as np
from threadpoolctl import threadpool_limits  # comes with scikit-learn

# Of more rows, the silhouette is that of so many drawn at random: it takes all pairs.
MOST_ROWS = 10_000
_STARTS = 3
NAMES = ("silhouette", "completeness", "homogeneity", "mutual_information")


def clustering(
    rows: np.ndarray, labels: np.ndarray, num_classes: int, seed: int
) -> dict[str, float]:
    """K-means with k = C, the best of 3 starts, by scikit-learn.

    Args:
        rows: (R, A).
        labels: (R,), of the classes; the clusters are found without them.
        num_classes: C.
        seed: of the starts, and of the rows of the silhouette where there are more than
            `MOST_ROWS`; up to so many it is exact.

    Returns:
        The silhouette of the clusters; their completeness (are the rows of a class in
        one cluster), homogeneity (are those of a cluster of one class), and the mutual
        information with the classes in nats, which is not adjusted for chance. All NaN
        if a row is not finite or there are fewer rows than clusters; the silhouette
        alone, where all rows are in one cluster or each in one of its own.
    """
    if not np.isfinite(rows).all() or len(rows) < num_classes:
        return dict.fromkeys(NAMES, float("nan"))
    # Half of what a command imports: one that is refused should not wait for it.
    from sklearn import metrics
    from sklearn.cluster import KMeans

    means = KMeans(num_classes, n_init=_STARTS, random_state=seed % 2**32)
    # Of this thread only: two spaces are measured at a time, and threads that wait for
    # each other on few cores take four times as long.
    with threadpool_limits(1, user_api="openmp"):
        clusters = means.fit_predict(rows)
    silhouette = float("nan")
    if 1 < np.unique(clusters).size < len(rows):
        size = MOST_ROWS if len(rows) > MOST_ROWS else None
        silhouette = metrics.silhouette_score(
            rows, clusters, sample_size=size, random_state=seed % 2**32
        )
    values = (
        silhouette,
        metrics.completeness_score(labels, clusters),
        metrics.homogeneity_score(labels, clusters),
        metrics.mutual_info_score(labels, clusters),
    )
    return {name: float(value) for name, value in zip(NAMES, values, strict=True)}
