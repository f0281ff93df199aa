"""Charts trained for tasks, and their embeddings, kept until measured.

Each chart's embeddings are a file, written whole or not at all, so that a run that is
killed goes on with the next chart.
"""

import math
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import jatlas
from experiments.data import storage
from experiments.data.catalog import load
from experiments.data.dataset import Dataset, with_first
from experiments.encoders import chart_kinds
from experiments.encoders.chart_kinds import Encoder
from experiments.runs import terminal
from experiments.runs.options import Options
from experiments.runs.settings import Setting
from experiments.runs.terminal import Report
from jatlas.charts import Chart, Charts, training
from jatlas.charts.training import Progress
from jatlas.scenarios import Tasks, end_to_end


class Bench(NamedTuple):
    """What all units of a run share.

    Attributes:
        options: of the run.
        dataset: the data.
        encoders: a kind of chart on these data, by its name.
        folder: where the parts of the run are kept.
    """

    options: Options
    dataset: Dataset
    encoders: dict[str, Encoder]
    folder: Path


def read(options: Options, report: Report = terminal.silent) -> Dataset:
    """The data set of the options.

    Raises:
        ValueError: if there is none of this name, or it is not what it should be.
        OSError: if it cannot be read, or the cache cannot be written.
    """
    report(f"reading {options.dataset}; the first time it is prepared", 0.0)
    dataset = load(
        options.dataset,
        cache_dir=options.data_dir and options.data_dir / "datasets",
        manual_dir=options.manual_dir,
    )
    if options.num_training is not None:
        dataset = with_first(dataset, options.num_training)
    return dataset


def prepare(
    options: Options, dataset: Dataset, folder: Path, report: Report = terminal.silent
) -> Bench:
    """Prepare what all units share; frozen features are computed first.

    Args:
        options: of the run.
        dataset: the data.
        folder: where the parts of the run are kept.
        report: called with what is being done, and how much of it is done.

    Raises:
        ValueError: if the images are too small for a chart.
        OSError: if the weights of a frozen encoder are not there.
    """
    made = {
        name: chart_kinds.prepare(
            name,
            dataset,
            feature_size=options.feature_size,
            cache_dir=options.data_dir,
            report=report,
        )
        for name in dict.fromkeys(options.charts)
    }
    return Bench(options, dataset, made, folder)


def reference(bench: Bench, seed: int, report: Report) -> np.ndarray:
    """(N, D), the end-to-end chart's embeddings: trained once a seed, then kept."""
    dataset = bench.dataset
    task = end_to_end(seed, dataset.labels, test=dataset.test)
    files = [reference_file(bench, seed)]
    (rows,) = _embeddings(
        bench, task, jax.random.key(seed), files, "end-to-end chart", report
    )
    return rows


def reference_file(bench: Bench, seed: int) -> Path:
    """The file of a seed's end-to-end chart."""
    return bench.folder / f"reference_seed{seed}.npz"


def charts(
    bench: Bench, setting: Setting, seed: int, tasks: Tasks, report: Report
) -> list[np.ndarray]:
    """M arrays (N, D_m): all task charts' embeddings of every sample."""
    files = chart_files(bench, setting, seed, len(tasks.seen))
    return _embeddings(bench, tasks, key(seed, setting), files, "chart", report)


def unit_name(setting: Setting, seed: int) -> str:
    """The name of the files of a setting and a seed."""
    return f"{setting.scenario}_{setting.name}_seed{seed}"


def chart_files(
    bench: Bench, setting: Setting, seed: int, num_charts: int
) -> list[Path]:
    """The files of a unit's chart embeddings until it is measured."""
    name = unit_name(setting, seed)
    return [bench.folder / f"{name}_chart{m}.npz" for m in range(num_charts)]


def training_of(
    bench: Bench, setting: Setting, seed: int, tasks: Tasks
) -> list[dict[str, Any]]:
    """How a unit's charts trained, the end-to-end chart first.

    A chart that was kept before this was kept with it has no record.

    Returns:
        A record for each chart: "chart" ("end-to-end", or the number from 1), "kind",
        "epochs" that it was trained and "max_epochs" that it could be, "best_epoch"
        (counted from 1; 0 if none had a finite loss), "train_loss" and
        "validation_loss" at that epoch (NaN where there is none), in nats, and
        "num_classes" that it learned.
    """
    num_charts = len(tasks.seen)
    names = ["end-to-end", *range(1, num_charts + 1)]
    files = [
        reference_file(bench, seed),
        *chart_files(bench, setting, seed, num_charts),
    ]
    kinds = bench.options.charts
    numbers = [tasks.shared.size, *map(int, tasks.classes.sum(axis=1))]
    records = []
    for m, (name, file, size) in enumerate(zip(names, files, numbers, strict=True)):
        kept = storage.read_arrays(file)
        kind = kinds[max(m - 1, 0) % len(kinds)]
        if "validation_loss" in kept:
            about = {"chart": name, "kind": kind, "max_epochs": epochs_of(bench, kind)}
            records.append(about | _training(kept) | {"num_classes": size})
    return records


def _training(kept: dict[str, np.ndarray]) -> dict[str, Any]:
    """What is kept of one chart's training, in numbers."""
    losses = {name: kept[name] for name in ("train_loss", "validation_loss")}
    best = int(kept["best_epoch"])
    return {
        "epochs": int(np.isfinite(losses["train_loss"]).sum()),
        "best_epoch": best + 1,
        **{k: float(v[best]) if best >= 0 else math.nan for k, v in losses.items()},
    }


def key(seed: int, setting: Setting) -> jax.Array:
    """The key of a setting's charts, unique by setting and seed."""
    number = zlib.crc32(f"{setting.scenario}_{setting.name}".encode())
    return jax.random.fold_in(jax.random.key(seed), number)


def _embeddings(
    bench: Bench,
    tasks: Tasks,
    key: jax.Array,
    files: Sequence[Path],
    name: str,
    report: Report,
) -> list[np.ndarray]:
    """Every chart's embeddings of all samples; missing charts are trained."""
    kinds = bench.options.charts
    missing = [m for m, file in enumerate(files) if not file.exists()]
    for group in _groups(missing, kinds):
        kind = kinds[group[0] % len(kinds)]
        rows, fitted = _embedded(bench, kind, tasks, key, group, name, report)
        history = {
            "train_loss": np.asarray(fitted.train_loss),
            "validation_loss": np.asarray(fitted.validation_loss),
            "best_epoch": np.asarray(fitted.best_epoch),
        }
        for i, m in enumerate(group):
            of_chart = {name: values[i] for name, values in history.items()}
            storage.write_arrays(files[m], {"embeddings": rows[i], **of_chart})
    return [storage.read_arrays(file)["embeddings"] for file in files]


def _groups(numbers: list[int], kinds: tuple[str, ...]) -> list[list[int]]:
    """Charts trained in one call: one kind, singly on a CPU.

    There they are trained one after another anyway, and each is kept when it is done.
    """
    if jax.default_backend() == "cpu":
        return [[m] for m in numbers]
    of_kind = [[m for m in numbers if m % len(kinds) == k] for k in range(len(kinds))]
    return [group for group in of_kind if group]


def fit(
    bench: Bench,
    kind: str,
    tasks: Tasks,
    key: jax.Array,
    group: Sequence[int],
    tell: Callable[[Progress], None] | None = None,
    *,
    chart: Chart | None = None,
    max_epochs: int | None = None,
) -> Charts:
    """Charts of one kind, trained for these of the tasks.

    Args:
        bench: the data, and the kinds of charts.
        kind: which of these.
        tasks: which samples each chart sees.
        key: of all charts of these tasks.
        group: the numbers of the tasks.
        tell: called after each epoch.
        chart: in place of the kind's own, such as one that begins with a given state.
        max_epochs: in place of the options'.
    """
    encoder, epochs = bench.encoders[kind], max_epochs or epochs_of(bench, kind)
    most = int(tasks.seen.sum(axis=1).max())
    steps = epochs * math.ceil(most / encoder.batch_size)
    return training.fit_charts(
        key,
        encoder.chart if chart is None else chart,
        encoder.inputs,
        bench.dataset.labels,
        tasks,
        only=group,
        augment=encoder.augment,
        optimizer=encoder.kind.optimizer(steps),
        batch_size=encoder.batch_size,
        max_epochs=epochs,
        patience=bench.options.patience,
        report=tell,
    )


def epochs_of(bench: Bench, kind: str) -> int:
    """The most epochs that a chart of a kind is trained."""
    return bench.options.epochs(kind, bench.encoders[kind].max_epochs)


def _embedded(
    bench: Bench,
    kind: str,
    tasks: Tasks,
    key: jax.Array,
    group: list[int],
    name: str,
    report: Report,
) -> tuple[np.ndarray, Charts]:
    """(G, N, D), embeddings by charts trained for these tasks; the charts.

    They are of one kind.
    """
    epochs, num_charts = epochs_of(bench, kind), len(tasks.seen)

    def tell(progress: Progress) -> None:
        first = progress.charts[0]
        done = (first + (progress.epoch + 1) / epochs) / num_charts
        which = f" {first + 1}/{num_charts}" if num_charts > 1 else ""
        report(f"{name}{which}, epoch {progress.epoch + 1}/{epochs}", done)

    fitted = fit(bench, kind, tasks, key, group, tell)
    rows = jatlas.charts.embed(fitted, bench.encoders[kind].inputs)
    return np.asarray(rows), fitted
