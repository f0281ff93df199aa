"""From a data set to the rows of the results, one (setting, seed) at a time."""

import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

import jatlas
from experiments import analyses, store
from experiments.analyses import Embedded, Space
from experiments.config import PROTOCOLS, Options, Setting
from experiments.data import Dataset, normalise
from jatlas import training
from jatlas.charts import CNN, Chart, from_module
from jatlas.tasks import Tasks, end_to_end
from jatlas.training import Progress

Report = Callable[[str, float], None]


class Bench(NamedTuple):
    """What all units of a run share.

    Attributes:
        options: of the run.
        dataset: the data.
        images: (N, H, W, channels), normalised.
        chart: the architecture.
        folder: where the parts of the run are kept.
    """

    options: Options
    dataset: Dataset
    images: np.ndarray
    chart: Chart
    folder: Path


def prepare(options: Options, dataset: Dataset) -> Bench:
    """What all units of a run share."""
    image_shape, num_classes = dataset.images.shape[1:], len(dataset.class_names)
    chart = from_module(partial(CNN, image_shape, num_classes))
    images = normalise(dataset.images)
    return Bench(options, dataset, images, chart, options.folder / "parts")


def unit(bench: Bench, setting: Setting, seed: int, report: Report) -> list[dict]:
    """The rows of one setting and seed: from the disk if they are there, else made.

    Args:
        bench: from `prepare`.
        setting: one of `config.SETTINGS`.
        seed: draws everything.
        report: called with what is being done, and how much of the unit is done.
    """
    file = part(bench, setting, seed)
    if file.exists():
        return store.read_json(file)
    tasks, anchors = deal(bench, setting, seed)
    used = tasks.presence.any(axis=0) & (tasks.test | (not setting.on_test))
    needed = used.copy()
    needed[anchors] = True
    reference = _reference(bench, seed, partial(_scaled, report, 0.0, 0.1))
    charts = _train(
        bench,
        tasks,
        _key(seed, setting),
        needed,
        "chart",
        partial(_scaled, report, 0.1, 0.8),
    )
    num_classes = tasks.shared.size
    embedded = Embedded(reference, charts, anchors, tasks.presence, used, num_classes)
    report("measuring", 0.8)
    measured, pictured = _measure(bench, setting, seed, tasks, embedded)
    rows = [
        {
            "scenario": setting.scenario,
            "setting": setting.name,
            "protocol": protocol,
            "space": space,
            "metric": metric,
            "seed": seed,
            "value": value,
        }
        for protocol, spaces in measured.items()
        for space, values in spaces.items()
        for metric, value in values.items()
    ]
    store.write_arrays(file.with_suffix(".npz"), pictured)
    store.write_json(file, rows)  # last: its being there says that the unit is done
    report("done", 1.0)
    return rows


def part(bench: Bench, setting: Setting, seed: int) -> Path:
    """The file that is there when a unit is done."""
    return bench.folder / f"{setting.scenario}_{setting.name}_seed{seed}.json"


def deal(bench: Bench, setting: Setting, seed: int) -> tuple[Tasks, np.ndarray]:
    """The tasks of one setting and seed, and the anchors: (A,), indices of samples.

    Raises:
        ValueError: if the data set is too small for them, or has other classes.
    """
    dataset, options = bench.dataset, bench.options
    tasks = setting.make(seed, dataset.labels, dataset.test, options.held_out)
    pool = np.asarray(jatlas.anchor_pool(tasks.seen, setting.rule))
    if setting.rule == "unseen":
        pool = pool & tasks.held_out
    # The charts take the numbers from 0 on.
    key = jax.random.fold_in(_key(seed, setting), 2**31)
    anchors = jatlas.choose_anchors(key, pool, options.num_anchors)
    jatlas.check_anchors(anchors, np.ones_like(tasks.presence), seen=tasks.seen)
    return tasks, anchors


def _reference(bench: Bench, seed: int, report: Report) -> np.ndarray:
    """(N, D), the end-to-end chart's embeddings: trained once a seed, then kept."""
    file = bench.folder / f"reference_seed{seed}.npz"
    if not file.exists():
        dataset = bench.dataset
        task = end_to_end(seed, dataset.labels, test=dataset.test)
        everyone = np.ones_like(dataset.test)
        (rows,) = _train(
            bench, task, jax.random.key(seed), everyone, "end-to-end chart", report
        )
        store.write_arrays(file, {"embeddings": rows})
    return store.read_arrays(file)["embeddings"]


def _train(
    bench: Bench,
    tasks: Tasks,
    key: jax.Array,
    needed: np.ndarray,
    name: str,
    report: Report,
) -> np.ndarray:
    """(M, N, D), embeddings by charts trained for these tasks; NaN where not needed."""
    options, num_charts = bench.options, len(tasks.seen)

    def tell(progress: Progress) -> None:
        first = progress.charts[0]
        done = (first + (progress.epoch + 1) / options.epochs) / num_charts
        epoch = f"epoch {progress.epoch + 1}/{options.epochs}"
        which = f" {first + 1}/{num_charts}" if num_charts > 1 else ""
        report(f"{name}{which}, {epoch}", done)

    charts = training.fit_charts(
        key,
        bench.chart,
        bench.images,
        bench.dataset.labels,
        tasks,
        max_epochs=options.epochs,
        patience=options.patience,
        report=tell,
    )
    rows = np.asarray(training.embed(charts, bench.images[needed]))
    embeddings = np.full((num_charts, needed.size, rows.shape[-1]), np.nan, rows.dtype)
    embeddings[:, needed] = rows
    return embeddings


def _measure(
    bench: Bench, setting: Setting, seed: int, tasks: Tasks, embedded: Embedded
) -> tuple[dict[str, dict[str, analyses.Values]], dict[str, np.ndarray]]:
    """Metrics by protocol and space, and the arrays that pictures are drawn from."""
    reference = analyses.reference_spaces(embedded)
    oracle, blind = analyses.oracle_spaces(embedded), analyses.blind_spaces(embedded)
    relative = analyses.relative_reference(embedded)

    def values(name: str, space: Space) -> analyses.Values:
        return analyses.measure(
            space,
            analyses.cut(seed, space, tasks, on_test=setting.on_test),
            None if name == "original_rel" else relative,
            bench.dataset.labels,
            tasks,
            jax.random.fold_in(jax.random.key(seed), 7),
            bench.options.probe_epochs,
            bench.options.probe_patience,
            probe_only=name == "original_abs_task",
        )

    # Two at a time: a small probe keeps no more than one core busy.
    with ThreadPoolExecutor(2) as pool:
        waiting = [
            {name: pool.submit(values, name, space) for name, space in spaces.items()}
            for spaces in (reference, oracle, blind)
        ]
        try:
            both, *measured = (
                {name: future.result() for name, future in spaces.items()}
                for spaces in waiting
            )
        except BaseException:  # Ctrl-C must not wait for all that is queued
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    # The end-to-end space is the same under either protocol: measured once.
    by_protocol = dict(
        zip(PROTOCOLS, ({**both, **own} for own in measured), strict=True)
    )
    pictured = {
        "both/original_rel": reference["original_rel"],
        "oracle/merged": oracle["merged"],
        "blind/merged": blind["merged"],
    }
    shown = reference["original_rel"]
    of_test = analyses.of_test_split(shown, tasks)
    labels = bench.dataset.labels[shown.sample[of_test]]
    return by_protocol, {
        "labels": labels,
        **{name: space.rows[of_test] for name, space in pictured.items()},
    }


def _scaled(report: Report, start: float, stop: float, what: str, share: float) -> None:
    """Report the progress of a part as that of the whole."""
    report(what, start + share * (stop - start))


def _key(seed: int, setting: Setting) -> jax.Array:
    """The key of a setting's charts: other than those of other settings and seeds."""
    number = zlib.crc32(f"{setting.scenario}_{setting.name}".encode())
    return jax.random.fold_in(jax.random.key(seed), number)
