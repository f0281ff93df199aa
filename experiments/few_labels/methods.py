"""The spaces that are compared, by name; every chart embeds every sample."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

import jatlas
from experiments.measures import nystroem
from experiments.runs import benches, deals, seeds
from experiments.runs.benches import Bench
from experiments.runs.settings import Setting
from experiments.runs.terminal import Report, part_of

SHRINKAGE = 0.3  # of the covariances of whitened charts, as in `experiments.blind`


class Cell(NamedTuple):
    """What the spaces of one setting and seed are made of.

    Attributes:
        images: (N, H, W, channels), uint8.
        reference: (N, D), the end-to-end chart's embeddings.
        charts: M arrays (N, D), the task charts'.
        train: (N,), the training split: spaces are fitted on it, without its labels.
        anchors: (A,), by the paper's rule: samples that every chart has learned from,
            or none has.
        landmarks: (A,), anchors drawn from all of `train`.
    """

    images: np.ndarray
    reference: np.ndarray
    charts: list[np.ndarray]
    train: np.ndarray
    anchors: np.ndarray
    landmarks: np.ndarray

    @property
    def everywhere(self) -> np.ndarray:
        """(M, N), all True: no oracle says which charts know a sample."""
        return np.ones((len(self.charts), self.train.size), bool)


def embed(bench: Bench, setting: Setting, seed: int, report: Report) -> Cell:
    """The cell of one setting and seed; missing charts are trained."""
    tasks, pool = deals.deal(bench, setting, seed)
    reference = benches.reference(bench, seed, part_of(report, 0.0, 0.2))
    charts = benches.charts(bench, setting, seed, tasks, part_of(report, 0.2, 1.0))
    key = seeds.fold(benches.key(seed, setting), seeds.MERGED_SPACES)
    count = bench.options.num_anchors
    return Cell(
        bench.dataset.images,
        reference,
        charts,
        ~tasks.test,
        deals.choose(bench, setting, seed, pool),
        np.asarray(jatlas.choose_anchors(key, ~tasks.test, count)),
    )


class Method(NamedTuple):
    """A way to one space.

    Attributes:
        title: in words.
        make: the cell to (N, K).
        merged: whether it is a space of all task charts.
    """

    title: str
    make: Callable[[Cell], np.ndarray]
    merged: bool = True


def _pixels(cell: Cell) -> np.ndarray:
    return np.float32(cell.images.reshape(len(cell.images), -1)) / 255


def _unit_rows(cell: Cell) -> np.ndarray:
    norms = [np.linalg.norm(x, axis=1, keepdims=True) for x in cell.charts]
    unit = [x / np.maximum(n, 1e-12) for x, n in zip(cell.charts, norms, strict=True)]
    return np.concatenate(unit, axis=1)


def _atlas(cell: Cell) -> np.ndarray:
    return np.asarray(_merged(cell, cell.charts, cell.anchors))


def _atlas_from_all(cell: Cell) -> np.ndarray:
    return np.asarray(_merged(cell, cell.charts, cell.landmarks))


def _white_nystroem(cell: Cell) -> np.ndarray:
    white = [_white(x, cell.train) for x in cell.charts]
    rows = _merged(cell, white, cell.landmarks)
    return np.asarray(nystroem.orthonormal(rows, rows[cell.landmarks]))


def _consensus(cell: Cell) -> np.ndarray:
    fitted = jatlas.merging.fit_consensus(
        cell.charts, cell.everywhere, where=cell.train
    )
    return np.asarray(
        jatlas.merging.merge_consensus(fitted, cell.charts, cell.everywhere)
    )


def _merged(cell: Cell, charts: list[np.ndarray], anchors: np.ndarray) -> jax.Array:
    return jatlas.merge(charts, [x[anchors] for x in charts], cell.everywhere)


def _white(x: np.ndarray, where: np.ndarray) -> np.ndarray:
    fitted = jatlas.fit_whiten(x, where=where, shrinkage=SHRINKAGE)
    return np.asarray(jatlas.apply_transform(fitted, x))


METHODS: dict[str, Method] = {
    "pixels": Method("pixels", _pixels, merged=False),
    "mean": Method("mean of embeddings", lambda cell: np.mean(cell.charts, axis=0)),
    "concat": Method(
        "concatenation, M D wide", lambda cell: np.concatenate(cell.charts, axis=1)
    ),
    "concat_unit": Method("concatenation of unit rows, M D wide", _unit_rows),
    "atlas": Method("plain atlas", _atlas),
    "atlas_from_all": Method("plain atlas, anchors from all", _atlas_from_all),
    "white_nystroem": Method("atlas, whitened, Nystroem", _white_nystroem),
    "consensus": Method("consensus", _consensus),
    "end_to_end": Method("end-to-end", lambda cell: cell.reference, merged=False),
}
