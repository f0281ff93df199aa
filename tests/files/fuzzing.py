"""Readers of foreign bytes, and inputs that are almost right: one table for all.

Run as a program this is the child of `test_fuzz.py`: it reads mutated inputs under
limits on its memory and time, and prints what a reader should not have done.

    python tests/files/fuzzing.py SEED SECONDS COUNT READER...
"""

import contextlib
import faulthandler
import gzip
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pyarrow as arrow
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet as parquet
from safetensors.numpy import save_file

from experiments.encoders import weights_files
from experiments.federated import consensus, messages
from jatlas import Probe
from jatlas.files import readers, storage
from jatlas.files.formats import sources
from jatlas.files.formats.columns.keep import read_beside
from jatlas.files.recipe import AtlasFile, Recipe
from jatlas.merging.transforms import Transform

N, D, A = 12, 3, 2
IDS = [f"größe {n}" for n in range(N)]
X = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)

# What a small input may take: a reader's buffers, and deflate's 1,032 bytes for one.
MEMORY = 2**28
PER_BYTE = 1032 * 4
SECONDS = 20

# What no reader does: start programs, open connections, write files, run code.
FORBIDDEN = ("os.system", "os.exec", "os.spawn", "subprocess.Popen", "socket.connect")


class Reader(NamedTuple):
    """Something that reads foreign bytes.

    Attributes:
        seeds: right inputs, each the content of files by name, the first the main one.
        read: of the path of the main file, reads it to the end.
        errors: what it may raise.
    """

    seeds: list[dict[str, bytes]]
    read: Callable[[Path], object]
    errors: tuple[type[Exception], ...]


def written(fill: Callable[[Path], object], *names: str) -> dict[str, bytes]:
    """What `fill` writes into a folder, by name."""
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder))
        return {name: (Path(folder) / name).read_bytes() for name in names}


def embeddings(path: Path) -> None:
    """Both ways to read a file: some rows at a time, and whole."""
    source = readers.open_embeddings(path)
    for _ in sources.batches(source, 5):
        pass
    with contextlib.suppress(OSError):
        readers.file_hash(path)
    readers.read_embeddings(path)


def whole_atlas(path: Path) -> None:
    storage.load_recipe(path)
    storage.load(path)


def an_atlas() -> AtlasFile:
    transform = Transform(np.zeros(D, np.float32), np.eye(D, dtype=np.float32))
    recipe = Recipe(
        np.array(IDS[:A]),
        (X[:A], X[2 : 2 + A]),
        (transform, transform),
        Transform(np.zeros(A, np.float32), np.eye(A, dtype=np.float32)),
        "cosine",
        ("a", "b"),
        ("0f" * 32, ""),
        {"jatlas": "0.1.0"},
        0.1,
    )
    count = np.array([1, 2] * (N // 2), np.int32)
    spread = np.where(count > 1, 0.5, np.nan).astype(np.float32)
    return AtlasFile(np.array(IDS), X[:, :A], count, spread, recipe)


def table(column: Any, **options: Any) -> dict[str, bytes]:
    def fill(folder: Path) -> None:
        columns = arrow.table({"id": IDS, "x": column, "score": X[:, 0]})
        parquet.write_table(columns, folder / "a.parquet", row_group_size=5, **options)

    return written(fill, "a.parquet")


def mixed(folder: Path) -> None:
    """Columns that could be meant, so that their first values are looked at."""
    columns = {
        "id": IDS,
        "x": X.tolist(),
        "hash": [bytes(range(224, 256))] * N,
        "text": IDS,
    }
    encoded = arrow.array(IDS).dictionary_encode()
    data = arrow.table(columns | {"kind": encoded})
    parquet.write_table(data, folder / "a.parquet")
    pyarrow.feather.write_feather(data, folder / "a.feather")


def frame(folder: Path) -> None:
    columns = {"id": np.arange(N)} | {f"d{d}": X[:, d] for d in range(D)}
    parquet.write_table(arrow.table(columns), folder / "a.parquet", compression="gzip")


def stream(folder: Path) -> None:
    """The one file of a folder of `datasets`, whose state the reader adds."""
    data = arrow.table({"id": IDS, "x": X.tolist()})
    with arrow.ipc.new_stream(folder / "a.arrow", data.schema) as to:
        to.write_table(data)


def feather(compression: str) -> dict[str, bytes]:
    def fill(folder: Path) -> None:
        data = arrow.table({"id": IDS, "x": X.tolist()})
        pyarrow.feather.write_feather(
            data, folder / "a.feather", compression=compression, chunksize=5
        )

    return written(fill, "a.feather")


def words(name: str, headed: bool) -> dict[str, bytes]:
    lines = [f"{N} {D}"] * headed
    lines += [f"w{n} {' '.join(map(str, x))}" for n, x in enumerate(X.tolist())]
    text = "\n".join(lines).encode()
    return {name: gzip.compress(text) if name.endswith("gz") else text}


def chart_parts() -> list[dict[str, bytes]]:
    """A chart in two tables, of which the first is mutated."""

    def fill(folder: Path) -> None:
        for k, rows in enumerate((slice(0, 7), slice(7, N))):
            columns = arrow.table({"id": IDS[rows], "x": X[rows].tolist()})
            parquet.write_table(columns, folder / f"part-{k}.parquet")

    return [
        written(fill, "part-0.parquet", "part-1.parquet"),
        written(fill, "part-1.parquet", "part-0.parquet"),
    ]


def in_parts(path: Path) -> None:
    """The rows of a folder with a chart's tables."""
    folder = path.parent / "parts"
    folder.mkdir(exist_ok=True)
    for part in path.parent.glob("part-*.parquet"):
        part.rename(folder / part.name)
    embeddings(folder)


def atlas_parts() -> list[dict[str, bytes]]:
    """An atlas in parts: a table, or the recipe, is mutated."""
    names = ["part-00000.parquet", "_recipe.safetensors"]

    def fill(folder: Path) -> None:
        storage.save(folder / "atlas", an_atlas())
        for name in names:
            (folder / "atlas" / name).rename(folder / name)

    return [written(fill, *names), written(fill, *names[::-1])]


def atlas_in_parts(path: Path) -> None:
    folder = path.parent / "atlas"
    folder.mkdir(exist_ok=True)
    for name in ("part-00000.parquet", "_recipe.safetensors"):
        (path.parent / name).rename(folder / name)
    whole_atlas(folder)


def beside(*names: str) -> list[dict[str, bytes]]:
    """Files with columns that are kept."""
    columns = {"id": IDS, "x": X.tolist(), "title": IDS, "year": list(range(N))}

    def fill(folder: Path) -> None:
        parquet.write_table(arrow.table(columns), folder / "a.parquet")
        pyarrow.feather.write_feather(arrow.table(columns), folder / "a.feather")
        np.savez(folder / "a.npz", **columns)

    return [written(fill, name) for name in names]


def kept(path: Path) -> None:
    read_beside([path], np.array(IDS), ["title", "year"])


def h5ad(folder: Path) -> None:
    with h5py.File(folder / "a.h5ad", "w") as file:
        file["obs/cell"], file["obsm/X_pca"] = IDS, X
        file["obs"].attrs["_index"] = "cell"


def in_folder(path: Path) -> None:
    folder = path.parent / "d"
    folder.mkdir(exist_ok=True)
    (folder / "a.arrow").write_bytes(path.read_bytes())
    if not (folder / "state.json").exists():
        (folder / "state.json").write_text('{"_data_files": [{"filename": "a.arrow"}]}')
    embeddings(folder)


def state(path: Path) -> None:
    folder = path.parent / "d"
    folder.mkdir(exist_ok=True)
    (folder / "a.arrow").write_bytes(written(stream, "a.arrow")["a.arrow"])
    (folder / "state.json").write_bytes(path.read_bytes())
    embeddings(folder)


def hdf5(**options: Any) -> dict[str, bytes]:
    def fill(folder: Path) -> None:
        with h5py.File(folder / "a.h5", "w") as file:
            file["id"] = IDS if options else np.arange(N)
            file.create_dataset("x", data=X, **options)

    return written(fill, "a.h5")


def npz(save: Callable[..., None], **arrays: Any) -> dict[str, bytes]:
    return written(lambda folder: save(folder / "a.npz", **arrays), "a.npz")


def npy(folder: Path) -> None:
    np.save(folder / "a.npy", X)
    (folder / "a.id.txt").write_text("\n".join(IDS), encoding="utf-8")


def tensors(folder: Path) -> None:
    coded = np.array([name.encode() for name in IDS]).view(np.uint8).reshape(N, -1)
    save_file({"id": coded, "x": X}, folder / "a.safetensors")


def saved(name: str, *more: str) -> dict[str, bytes]:
    def fill(folder: Path) -> None:
        storage.save(folder / name, an_atlas())

    return written(fill, name, *more)


RECIPE = messages.Recipe(1, tuple(IDS), (0, 1) * (N // 2), (0, 1), 2, 2, "plain")


def sent() -> list[dict[str, bytes]]:
    part = messages.contribution(1, RECIPE, X[:, :A] / 9, np.ones(N, bool))
    return [{"a.npz": part}]


def head() -> list[dict[str, bytes]]:
    shapes = {name: np.zeros((2, 2), np.float32) for name in Probe._fields}
    common, centre = np.ones(N, bool), np.zeros(A, np.float32)
    heads = [
        messages.Head(0, (1, 2), Probe(**shapes), common, centre, scale)
        for scale in (None, np.eye(A, dtype=np.float32))
    ]
    return [{"a.npz": messages.pack_head(head)} for head in heads]


def client_map() -> list[dict[str, bytes]]:
    mean, scale = np.zeros(A, np.float32), np.float32(1)
    sent_map = consensus.Map(0, 1, mean, scale, np.eye(A, dtype=np.float32))
    return [{"a.npz": consensus.pack(sent_map)}]


def weights() -> list[dict[str, bytes]]:
    """Files as torch writes them, made without it."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "experiments" / "encoders"))
    import test_weights_files

    return [
        {"a.pth": form(test_weights_files.TENSORS)}
        for form in (test_weights_files.legacy_file, test_weights_files.archive_file)
    ]


READERS: dict[str, Callable[[], Reader]] = {
    "npz": lambda: Reader(
        [
            npz(np.savez, id=IDS, x=X),
            npz(np.savez_compressed, id=np.arange(N), x=X),
            npz(np.savez, id=np.arange(N), x=np.asfortranarray(X.astype(">f8"))),
        ],
        embeddings,
        (ValueError, OSError),
    ),
    "npy": lambda: Reader(
        [written(npy, "a.npy", "a.id.txt"), written(npy, "a.id.txt", "a.npy")],
        lambda path: embeddings(path.with_name("a.npy")),
        (ValueError, OSError),
    ),
    "safetensors": lambda: Reader(
        [written(tensors, "a.safetensors")], embeddings, (ValueError, OSError)
    ),
    "hdf5": lambda: Reader(
        [hdf5(), hdf5(chunks=(5, 2), compression="gzip")],
        embeddings,
        (ValueError, OSError),
    ),
    "parquet": lambda: Reader(
        [
            table(X.tolist(), compression="zstd"),
            table(arrow.FixedSizeListArray.from_arrays(X.ravel(), D)),
            table(X.tolist(), data_page_version="2.0", compression="none"),
            written(frame, "a.parquet"),
            written(mixed, "a.parquet"),
        ],
        embeddings,
        (ValueError, OSError),
    ),
    "feather": lambda: Reader(
        [
            *map(feather, ["uncompressed", "lz4", "zstd"]),
            written(mixed, "a.feather"),
        ],
        embeddings,
        (ValueError, OSError),
    ),
    "arrow stream": lambda: Reader(
        [written(stream, "a.arrow")], embeddings, (ValueError, OSError)
    ),
    "word2vec": lambda: Reader(
        [words("a.vec", True), words("a.vec", False), words("a.vec.gz", True)],
        embeddings,
        (ValueError, OSError),
    ),
    "h5ad": lambda: Reader(
        [written(h5ad, "a.h5ad")], embeddings, (ValueError, OSError)
    ),
    "datasets": lambda: Reader(
        [written(stream, "a.arrow")], in_folder, (ValueError, OSError)
    ),
    "state of datasets": lambda: Reader(
        [{"state.json": b'{"_data_files": [{"filename": "a.arrow"}], "a": {"b": 1}}'}],
        state,
        (ValueError, OSError),
    ),
    "atlas": lambda: Reader(
        [saved("a.safetensors")], whole_atlas, (ValueError, OSError)
    ),
    "atlas in parquet": lambda: Reader(
        [saved("a.parquet", "a.recipe.safetensors")],
        whole_atlas,
        (ValueError, OSError),
    ),
    "atlas in parts": lambda: Reader(
        atlas_parts(), atlas_in_parts, (ValueError, OSError)
    ),
    "chart in parts": lambda: Reader(chart_parts(), in_parts, (ValueError, OSError)),
    "columns to keep": lambda: Reader(
        beside("a.parquet", "a.feather", "a.npz"), kept, (ValueError, OSError)
    ),
    "recipe": lambda: Reader(
        [saved("a.parquet", "a.recipe.safetensors")],
        lambda path: storage.load_recipe(path.with_name("a.recipe.safetensors")),
        (ValueError, OSError),
    ),
    "message recipe": lambda: Reader(
        [{"a.json": messages.pack_recipe(RECIPE)}],
        lambda path: messages.unpack_recipe(path.read_bytes()),
        (messages.Refused,),
    ),
    "message contribution": lambda: Reader(
        sent(),
        lambda path: messages.read_contribution(path.read_bytes(), 1, RECIPE),
        (messages.Refused,),
    ),
    "message head": lambda: Reader(
        head(),
        lambda path: messages.unpack_head(path.read_bytes()),
        (messages.Refused,),
    ),
    "message map": lambda: Reader(
        client_map(),
        lambda path: consensus.unpack(path.read_bytes()),
        (messages.Refused,),
    ),
    "weights": lambda: Reader(
        weights(), weights_files.read_tensors, (ValueError, OSError)
    ),
}

# Values that lengths, offsets and counts break at.
EDGES = [
    0,
    1,
    0x7F,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0xFFFFFFFF,
    1 << 40,
    (1 << 63) - 1,
]
TEXTS = [b"'", b"\\", b"(", b"{", b"1e9", b"-1", b"99999999999", b"null", b"\x00", b"O"]


def mutated(data: bytes, draw: random.Random) -> bytes:
    """The bytes with some changed, cut, put in or taken out."""
    out = bytearray(data)
    for _ in range(draw.choice([1, 1, 1, 2, 4, 16])):
        size = max(len(out), 1)
        # As often near an end, where headers and footers stand.
        near = draw.randrange(min(size, 256))
        place = draw.choice([draw.randrange(size), near, max(size - 1 - near, 0)])
        kind = draw.randrange(7)
        if kind == 0:
            out[place : place + 1] = bytes([draw.randrange(256)])
        elif kind == 1 and out:
            out[min(place, len(out) - 1)] ^= 1 << draw.randrange(8)
        elif kind == 2:
            width = draw.choice([1, 2, 4, 8])
            value = draw.choice(EDGES) & ((1 << 8 * width) - 1)
            out[place : place + width] = value.to_bytes(
                width, draw.choice(["little", "big"])
            )
        elif kind == 3:
            del out[place : place + draw.choice([1, 2, 8, 64, 1 << 20])]
        elif kind == 4:
            text = draw.choice(TEXTS)
            out[place : place + draw.choice([0, len(text)])] = text
        elif kind == 5:
            other = draw.randrange(size)
            out[place : place + 16] = out[other : other + 16]
        else:
            digits = [k for k, byte in enumerate(out[:2000]) if 48 <= byte <= 57]
            if digits:
                out[draw.choice(digits)] = draw.choice(b"0123456789-")
    return bytes(out)


def inputs(reader: Reader, seed: str) -> Iterator[dict[str, bytes]]:
    """Mutated inputs, one after another, for ever: the same for the same seed."""
    draw = random.Random(seed)
    while True:
        files = dict(draw.choice(reader.seeds))
        name = next(iter(files))
        files[name] = mutated(files[name], draw)
        yield files


class Hang(BaseException):
    """A reader that does not come to an end; no reader can swallow it."""


def one(reader: Reader, files: dict[str, bytes], folder: Path) -> str | None:
    """What the reader did that it should not do with this input; None if nothing."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    signal.alarm(SECONDS)
    try:
        reader.read(folder / next(iter(files)))
    except Hang:
        return "it hangs"
    except reader.errors as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, MemoryError):
                return f"it takes too much memory: {error}"
            cause = cause.__cause__ or cause.__context__
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
    return SEEN.pop() if SEEN else None


SEEN: list[str] = []


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event.startswith(FORBIDDEN) or (
        event == "pickle.find_class" and not str(arguments[0]).startswith("numpy")
    ):
        SEEN.append(f"it does what no reader does: {event}{arguments}")


def _hang(*_: Any) -> None:
    raise Hang


def limit_memory(size: int) -> None:
    """From here on the process gets so many bytes more of address space, at most."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY + PER_BYTE * size
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def fuzz(name: str, reader: Reader, seed: str, end: float, count: int) -> None:
    """Print what a reader should not have done, and how many inputs it got."""
    done, last = 0, os.environ.get("JATLAS_FUZZ_LAST")
    with tempfile.TemporaryDirectory() as scratch:
        for files in inputs(reader, f"{seed} {name}"):
            if done == count or time.monotonic() > end:
                break
            done += 1
            data = next(iter(files.values()))
            if last is not None:  # of an input that ends the process something is left
                Path(last).write_bytes(data)
            fault = one(reader, files, Path(scratch))
            if fault is not None:
                found = {"reader": name, "number": done, "fault": fault}
                print(json.dumps(found | {"data": data.hex()[:20000]}), flush=True)
    print(json.dumps({"reader": name, "done": done}), flush=True)


def main(seed: str, seconds: float, count: int, names: list[str]) -> None:
    warnings.simplefilter("ignore")
    faulthandler.enable()
    table = {name: READERS[name]() for name in names}
    with tempfile.TemporaryDirectory() as scratch:
        for reader in table.values():  # what is right is read, and all is imported
            for files in reader.seeds:
                for file, data in files.items():
                    (Path(scratch) / file).write_bytes(data)
                reader.read(Path(scratch) / next(iter(files)))
    signal.signal(signal.SIGALRM, _hang)
    sys.addaudithook(_watch)
    seeds = [files for reader in table.values() for files in reader.seeds]
    limit_memory(max(len(data) for files in seeds for data in files.values()))
    for k, (name, reader) in enumerate(table.items()):
        left = seconds / len(table) * (k + 1)
        fuzz(name, reader, seed, START + left, count)


START = time.monotonic()

if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
