"""The inputs and splits of one setting and seed."""

from dataclasses import dataclass, field
from functools import cached_property

import jax
import numpy as np

from experiments.blind import consensus, evidence
from experiments.runs import benches, deals, seeds
from experiments.runs.benches import Bench
from experiments.runs.settings import Setting
from experiments.runs.terminal import Report, part_of
from jatlas import Consensus
from jatlas.probes import CrossFit
from jatlas.scenarios import Tasks


@dataclass(frozen=True, eq=False)
class Cell:
    """The charts of one setting and seed; every chart embeds every sample.

    What many spaces are made of, whitened charts, evidence and consensus, is made once,
    when it is first asked for. `dataclasses.replace` gives a cell without any of it.

    Attributes:
        reference: (N, D), the end-to-end chart's embeddings.
        charts: M arrays (N, D), the task charts'.
        tasks: which samples each chart has seen, which classes it knows.
        labels: (N,).
        pool: (N,), who may be an anchor by the paper's rule.
        train: (N,), training samples of the tasks: spaces and probes are fitted on
            these.
        stop: (N,), half of the tasks' validation samples: by these probes stop.
        choose: (N,), the other half: by these one space is chosen over another.
        test: (N,), the test split.
    """

    reference: np.ndarray
    charts: list[np.ndarray]
    tasks: Tasks
    labels: np.ndarray
    pool: np.ndarray
    train: np.ndarray
    stop: np.ndarray
    choose: np.ndarray
    test: np.ndarray
    _fitted: dict[bytes, CrossFit] = field(default_factory=dict, init=False, repr=False)
    _evident: dict[bytes, Consensus] = field(
        default_factory=dict, init=False, repr=False
    )

    @property
    def num_classes(self) -> int:
        """C."""
        return self.tasks.shared.size

    @cached_property
    def white(self) -> list[np.ndarray]:
        """The charts, each whitened on all of `train`."""
        return [evidence.white(x, self.train) for x in self.charts]

    @cached_property
    def white_by_task(self) -> list[np.ndarray]:
        """The charts, each whitened on what it has learned from."""
        both = zip(self.charts, self.tasks.seen, strict=True)
        return [evidence.white(x, seen) for x, seen in both]

    @cached_property
    def beside(self) -> np.ndarray:
        """(N, M D), unit rows of the whitened charts side by side."""
        return evidence.side_by_side(self.white)

    @cached_property
    def consensus(self) -> Consensus:
        """All consensus coordinates of the charts."""
        return consensus.fit(self.charts, self.train)

    def crossfit(self, key: jax.Array) -> CrossFit:
        """The evidence probes of `beside`; trained once for a key."""
        name = _name(key)
        if name not in self._fitted:
            self._fitted[name] = self.fit(key, self.beside)
        return self._fitted[name]

    def evident_consensus(self, key: jax.Array) -> Consensus:
        """Those of the charts and the evidence; fitted once for a key."""
        name = _name(key)
        if name not in self._evident:
            roots = evidence.roots(self.crossfit(key), self.beside)
            self._evident[name] = consensus.fit([*self.charts, roots], self.train)
        return self._evident[name]

    def fit(self, key: jax.Array, rows: np.ndarray) -> CrossFit:
        """Cross-fitted probes of rows, (N, K), made from these samples."""
        of = self.labels, self.num_classes, self.train, self.stop
        return evidence.fit(key, rows, *of)


def _name(key: jax.Array) -> bytes:
    return np.asarray(jax.random.key_data(key)).tobytes()


def embed(bench: Bench, setting: Setting, seed: int, report: Report) -> Cell:
    """The cell of one setting and seed; missing charts are trained.

    No task's chart has learned from a sample of `stop` and `choose`. (The end-to-end
    chart, whose validation samples are drawn over all classes, has from some.) A chart
    knows its own training samples too well, and a space that is chosen on them is one
    that shows it.
    """
    tasks, pool = deals.deal(bench, setting, seed)
    reference = benches.reference(bench, seed, part_of(report, 0.0, 0.2))
    charts = benches.charts(bench, setting, seed, tasks, part_of(report, 0.2, 1.0))
    return of(reference, charts, tasks, bench.dataset.labels, pool, seed)


def of(
    reference: np.ndarray,
    charts: list[np.ndarray],
    tasks: Tasks,
    labels: np.ndarray,
    pool: np.ndarray,
    seed: int,
) -> Cell:
    """The cell of these charts."""
    held = tasks.validation.any(axis=0) & ~tasks.seen.any(axis=0)
    train = tasks.presence.any(axis=0) & ~tasks.test & ~held
    half = seeds.rng(seed, seeds.HALVES).random(labels.size) < 0.5
    return Cell(
        reference,
        charts,
        tasks,
        labels,
        pool,
        train,
        held & half,
        held & ~half,
        tasks.test,
    )
