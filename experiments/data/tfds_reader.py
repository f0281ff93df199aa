"""TFDS data sets, read back from array_record without TensorFlow.

`experiments.data.tfds_writer` has made them, once. A cache that cannot be read back is
never repaired in silence: the error names the folder to delete.

TFDS is imported on use: it takes a third of a second, and data that need no preparation
go without it.
"""

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.data.dataset import Dataset
from experiments.data.tfds_writer import Wanted, prepare, quiet

# The label of a superclass, in those sets of TFDS that have any.
SUPERCLASS = "coarse_label"

_RECORDS_AT_ONCE = 256

# Pillow's names of what an image is, by its number of channels.
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


class _Keys(NamedTuple):
    """The names of the features that are read."""

    image: str
    label: str
    superclass: str | None


def read(
    name: str,
    make_builder: Callable[..., Any],
    folder: Path,
    *,
    manual: Path | None = None,
    tensorflow: bool = False,
) -> Dataset:
    """Read the splits "train" and "test" of a TFDS builder.

    It is prepared first if need be. The images are read straight into the one array
    that is given back: nothing of their size is held beside it.

    Args:
        name: of the builder, as TFDS has it.
        make_builder: called with `data_dir` and `file_format`, gives the builder: its
            class, or `functools.partial(tfds.builder, "cifar100")`.
        folder: the `data_dir`, in which this one and others are kept.
        manual: a folder with files of the source that need not be downloaded.
        tensorflow: whether the builder needs TensorFlow to prepare. It then does so in
            a process of its own, and `make_builder` must be picklable.

    Returns:
        A `Dataset`, not yet checked. The rows of each split are in the order of the
        builder's `id` feature, or, where it has none, as they were written, the ids
        then being the row numbers. (TFDS writes rows in the order of a hash of their
        keys, the same on every machine.) A builder with no split "test" but one
        "validation" has that for its test split, and a note says so.

    Raises:
        ValueError: if the builder has no image with a class label, lacks a split, its
            images differ in size, its source files are missing or not the expected
            ones, or what was prepared cannot be read back.
        OSError: if the folder cannot be written.
    """
    wanted = Wanted(name, make_builder, folder, manual, tensorflow)
    builder, keys = _prepared(wanted)
    splits, notes = _splits(name, sorted(builder.info.splits))
    sizes = [builder.info.splits[split].num_examples for split in splits]
    rows = _read(name, builder, splits, keys)
    labels, names = rows["labels"], builder.info.features[keys.label].names
    groups, group_names = None, ()
    if keys.superclass:
        group_names = tuple(builder.info.features[keys.superclass].names)
        groups = _of_classes(name, labels, rows["superclasses"], names)
    return Dataset(
        name=name,
        images=rows["images"],
        labels=labels,
        ids=rows["ids"],
        test=np.repeat([False, True], sizes),
        class_names=tuple(names),
        superclasses=groups,
        superclass_names=group_names,
        notes=notes,
    )


def _prepared(wanted: Wanted) -> tuple[Any, _Keys]:
    """The builder, over what is prepared in the folder, or prepared now."""
    name, folder = wanted.name, wanted.folder

    def make() -> Any:
        with _readable(folder / name), quiet():
            return wanted.make()

    builder = make()
    keys = _keys(name, builder.info)
    # TFDS may know the splits of a set that is not prepared, from the network.
    if not (builder.info.splits and builder.data_path.exists()):
        prepare(wanted, make)
        builder = make()
    if not builder.info.splits:
        raise ValueError(
            _damaged(folder / name, "dataset_info.json is missing or names no split")
        )
    return builder, keys


def _splits(name: str, known: list[str]) -> tuple[tuple[str, str], tuple[str, ...]]:
    """The training and test splits, and notes about them."""
    test = "test" if "test" in known or "validation" not in known else "validation"
    missing = [split for split in ("train", test) if split not in known]
    if missing:
        raise ValueError(f"{name} has no split {missing}; it has {known}.")
    if test == "test":
        return ("train", test), ()
    note = f"{name} has no split 'test'; its split {test!r} is the test split here."
    return ("train", test), (note,)


def _keys(name: str, info: Any) -> _Keys:
    """The names of the image and label features of a data set."""
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
    shape, dtype = features[image].shape, np.dtype(features[image].np_dtype)
    if shape[-1] not in _MODES or dtype != np.uint8:
        raise ValueError(
            f"{name}: images must be uint8, of 1, 3 or 4 channels; they are {dtype} "
            f"{shape}."
        )
    return _Keys(image, label, SUPERCLASS if SUPERCLASS in features else None)


def _read(
    name: str, builder: Any, splits: tuple[str, str], keys: _Keys
) -> dict[str, np.ndarray]:
    """Images, labels, superclasses and ids, split after split, in the ids' order."""
    sizes = [builder.info.splits[split].num_examples for split in splits]
    if not all(sizes):
        raise ValueError(
            f"{name}: a split has no samples: {dict(zip(splits, sizes, strict=True))}."
        )
    labels, groups = np.empty((2, sum(sizes)), np.int32)
    images, ids = None, []
    for split, size, start in zip(splits, sizes, (0, sizes[0]), strict=True):
        split_ids = []
        for row, example in enumerate(_examples(builder, split, keys.image)):
            image = example[keys.image]
            if images is None:
                images = np.empty((sum(sizes), *image.shape), image.dtype)
            if image.shape != images.shape[1:]:
                raise ValueError(
                    f"{name}: images must be of one size; of the split {split}, among "
                    f"images of {images.shape[1:]}, number {row} is {image.shape}."
                )
            images[start + row], labels[start + row] = image, example[keys.label]
            groups[start + row] = example[keys.superclass] if keys.superclass else 0
            number = example.get("id", row)
            split_ids.append(number.decode() if isinstance(number, bytes) else number)
        order, part = (
            np.argsort(np.array(split_ids), kind="stable"),
            slice(start, start + size),
        )
        _permute(images[part], order)
        labels[part], groups[part] = labels[part][order], groups[part][order]
        ids += [f"{split}/{split_ids[row]}" for row in order]
    return {
        "images": images,
        "labels": labels,
        "superclasses": groups,
        "ids": np.array(ids),
    }


def _permute(rows: np.ndarray, order: np.ndarray) -> None:
    """`rows[:] = rows[order]`, holding one row beside: cycle after cycle."""
    order = order.copy()
    for start in range(len(order)):
        if order[start] == start:
            continue
        first, row = rows[start].copy(), start
        while order[row] != start:
            rows[row] = rows[order[row]]
            order[row], row = row, order[row]
        rows[row], order[row] = first, row


def _of_classes(
    name: str, labels: np.ndarray, groups: np.ndarray, class_names: list[str]
) -> np.ndarray:
    """(C,) the superclass of each class, from those of the samples."""
    of_classes = np.full(len(class_names), -1, np.int32)
    of_classes[labels] = groups
    torn = np.unique(labels[of_classes[labels] != groups])
    if torn.size:
        raise ValueError(
            f"{name}: each class must lie in one superclass; "
            f"{[class_names[label] for label in torn[:10]]} lie in several."
        )
    return of_classes


def _examples(builder: Any, split: str, image: str) -> Iterator[dict[str, Any]]:
    """The decoded examples of a split, in written order.

    The images are decoded here: TFDS takes twice the time, and OpenCV where it is
    installed, which does not give the same pixels of a JPEG.
    """
    import tensorflow_datasets as tfds

    folder = Path(builder.data_path)
    mode = _MODES[builder.info.features[image].shape[-1]]
    with _readable(folder):
        source = builder.as_data_source(
            split, decoders={image: tfds.decode.SkipDecoding()}
        )
        if len(source) != builder.info.splits[split].num_examples:
            raise ValueError(f"the split {split} has {len(source)} records")
    for start in range(0, len(source), _RECORDS_AT_ONCE):
        rows = range(start, min(start + _RECORDS_AT_ONCE, len(source)))
        with _readable(folder), quiet():
            examples = source.__getitems__(rows)
            pixels = [_pixels(example[image], mode) for example in examples]
        for example, decoded in zip(examples, pixels, strict=True):
            yield example | {image: decoded}


def _pixels(content: bytes, mode: str) -> np.ndarray:
    """(height, width, channels), uint8, of an encoded image."""
    from PIL import Image

    image = Image.open(io.BytesIO(content))
    pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    return pixels[..., None] if pixels.ndim == 2 else pixels


@contextlib.contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Turn any error into one about a damaged folder.

    It says what to do. Only calls of TFDS belong in here. What they raise over a
    damaged file is of many kinds (RuntimeError, KeyError, AssertionError, protobuf's,
    pillow's), hence all. Flipped and missing bytes are found out: the format keeps
    hashes of its blocks.
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
