"""Charts that packages carry: three encoders of texts, four of images.

Nothing is trained by gradients and nothing is downloaded. TF-IDF and the principal
components of pixels are fitted on the samples that are embedded.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from experiments.data.dataset import Dataset
from experiments.encoders.features import Layer, frozen_features

Report = Callable[[float], None]


class Widths(Protocol):
    """The options that encoders look at."""

    num_components: int
    feature_size: int


class Chart(NamedTuple):
    """An encoder's title and its embeddings, (N, D), float32."""

    title: str
    embeddings: np.ndarray


def sentences(texts: Sequence[str], report: Report, folder: str | None = None) -> Chart:
    """Texts by all-MiniLM-L6-v2, 384 wide; computed once and kept on disk."""
    from experiments.encoders.sentences import kept

    return Chart("all-MiniLM-L6-v2", kept(texts, cache_dir=folder, report=report))


def words(texts: Sequence[str], width: int) -> Chart:
    """Texts by TF-IDF of words with a truncated SVD."""
    return Chart("TF-IDF + SVD", _tfidf(texts, width, analyzer="word"))


def letters(texts: Sequence[str], width: int) -> Chart:
    """Texts by TF-IDF of 3 to 5 letters, with an SVD."""
    rows = _tfidf(texts, width, analyzer="char_wb", ngram_range=(3, 5))
    return Chart("TF-IDF of letters + SVD", rows)


def _tfidf(texts: Sequence[str], width: int, **options: object) -> np.ndarray:
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    counts = TfidfVectorizer(sublinear_tf=True, min_df=2, **options)
    svd = TruncatedSVD(width, random_state=0)
    return svd.fit_transform(counts.fit_transform(texts)).astype(np.float32)


def lite(
    dataset: Dataset, variant: int, layer: Layer, options: Widths, report: Report
) -> Chart:
    """All images by a layer of EfficientNet-Lite; kept on disk."""
    folder = getattr(options, "data_dir", None)
    rows = frozen_features(
        dataset.images,
        variant=variant,
        size=options.feature_size,
        layer=layer,
        cache_dir=folder and folder / "features",
        report=report,
    )
    what = "" if layer == "embedding" else "last block of "
    return Chart(f"{what}EfficientNet-Lite{variant}", rows)


def pixels(images: np.ndarray, width: int) -> Chart:
    """Images by the principal components of their pixels."""
    from sklearn.decomposition import PCA

    flat = images.reshape(len(images), -1).astype(np.float32) / 255
    rows = PCA(width, random_state=0).fit_transform(flat)
    return Chart("principal components of pixels", rows.astype(np.float32))
