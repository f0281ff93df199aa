"""A merge larger than memory, made and measured in chunks."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import jatlas
from experiments.benchmarks import measure, memory
from experiments.benchmarks.measure import Bench, Row
from jatlas.cli import progress
from jatlas.merging.placed import HOST_BYTES

_FLOAT = 4  # bytes
_HIDDEN = 16  # factors that the charts see, each in its own way
_KNOWN = 0.25  # of the classes, by each chart
_SEED = 0
_OF_ANCHORS = 2**32 - 1  # the chunk's number
_BASE = 440e6  # Python, JAX, the compiled programs, and what malloc keeps
# Of the anchors: as given, on the device, and at unit length. Of the atlas, while a
# metric looks at it: itself, and twice as much for the rows less their mean.
_COPIES = 3

_ATLAS = "atlas"  # the folder of the parts, beside the report
_LEFT = "seconds left after a tenth, estimated"
_TRUE = "seconds left after a tenth, true"


class Plan(NamedTuple):
    """The sizes of a merge in chunks."""

    samples: int = 1_000_000
    chunk: int = 10_000
    charts: int = 64
    anchors: int = 1024
    features: int = 32
    classes: int = 200


# What is measured beside the whole: other chunks, charts and anchors, of few samples.
_WHOLE = Plan()
_OTHERS = (
    Plan(samples=20_000, chunk=2_000),
    Plan(samples=40_000, chunk=5_000),
    Plan(samples=60_000, chunk=20_000),
    Plan(samples=40_000, charts=16),
    Plan(samples=40_000, anchors=256),
)
_QUICK = Plan(samples=4_000, chunk=200, charts=12, anchors=64, classes=20)


class World(NamedTuple):
    """What chunks are made of.

    Attributes:
        means: (C, H), of the classes.
        turns: (M, H, D), how each chart sees a sample.
        knows: (M, C), which classes each chart has.
    """

    means: np.ndarray
    turns: np.ndarray
    knows: np.ndarray


class Chunk(NamedTuple):
    """Some samples: (M, n, D), (M, n), their labels and hidden factors."""

    embeddings: np.ndarray
    presence: np.ndarray
    labels: np.ndarray
    hidden: np.ndarray


def rows(bench: Bench) -> list[Row]:
    """A row a plan, each made by a process of its own."""
    plans = [_QUICK] if bench.quick else [*_OTHERS, _WHOLE]
    total = sum(plan.samples for plan in plans)
    measured, done = [], 0
    for plan in plans:

        def tell(samples: int, plan: Plan = plan, before: int = done) -> None:
            what = f"{plan.samples:,} samples by {plan.chunk:,}"
            bench.tell(what, (before + samples) / total)

        tell(0)
        measured.append(_row(bench, plan, tell))
        done += plan.samples
    return measured


def _row(bench: Bench, plan: Plan, tell: Callable[[int], None]) -> Row:
    """One plan: seconds, memory beside the formula, and the time left."""
    with tempfile.TemporaryDirectory() as name:
        report = Path(name) / "report.json"
        atlas = Path(name) / _ATLAS
        words = [str(size) for size in plan]
        command = [sys.executable, "-m", __name__, str(report), *words]
        process = subprocess.Popen(command)
        peak = memory.peak_of_process(
            process, lambda: tell(plan.chunk * len(list(atlas.glob("*"))))
        )
        if process.returncode:
            raise ChildProcessError(f"a load ended with {process.returncode}.")
        values: dict[str, Any] = json.loads(report.read_text("utf-8"))
    values |= {"peak, bytes": peak, "by the formula, bytes": formula(plan)}
    left, true = values[_LEFT], values[_TRUE]
    if plan.samples != _WHOLE.samples:  # a tenth is a chunk, which compiles
        del values[_LEFT], values[_TRUE]
    size = plan._asdict()
    names = {"N": "samples", "chunk": "chunk", "M": "charts", "A": "anchors"}
    names |= {"D": "features", "C": "classes"}
    row: Row = {
        "name": "merge in chunks",
        "size": {letter: size[name] for letter, name in names.items()},
        "seconds": {},
        "values": values,
        "bars": [],
    }
    if peak:  # only Linux tells
        share = peak / formula(plan)
        limits = {"least": 0.8, "most": 1.2}
        measure.add_bar(bench, row, "peak, as a share of the formula", share, **limits)
    if _LEFT in values:
        figure = "seconds left after a tenth, as a share of the true ones"
        measure.add_bar(bench, row, figure, left / true, least=0.7, most=1.3)
    return row


def formula(plan: Plan) -> float:
    """The memory of a merge in chunks, in bytes."""
    of_charts = _FLOAT * plan.charts * plan.features
    of_atlas = _FLOAT * plan.anchors
    given = plan.chunk * (of_charts + plan.charts)
    # More than 64 MiB go to the device in pieces, of which there are two at a time.
    piece = min(plan.chunk, HOST_BYTES // of_charts)
    pieces = 1 if piece == plan.chunk else 2
    sent = pieces * piece * of_charts
    made = plan.chunk * of_atlas + (pieces > 1) * pieces * piece * of_atlas
    measured = _COPIES * plan.chunk * of_atlas
    anchors = _COPIES * of_charts * plan.anchors
    return _BASE + anchors + max(given + sent + made, measured)


def make_world(plan: Plan) -> World:
    """The classes and the charts."""
    rng = np.random.default_rng(_SEED)
    means = rng.standard_normal((plan.classes, _HIDDEN), np.float32)
    shape = plan.charts, _HIDDEN, plan.features
    turns = rng.standard_normal(shape, np.float32) / 4
    knows = rng.random((plan.charts, plan.classes)) < _KNOWN
    return World(means, turns, knows)


def make_chunk(world: World, number: int, num_rows: int) -> Chunk:
    """Samples of a chunk, the same whenever they are made."""
    rng = np.random.default_rng([_SEED, number])
    labels = rng.integers(0, len(world.means), num_rows)
    noise = rng.standard_normal((num_rows, _HIDDEN), np.float32)
    hidden = world.means[labels] + noise / 2
    charts, _, width = world.turns.shape
    x = np.empty((charts, num_rows, width), np.float32)
    for turn, chart in zip(world.turns, x, strict=True):
        np.tanh(np.matmul(hidden, turn, out=chart), out=chart)
    return Chunk(x, world.knows[:, labels], labels, hidden)


def merge_in_chunks(plan: Plan, folder: Path) -> dict[str, float]:
    """Make, merge, write and measure a chunk at a time.

    Returns:
        Seconds, what was estimated to be left after a tenth, what that was, and how
        good the atlas is.
    """
    world = make_world(plan)
    # Of samples in no chunk, which all charts embed.
    anchors = make_chunk(world, _OF_ANCHORS, plan.anchors).embeddings
    state = jatlas.running.cka.empty(plan.anchors, _HIDDEN)
    separate, pace, began = [], progress.Pace(), time.perf_counter()
    estimated, tenth = 0.0, began
    with progress.line("samples", _FLOAT * plan.charts * plan.features) as show:
        for start in range(0, plan.samples, plan.chunk):
            size = min(plan.chunk, plan.samples - start)
            atlas, labels, hidden = _merged(world, anchors, start // plan.chunk, size)
            np.save(folder / f"part-{start // plan.chunk:05}.npy", np.asarray(atlas))
            known = ~np.isnan(np.asarray(atlas[:, 0]))
            state = jatlas.running.cka.add(state, atlas, hidden, known)
            each = jatlas.separability(atlas, labels, plan.classes, where=known)
            separate.append(float(np.nanmean(each)))
            show(start + size, plan.samples)
            pace.step(start + size)
            if 10 * start < plan.samples <= 10 * (start + size):
                estimated, tenth = pace.left(plan.samples) or 0.0, time.perf_counter()
    ended = time.perf_counter()
    return {
        "seconds": ended - began,
        _LEFT: estimated,
        _TRUE: ended - tenth,
        "linear CKA of the atlas and the hidden factors": float(
            jatlas.running.cka.value(state)
        ),
        "separability, mean of the chunks": float(np.mean(separate)),
    }


def _merged(
    world: World, anchors: np.ndarray, number: int, size: int
) -> tuple[jax.Array, np.ndarray, np.ndarray]:
    """The merged rows of a chunk; its embeddings are held no longer."""
    chunk = make_chunk(world, number, size)
    atlas = jatlas.merge(chunk.embeddings, anchors, chunk.presence)
    return atlas.block_until_ready(), chunk.labels, chunk.hidden


def command(words: list[str]) -> None:
    """The process of one plan, which writes what it took."""
    report, sizes = Path(words[0]), map(int, words[1:])
    folder = report.parent / _ATLAS
    folder.mkdir()
    report.write_text(json.dumps(merge_in_chunks(Plan(*sizes), folder)), "utf-8")


if __name__ == "__main__":
    command(sys.argv[1:])
