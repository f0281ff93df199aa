"""A merge of files, beside reading the same bytes and one product."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import jatlas
from experiments.benchmarks import measure, memory, timing
from experiments.benchmarks.measure import Bench, Reference, Row

_SAMPLES, _FEW = 1_000_000, 2_000  # of all charts
_PAIRED = 4  # the turns of ours and of the reference take so many times fewer
_ANCHORS = 256
_BATCH = 8192  # rows that the reference reads at once
_FILES = 8  # of the chart in Parquet parts
# Of each chart the dimension, and where its samples begin and end, as a share of all;
# all charts have the samples between .45 and .5.
_CHARTS = {
    "a.npz": (256, (0, 0.5)),
    "b": (256, (0.25, 0.75)),
    "c.safetensors": (192, (0.45, 0.97)),
}
_KINDS = ("relative", "consensus")
_OUTPUTS = {"a file": "atlas.parquet", "a folder": "atlas/"}


class Command(NamedTuple):
    """What a command took: seconds, and the most memory of its process."""

    seconds: float
    peak: int


def rows(bench: Bench) -> list[Row]:
    """The rate beside its reference, and the commands' time and memory."""
    total = _FEW if bench.quick else _SAMPLES
    with tempfile.TemporaryDirectory() as name:
        bench.tell("files", 0.0)
        folder = Path(name)
        few, many = (folder / kind for kind in ("few", "many"))
        write_charts(few, total // _PAIRED)
        bench.tell("merge_files", 0.05)
        paired = _paired(bench, few, total // _PAIRED)
        if bench.alone:
            return [paired]
        write_charts(many, total)
        return [paired, _commands(bench, many, total)]


def write_charts(folder: Path, total: int) -> None:
    """Write charts of so many samples: .npz, Parquet parts, safetensors."""
    import pyarrow as arrow
    from pyarrow import parquet
    from safetensors.numpy import save_file

    folder.mkdir()
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((total, 16), np.float32)
    for name, (width, (start, stop)) in _CHARTS.items():
        ids = rng.permutation(np.arange(int(start * total), int(stop * total)))
        weights = rng.standard_normal((16, width), np.float32) / 4
        x = np.tanh(hidden[ids] @ weights)
        x += 0.3 * rng.standard_normal(x.shape, np.float32)
        if name.endswith(".npz"):
            np.savez(folder / name, id=ids, embeddings=x)
        elif name.endswith(".safetensors"):
            save_file({"id": ids, "embeddings": x}, str(folder / name))
        else:
            (folder / name).mkdir()
            size = -(-ids.size // _FILES)
            for k in range(0, ids.size, size):
                flat = arrow.array(x[k : k + size].reshape(-1))
                lists = arrow.FixedSizeListArray.from_arrays(flat, width)
                table = arrow.table({"id": ids[k : k + size], "embedding": lists})
                file = folder / name / f"part-{k // size}.parquet"
                parquet.write_table(table, file, row_group_size=20_000)


def _paired(bench: Bench, folder: Path, total: int) -> Row:
    """`merge_files`, and reading all rows with one product of them."""
    files = [folder / name for name in _CHARTS]
    anchors = min(_ANCHORS, total // 40)
    merged = partial(jatlas.merge_files, files, anchors=f"shared:{anchors}")
    what = "all rows read with NumPy and pyarrow, one product of them"
    baselines = {"reading": Reference(what, partial(_read_and_multiply, folder))}
    row = measure.compare(
        bench,
        "merge_files",
        {"N": total, "M": len(files), "A": anchors},
        lambda: merged().merged,
        baselines,
        sample_memory=True,
    )
    size = _size(files)
    row["values"] = {
        f"megabytes of input a second, {name}": size
        / 1e6
        / timing.middle(timing.known(seconds))
        for name, seconds in row["seconds"].items()
        if name in ("ours", *baselines)
    } | {
        "input, bytes": size,
        "peak as a share of the atlas": (row["memory"]["peak_bytes"] or 0)
        / (4 * total * anchors),
    }
    rate = row["values"]["megabytes of input a second, ours"]
    measure.add_bar(bench, row, "megabytes of input a second", rate, least=180)
    return row


def _read_and_multiply(folder: Path) -> float:
    """Read each row once, and multiply it with a matrix of anchors."""
    total = 0.0
    for x in _batches(folder):
        anchors = np.ones((x.shape[1], _ANCHORS), np.float32)
        total += float((x @ anchors)[0, 0])
    return total


def _batches(folder: Path) -> Iterator[np.ndarray]:
    """The rows of all charts, by NumPy, pyarrow and safetensors."""
    from pyarrow import parquet
    from safetensors import safe_open

    for name in _CHARTS:
        path = folder / name
        if name.endswith(".npz"):
            with np.load(path) as arrays:
                x = arrays["embeddings"]
            yield from (x[k : k + _BATCH] for k in range(0, len(x), _BATCH))
        elif name.endswith(".safetensors"):
            with safe_open(path, "np") as tensors:
                rows = tensors.get_slice("embeddings")
                size = rows.get_shape()[0]
                for k in range(0, size, _BATCH):
                    yield rows[k : min(k + _BATCH, size)]
        else:
            for file in sorted(path.iterdir()):
                table = parquet.ParquetFile(file)
                for batch in table.iter_batches(_BATCH, columns=["embedding"]):
                    flat = batch.column("embedding").flatten().to_numpy()
                    yield flat.reshape(batch.num_rows, -1)


def _size(files: list[Path]) -> int:
    """The bytes of files, and of those in folders."""
    every = [part for file in files for part in (file, *file.glob("*"))]
    return sum(part.stat().st_size for part in every if part.is_file())


def _commands(bench: Bench, folder: Path, total: int) -> Row:
    """The commands, each a process of its own."""
    values: dict[str, Any] = {}
    anchors = min(_ANCHORS, total // 40)
    # Among the samples that all charts have, also the one that is added.
    listed = folder / "anchors.npy"
    np.save(listed, int(0.45 * total) + np.arange(anchors))
    files = [str(folder / name) for name in _CHARTS]
    out = str(folder / "atlas.parquet")
    grown = str(folder / "grown.parquet")
    done = 0
    for kind in _KINDS:
        few = [] if kind == "consensus" else ["--anchors", str(listed)]
        words = ["merge", *files, "--coordinates", kind, *few]
        runs = {f"merge to {of}": [*words, "--out", str(folder / to)]
                for of, to in _OUTPUTS.items()}  # fmt: skip
        runs["merge of two to a file"] = [
            *("merge", *files[:2], "--coordinates", kind, *few, "--out", out)
        ]
        runs["add"] = ["add", out, files[2], "--out", grown]
        new = str(folder / "new.parquet")
        runs["project"] = ["project", out, files[1], "--chart", "1", "--out", new]
        for what, arguments in runs.items():
            bench.tell(f"{kind}: {what}", 0.3 + 0.7 * done / 10)
            done += 1
            took = _run(arguments)
            if what.endswith("of two to a file"):
                continue
            values[f"seconds, {kind}: {what}"] = took.seconds
            values[f"peak, {kind}: {what}, bytes"] = took.peak
    values["input, bytes"] = _size([Path(file) for file in files])
    values["atlas, bytes"] = 4 * total * anchors
    return {
        "name": "merge, add and project as commands",
        "size": {"N": total, "M": len(files), "A": anchors},
        "seconds": {},
        "values": values,
        "bars": [],
    }


def _run(arguments: list[str]) -> Command:
    """Run a command of the library in a process of its own."""
    began = time.perf_counter()
    words = [sys.executable, "-m", "jatlas", *arguments]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    peak = memory.peak_of_process(process)
    if process.returncode:
        message = f"`jatlas {arguments[0]}` ended with {process.returncode}."
        raise ChildProcessError(message)
    return Command(time.perf_counter() - began, peak)
