"""The spaces compared: end-to-end, task charts, and the atlas."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

import jatlas
from experiments.measures import nystroem
from jatlas.merging.relative import Similarity
from jatlas.scenarios import Tasks

PROTOCOLS = ("oracle", "blind")


class Space(NamedTuple):
    """Rows of one space, padded so that few shapes are compiled.

    There are N of them, or whole 4 N.

    Attributes:
        rows: (R, A); zero where padded.
        sample: (R,), which of the N samples a row is of; -1 where padded.
    """

    rows: np.ndarray
    sample: np.ndarray


class Embedded(NamedTuple):
    """All that the spaces are made of.

    Attributes:
        reference: (N, D), the end-to-end chart's embeddings.
        charts: M arrays (N, D_m), the task charts'; the D_m may differ.
        anchors: (A,), indices into the samples.
        presence: (M, N), the samples of each task.
        used: (N,), the samples to be compared, all of which are in some task.
        num_classes: C.
        similarity: of an embedding to an anchor, as in `jatlas.relativize`.
    """

    reference: np.ndarray
    charts: Sequence[np.ndarray]
    anchors: np.ndarray
    presence: np.ndarray
    used: np.ndarray
    num_classes: int
    similarity: Similarity = "cosine"


# Made when it is measured: all at once, those of many charts would not fit.
Make = Callable[[], Space]
Spaces = dict[str, Make]


def reference_spaces(embedded: Embedded) -> Spaces:
    """The end-to-end space, and its relative representation: alike in all protocols."""
    used = embedded.used
    return {
        "original_abs": lambda: _of_samples(embedded.reference, used),
        "original_rel": lambda: _of_samples(relative_reference(embedded), used),
    }


def oracle_spaces(embedded: Embedded, test: np.ndarray) -> Spaces:
    """The paper's protocol: each sample's task charts embed it.

    `merged_shift` is there if some training sample (not of `test`, (N,)) is in every
    task, `jumble_abs` if the charts have one dimension: else its rows are of unequal
    length. Both controls are the end-to-end space with the task known.
    """
    presence, used = embedded.presence, embedded.used
    common = presence.all(axis=0) & used & ~test
    spaces = _jumbles(embedded, presence)
    spaces["merged"] = lambda: _of_samples(_merged(embedded, presence), used)
    spaces["merged_nystroem"] = lambda: _of_samples(
        _orthonormal(embedded, presence), used
    )
    if common.any():
        spaces["merged_shift"] = lambda: _of_samples(_shifted(embedded, common), used)
    spaces["original_abs_task"] = lambda: _of_samples(_with_task(embedded), used)
    spaces["original_abs_task_embedding"] = lambda: _of_samples(
        _with_shares(embedded), used
    )
    return spaces


def blind_spaces(embedded: Embedded) -> Spaces:
    """Spaces without an oracle: every chart embeds every sample.

    `mean_abs` (if the charts have one dimension) and `concat_abs` are what the jumbles
    of the other protocol are there: a row for each chart and sample would be M times
    the rows, and a classifier does not know the chart of a row.
    """
    used, charts = embedded.used, embedded.charts
    everywhere = np.ones_like(embedded.presence)
    spaces: Spaces = {}
    if _of_one_dimension(charts):
        spaces["mean_abs"] = lambda: _of_samples(
            sum(charts[1:], start=charts[0]) / np.float32(len(charts)), used
        )
    spaces["concat_abs"] = lambda: _of_samples(np.concatenate(charts, axis=1), used)
    spaces["merged"] = lambda: _of_samples(_merged(embedded, everywhere), used)
    spaces["merged_nystroem"] = lambda: _of_samples(
        _orthonormal(embedded, everywhere), used
    )
    return spaces


def relative_reference(embedded: Embedded) -> np.ndarray:
    """(N, A), the end-to-end chart's relative representation."""
    return _relative(embedded, embedded.reference)


def of_test_split(space: Space, tasks: Tasks) -> np.ndarray:
    """(R,), the rows of samples of the test split."""
    return (space.sample >= 0) & tasks.test[space.sample]


def only(space: Space, chosen: np.ndarray, size: int) -> Space:
    """These rows, (R,), alone, padded to `size` or whole 4 times."""
    return _space(space.rows[chosen], space.sample[chosen], size)


def rows_of_test(space: Space, tasks: Tasks) -> Space:
    """The rows of the test split by themselves."""
    return only(space, of_test_split(space, tasks), int(tasks.test.sum()))


def shifts(
    relative: Sequence[np.ndarray], merged: np.ndarray, common: np.ndarray
) -> np.ndarray:
    """Each chart's offset from the mean chart, on common samples.

    Args:
        relative: M arrays (N, A), the charts' relative representations.
        merged: (N, A), their mean.
        common: (N,), samples that are in every task.

    Returns:
        (M, A), the mean over these samples of (mean over charts - this chart).
    """
    centre = merged[common].mean(axis=0)
    return np.stack([centre - chart[common].mean(axis=0) for chart in relative])


def _jumbles(embedded: Embedded, presence: np.ndarray) -> Spaces:
    """The naive merges: a row per sample and present chart.

    As they are, and each relative to the anchors by its own chart.
    """
    absolute = partial(_jumble, embedded, presence, embedded.charts)
    spaces = {"jumble_abs": absolute} if _of_one_dimension(embedded.charts) else {}
    return {**spaces, "jumble_rel": lambda: _jumble_rel(embedded, presence)}


def _jumble(
    embedded: Embedded, presence: np.ndarray, charts: Sequence[np.ndarray]
) -> Space:
    present = presence & embedded.used
    rows = [chart[mask] for chart, mask in zip(charts, present, strict=True)]
    sample = np.nonzero(present)[1]
    # Sample by sample, as other spaces are: where each has one row (B, C) the rows that
    # are drawn of them are then the same.
    order = np.argsort(sample, kind="stable")
    return _space(np.concatenate(rows)[order], sample[order], embedded.used.size)


def _jumble_rel(embedded: Embedded, presence: np.ndarray) -> Space:
    relative = [_relative(embedded, chart) for chart in embedded.charts]
    return _jumble(embedded, presence, relative)


def _relative(embedded: Embedded, chart: np.ndarray) -> np.ndarray:
    return np.asarray(
        jatlas.relativize(
            chart, chart[embedded.anchors], similarity=embedded.similarity
        )
    )


def _merged(embedded: Embedded, presence: np.ndarray) -> np.ndarray:
    charts = list(embedded.charts)
    anchors = [chart[embedded.anchors] for chart in charts]
    return np.asarray(
        jatlas.merge(charts, anchors, presence, similarity=embedded.similarity)
    )


def _orthonormal(embedded: Embedded, presence: np.ndarray) -> np.ndarray:
    """The atlas in Nystroem's coordinates.

    All charts embed the anchors, whoever embeds a sample: held-out ones are in no task.
    """
    anchors = [chart[embedded.anchors] for chart in embedded.charts]
    everywhere = np.ones((len(anchors), len(embedded.anchors)), bool)
    kernel = jatlas.merge(anchors, anchors, everywhere, similarity=embedded.similarity)
    return np.asarray(nystroem.orthonormal(_merged(embedded, presence), kernel))


def _shifted(embedded: Embedded, common: np.ndarray) -> np.ndarray:
    """The atlas of the paper's federated use: novel samples are moved first.

    To the relative coordinates of a sample that is in one task only, the shift of that
    task's chart is added before merging (`shifts`, over the training samples of shared
    classes). Being in one task, it is its own merge.
    """
    presence = embedded.presence
    merged = _merged(embedded, presence).copy()  # what comes from JAX is read-only
    relative = [_relative(embedded, chart) for chart in embedded.charts]
    alone = presence.sum(axis=0) == 1
    chart = presence.argmax(axis=0)
    merged[alone] += shifts(relative, merged, common)[chart[alone]]
    return merged


def _with_task(embedded: Embedded) -> np.ndarray:
    """The control: the embedding, and which tasks the sample is in.

    The one-hot (of a sample in several tasks, as many ones) is as long as an embedding
    is on the average, which favours the control: a single one among 128 features of
    that size is learned late, and a control must get every chance. It has a place for C
    tasks, however many there are: one program then serves all settings.
    """
    reference = embedded.reference
    scale = np.sqrt(np.mean(np.sum(reference**2, axis=1)))
    return np.hstack([reference, scale * _places(embedded)])


def _with_shares(embedded: Embedded) -> np.ndarray:
    """The embedding, and 1 / K for each of K tasks.

    What the control with a learned task embedding is made from (`task_embedding`).
    """
    count = np.maximum(embedded.presence.sum(axis=0), 1)
    shares = _places(embedded) / count[:, None].astype(np.float32)
    return np.hstack([embedded.reference, shares])


def _places(embedded: Embedded) -> np.ndarray:
    """(N, C), a place for each task of a sample.

    A row is a sample, not a task.
    """
    presence = embedded.presence
    places = max(embedded.num_classes, len(presence))
    return np.pad(np.float32(presence.T), ((0, 0), (0, places - len(presence))))


def _of_one_dimension(charts: Sequence[np.ndarray]) -> bool:
    return len({chart.shape[1] for chart in charts}) == 1


def _of_samples(rows: np.ndarray, used: np.ndarray) -> Space:
    """The space of one row a sample."""
    (sample,) = np.nonzero(used)
    return _space(rows[sample], sample, used.size)


def _space(rows: np.ndarray, sample: np.ndarray, size: int) -> Space:
    if size < len(sample):
        # By as many again and again: twenty tasks' jumbles are millions of numbers.
        size = 4 * size * math.ceil(len(sample) / (4 * size))
    short = size - len(sample)
    return Space(
        np.pad(rows, ((0, short), (0, 0))),
        np.pad(sample, (0, short), constant_values=-1),
    )
