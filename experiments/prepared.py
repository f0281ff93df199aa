"""TFDS data sets, prepared once as array_record and read back without TensorFlow.

TFDS writes into a folder beside and renames it when all is there, so that a killed
preparation leaves nothing that is read later; a lock lets one process prepare while
others wait for its result. A cache that cannot be read back is never mended in silence:
the error names the folder to delete.

TFDS is imported on use: it takes a third of a second, and data that need no preparation
go without it.
"""

import contextlib
import fcntl
import io
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SPLITS = ("train", "test")

_RECORDS_AT_ONCE = 1024


class Rows(NamedTuple):
    """The samples of one split.

    Attributes:
        images: (N, height, width, channels).
        labels: (N,), class numbers.
        ids: (N,), numbers or strings, as the source has them.
    """

    images: np.ndarray
    labels: np.ndarray
    ids: np.ndarray


def read(
    name: str, make_builder: Callable[..., Any], folder: Path
) -> tuple[dict[str, Rows], tuple[str, ...]]:
    """The splits "train" and "test" of a TFDS builder, prepared first if need be.

    Args:
        name: of the builder, as TFDS has it.
        make_builder: called with `data_dir` and `file_format`, gives the builder: its
            class, or `functools.partial(tfds.builder, "cifar100")`.
        folder: the `data_dir`, in which this one and others are kept.

    Returns:
        The `Rows` of each split, and the names of the classes. The rows are in the
        order of the builder's `id` feature, or, where it has none, as they were
        written, the ids then being the row numbers. (TFDS writes rows in the order of a
        hash of their keys, the same on every machine.)

    Raises:
        ValueError: if the builder lacks a split, has no image with a class label, its
            images differ in size, or what was prepared cannot be read back.
        OSError: if the folder cannot be written.
    """
    builder = _prepared(name, make_builder, folder)
    known = sorted(builder.info.splits)
    missing = [split for split in SPLITS if split not in known]
    if missing:
        raise ValueError(f"{name} has no split {missing}; it has {known}.")
    image, label = _keys(name, builder.info)
    splits = {split: _read(name, builder, split, (image, label)) for split in SPLITS}
    return splits, tuple(builder.info.features[label].names)


def _prepared(name: str, make_builder: Callable[..., Any], folder: Path) -> Any:
    """The builder, over what is prepared in the folder, or prepared now."""

    def make() -> Any:
        with _readable(folder / name), _no_warnings():
            return make_builder(data_dir=folder, file_format="array_record")

    builder = make()
    # TFDS may know the splits of a set that is not prepared, from the network.
    if not (builder.info.splits and builder.data_path.exists()):
        with _lock(folder):
            builder = make()  # over what another process may have prepared meanwhile
            if not builder.data_path.exists():
                _prepare(builder)
    if not builder.info.splits:
        raise ValueError(
            _damaged(folder / name, "dataset_info.json is missing or names no split")
        )
    return builder


def _prepare(builder: Any) -> None:
    """Let TFDS write the data set, without its messages; call it under the lock."""
    import tensorflow_datasets as tfds

    # Under the lock, an unfinished folder is what a killed preparation has left.
    for unfinished in Path(builder.data_path).parent.glob("incomplete.*"):
        shutil.rmtree(unfinished)
    tfds.display_progress_bar(False)
    try:
        with _no_warnings(), contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare()
    finally:
        tfds.display_progress_bar(True)


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which the system takes from a process that dies."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise OSError(
            f"the cache folder {folder} cannot be written ({error}). Make it writable, "
            "or give another cache_dir."
        ) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _keys(name: str, info: Any) -> tuple[Any, Any]:
    """The names of the image and of the label feature of a TFDS data set."""
    import tensorflow_datasets as tfds

    image, label = (info.supervised_keys or (None, None))[:2]
    features = dict(info.features.items())
    if not (
        isinstance(features.get(image), tfds.features.Image)
        and isinstance(features.get(label), tfds.features.ClassLabel)
    ):
        raise ValueError(
            f"{name} is not a set of images with class labels: its supervised keys are "
            f"{info.supervised_keys}, its features {sorted(features)}."
        )
    return image, label


def _read(name: str, builder: Any, split: str, keys: tuple[str, str]) -> Rows:
    """Images, labels and ids of a split, in the order of the ids."""
    num_samples = builder.info.splits[split].num_examples
    images, labels, ids = None, np.empty(num_samples, np.int32), []
    for row, example in enumerate(_examples(builder, split)):
        image = example[keys[0]]
        if images is None:
            images = np.empty((num_samples, *image.shape), image.dtype)
        if image.shape != images.shape[1:]:
            raise ValueError(
                f"{name}: images must be of one size; the first of {split} is "
                f"{images.shape[1:]}, number {row} is {image.shape}."
            )
        images[row], labels[row] = image, example[keys[1]]
        number = example.get("id", row)
        ids.append(number.decode() if isinstance(number, bytes) else number)
    if images is None:
        raise ValueError(f"{name}: the split {split} has no samples.")
    order = np.argsort(np.array(ids), kind="stable")
    return Rows(images[order], labels[order], np.array(ids)[order])


def _examples(builder: Any, split: str) -> Iterator[dict[str, Any]]:
    """The examples of a split, decoded, in the order in which they are written."""
    folder = Path(builder.data_path)
    with _readable(folder):
        source = builder.as_data_source(split)
    for start in range(0, len(source), _RECORDS_AT_ONCE):
        rows = range(start, min(start + _RECORDS_AT_ONCE, len(source)))
        with _readable(folder), _no_warnings():
            examples = source.__getitems__(rows)
        yield from examples


@contextlib.contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Say of any error in here that the folder is damaged, and what to do.

    Only calls of TFDS belong in here. What they raise over a damaged file is of many
    kinds (RuntimeError, KeyError, AssertionError, protobuf's, pillow's), hence all.
    Flipped and missing bytes are found out: the format keeps hashes of its blocks.
    """
    try:
        yield
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        if not folder.exists():
            raise
        raise ValueError(
            _damaged(folder, f"{type(error).__name__}: {error}")
        ) from error


def _damaged(folder: Path, reason: str) -> str:
    return (
        f"what is cached in {folder} cannot be read back ({reason}). Delete that "
        "folder: it is made again when the data set is loaded next. If that fails too, "
        "the installed tensorflow-datasets and protobuf do not fit each other."
    )


@contextlib.contextmanager
def _no_warnings() -> Iterator[None]:
    """Keep absl, through which TFDS speaks, at errors: it asks for OpenCV each time."""
    import tensorflow_datasets  # noqa: F401  (absl must set up its own logger first)

    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
