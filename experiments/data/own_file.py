"""A data set of one's own: an .npz with images and labels."""

import zipfile
from pathlib import Path

import numpy as np

from experiments.data.dataset import Dataset

KNOWN = ("images", "labels", "test", "class_names")
TEST_SHARE = 0.2  # of each class, where the file says nothing


def read(path: str | Path) -> Dataset:
    """The data set in a file.

    Args:
        path: an .npz of arrays: `images` (N, height, width) or (N, height, width, 1 or
            3), uint8; `labels` (N,), integers from 0 on; if there is a split, `test`
            (N,), boolean; if the classes have names, `class_names` (C,). Without
            `test`, a fifth of each class is the test split, always the same.

    Returns:
        A `Dataset` named after the file, the training samples first. Ids are the split
        and the number of the sample in the file.

    Raises:
        ValueError: if the file is not there, is no .npz, lacks an array, or has one of
            another kind.
    """
    file = Path(path).expanduser()
    arrays = _arrays(file)
    images, labels = _images(file, arrays["images"]), arrays["labels"]
    _of_samples(file, "labels", labels, len(images), np.integer)
    _check_numbers(file, labels)
    num_classes = int(labels.max(initial=0)) + 1
    names = arrays.get("class_names", np.arange(num_classes)).astype(str)
    notes = ()
    if "test" in arrays:
        test = arrays["test"]
        _of_samples(file, "test", test, len(images), np.bool_)
    else:
        test = _a_part(labels)
        notes = ("The file has no test split: a fifth of each class was drawn.",)
    order = np.argsort(test, kind="stable")  # the training samples first
    splits = np.where(test, "test", "train")
    return Dataset(
        name=file.stem,
        images=images[order],
        labels=labels[order].astype(np.int32),
        ids=np.array([f"{splits[i]}/{i}" for i in order]),
        test=test[order],
        class_names=tuple(names.tolist()),
        notes=notes,
    )


def _arrays(file: Path) -> dict[str, np.ndarray]:
    """The arrays of a file that are looked at."""
    if not file.is_file():
        raise ValueError(f"there is no file {file}.")
    try:
        with np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files if name in KNOWN}
            names = archive.files
    except (ValueError, OSError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{file} is no .npz of plain arrays ({error}).") from error
    missing = [name for name in ("images", "labels") if name not in arrays]
    if missing:
        there = ", ".join(names) or "none"
        raise ValueError(f"{file} lacks {' and '.join(missing)}; it has {there}.")
    return arrays


def _images(file: Path, images: np.ndarray) -> np.ndarray:
    """(N, height, width, 1 or 3), uint8."""
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(
            f"{file}: images must be uint8 (N, height, width) or (N, height, width, 1 "
            f"or 3); got {images.dtype} {images.shape}."
        )
    return images


def _of_samples(
    file: Path, name: str, array: np.ndarray, size: int, kind: type
) -> None:
    """Raise ValueError unless the array has one value per image."""
    if array.shape != (size,) or not np.issubdtype(array.dtype, kind):
        what = {np.integer: "integers", np.bool_: "boolean"}[kind]
        raise ValueError(
            f"{file}: {name} must be {what} ({size},), one for each image; got "
            f"{array.dtype} {array.shape}."
        )


def _check_numbers(file: Path, labels: np.ndarray) -> None:
    """Raise ValueError unless the labels are 0..C-1, each at least once."""
    if labels.size and labels.min() < 0:
        raise ValueError(f"{file}: labels must be 0 or more; got {labels.min()}.")
    present = np.unique(labels)
    gaps = np.flatnonzero(present != np.arange(present.size))
    if gaps.size:
        from_one = " Subtract 1 if you count from 1." if gaps[0] == 0 else ""
        raise ValueError(
            f"{file}: labels must be 0..C-1 without gaps; {gaps[0]} does not occur. "
            f"There are {present.size} different labels, {present[0]} to "
            f"{present[-1]}: number them 0..{present.size - 1}.{from_one}"
        )


def _a_part(labels: np.ndarray) -> np.ndarray:
    """(N,), a random fifth of each class, at least one sample."""
    test, rng = np.zeros(labels.size, bool), np.random.default_rng(0)
    for label in np.unique(labels):
        mine = rng.permutation(np.flatnonzero(labels == label))
        test[mine[: max(1, round(TEST_SHARE * mine.size))]] = True
    return test
