"""Units of a run on images, with their samples and anchors."""

from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

import jatlas
from experiments.data.dataset import Dataset
from experiments.encoders import plugins
from experiments.runs import benches, seeds, settings
from experiments.runs.benches import Bench
from experiments.runs.options import Options
from experiments.runs.settings import Setting
from jatlas.scenarios import Tasks

Choice = Literal["uniform", "balanced", "farthest", "kmeans"]
CHOICES: tuple[Choice, ...] = ("uniform", "balanced", "farthest", "kmeans")
_BY_SPACE = ("farthest", "kmeans")


class Unit(NamedTuple):
    """What is measured at once, and kept.

    Attributes:
        name: of its files.
        title: for people.
        of: what `measure` is called with, beside the bench: a setting and a seed, say.
    """

    name: str
    title: str
    of: tuple[Any, ...]


def unit(setting: Setting, seed: int) -> Unit:
    """The unit of a setting and a seed."""
    name = benches.unit_name(setting, seed)
    title = f"{setting.scenario} {setting.name}, seed {seed}"
    return Unit(name, title, (setting, seed))


def units(options: Options, dataset: Dataset) -> list[Unit]:
    """All settings of all seeds.

    Raises:
        ValueError: if a setting is unknown, or the data are too few for one, or a chart
            of the user's own does not fit them.
    """
    for name in filter(plugins.is_plugin, options.charts):
        plugins.trainable(name, dataset.images.shape[1:], len(dataset.class_names))
    made, bench = chosen(options, dataset), bare(options, dataset)
    for each in made:
        _, pool = deal(bench, *each.of)
        choose(bench, *each.of, pool)
    return made


def chosen(options: Options, dataset: Dataset) -> list[Unit]:
    """All settings of all seeds, whether there are samples enough or not."""
    num_classes = len(dataset.class_names)
    of = settings.chosen(
        options.settings, options.scenario, options.dataset, num_classes
    )
    return [unit(setting, seed) for seed in options.seeds for setting in of]


def bare(options: Options, dataset: Dataset) -> Bench:
    """A bench without encoders: enough to deal samples."""
    return Bench(options, dataset, {}, Path())


def deal(bench: Bench, setting: Setting, seed: int) -> tuple[Tasks, np.ndarray]:
    """The tasks of one setting and seed, and possible anchors, (N,).

    Raises:
        ValueError: if the data set is too small for them, or has other classes.
    """
    dataset, options = bench.dataset, bench.options
    tasks = setting.make(seed, dataset.labels, dataset.test, options.held_out)
    pool = np.asarray(jatlas.anchor_pool(tasks.seen, setting.rule))
    if setting.rule == "unseen":
        pool = pool & tasks.held_out
    return tasks, pool


def choose(
    bench: Bench,
    setting: Setting,
    seed: int,
    pool: np.ndarray,
    embeddings: np.ndarray | None = None,
    *,
    num_anchors: int | None = None,
    choice: Choice = "uniform",
) -> np.ndarray:
    """The anchors: (A,), indices of samples of the pool.

    Args:
        bench: whose samples they are.
        setting: whose pool it is.
        seed: draws them.
        pool: (N,), who may be one.
        embeddings: (N, D), the space in which they are to be far apart or central. If
            None, and `choice` asks for one, they are drawn at random instead.
        num_anchors: A; that of the options if None, of several the largest.
        choice: how they are chosen.

    Raises:
        ValueError: if the pool does not hold enough.
    """
    if embeddings is None and choice in _BY_SPACE:
        choice = "uniform"
    size = bench.options.most_anchors if num_anchors is None else num_anchors
    if size > (most := int(pool.sum())):
        more = (
            "in A these are training samples of the classes that all tasks share, so "
            "share more classes or take more training samples"
            if setting.rule == "shared"
            else "or give a larger --num-held-out"
        )
        raise ValueError(
            f"{setting.name}, seed {seed}: cannot choose {size} anchors from a pool of "
            f"{most} of {pool.size} samples. Give --num-anchors {most} or less; {more}."
        )
    return np.asarray(
        jatlas.choose_anchors(
            seeds.fold(benches.key(seed, setting), seeds.ANCHORS),
            pool,
            size,
            method=choice,
            labels=bench.dataset.labels if choice == "balanced" else None,
            embeddings=embeddings if choice in _BY_SPACE else None,
        )
    )
