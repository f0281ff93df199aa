"""Image data sets by name: uint8 images, labels, ids and a fixed split, on the host.

`load(name)` gives any of `DATASETS`. A new set is one function and one line there;
sets of TensorFlow Datasets come through `experiments.prepared`.
"""

from collections.abc import Callable
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.prepared import Rows, read

# Of the training images, with pixels in 0..1; the customary three digits.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


class Samples(NamedTuple):
    """The samples of one split.

    Attributes:
        images: (N, height, width, channels), uint8.
        labels: (N,), int32, in 0..C-1.
        class_names: C names.
        ids: (N,), strings.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    ids: np.ndarray


class Dataset(NamedTuple):
    """An image classification data set, all of it in memory.

    Attributes:
        name: as given to `load`.
        images: (N, height, width, channels), uint8; the training samples stand first.
        labels: (N,), int32, in 0..C-1.
        ids: (N,), unique strings, "train/123": the split, and the sample's number in
            the full set it comes from (or the id that the source gives it).
        test: (N,), boolean: the sample is of the test split.
        class_names: C names.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    test: np.ndarray
    class_names: tuple[str, ...]

    def split(self, name: str) -> Samples:
        """The samples of "train" or of "test", as views: nothing is copied."""
        num_train = int(np.sum(~self.test))
        slices = {"train": slice(num_train), "test": slice(num_train, None)}
        if name not in slices:
            raise ValueError(f"unknown split {name!r}; known are 'train' and 'test'.")
        rows = slices[name]
        return Samples(
            self.images[rows], self.labels[rows], self.class_names, self.ids[rows]
        )


def load(name: str, *, cache_dir: str | PathLike | None = None) -> Dataset:
    """The data set of this name, checked.

    Args:
        name: one of `DATASETS`.
        cache_dir: where sets that must be prepared are kept; `datasets` in the user's
            cache folder of jatlas if None. "fashion_mnist_7k" needs none.

    Returns:
        A `Dataset`.

    Raises:
        ValueError: if the name is unknown, the cache is damaged (the message names the
            folder to delete), or the data are not what `check` asks for.
        OSError: if the cache folder cannot be written.
    """
    if name not in DATASETS:
        known = ", ".join(repr(known) for known in sorted(DATASETS))
        raise ValueError(f"unknown data set {name!r}; known are {known}.")
    dataset = DATASETS[name](_cache_folder(cache_dir))
    check(dataset)
    return dataset


def fashion_mnist_7k(cache_folder: Path) -> Dataset:
    """400 training and 300 test images of each class of Fashion-MNIST, 28x28x1.

    They ship with the code; `fashion_mnist_7k/README.md` says where they come from.
    """
    del cache_folder
    file = resources.files("experiments") / "fashion_mnist_7k/fashion_mnist_7k.npz"
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        splits = {
            split: Rows(
                arrays[f"{split}_images"][..., None],
                arrays[f"{split}_labels"],
                arrays[f"{split}_index"],
            )
            for split in ("train", "test")
        }
    return _join("fashion_mnist_7k", splits, FASHION_CLASSES)


def digits(cache_folder: Path) -> Dataset:
    """scikit-learn's digits, 8x8x1, by the TFDS builder of `experiments.digits`."""
    from experiments.digits import Digits

    return _join("digits", *read("digits", Digits, cache_folder))


DATASETS: dict[str, Callable[[Path], Dataset]] = {
    "fashion_mnist_7k": fashion_mnist_7k,
    "digits": digits,
}


def check(dataset: Dataset) -> None:
    """Raise ValueError unless every promise of `Dataset` holds.

    And unless each class has a sample in both splits, which all experiments need.
    """
    name, images, labels, ids, test, class_names = dataset
    if images.dtype != np.uint8 or images.ndim != 4:
        raise ValueError(
            f"{name}: images must be uint8 (N, height, width, channels); got "
            f"{images.dtype} {images.shape}."
        )
    lengths = [len(array) for array in (images, labels, ids, test)]
    if len(set(lengths)) > 1:
        raise ValueError(
            f"{name}: images, labels, ids and test differ in length: {lengths}."
        )
    if np.any(test[:-1] & ~test[1:]):
        raise ValueError(
            f"{name}: the training samples must stand before the test ones."
        )
    values, counts = np.unique(ids, return_counts=True)
    if np.any(counts > 1):
        raise ValueError(
            f"{name}: ids must be unique; {np.sum(counts > 1)} of {len(values)} are "
            f"repeated, {values[counts > 1][:5].tolist()} among them."
        )
    bad = np.unique(labels[(labels < 0) | (labels >= len(class_names))])
    if bad.size:
        raise ValueError(
            f"{name}: labels must lie in 0..{len(class_names) - 1}, there being "
            f"{len(class_names)} class names; got {bad[:10].tolist()}."
        )
    for split, rows in (("training", ~test), ("test", test)):
        sizes = np.bincount(labels[rows], minlength=len(class_names))
        if np.any(sizes == 0):
            raise ValueError(
                f"{name}: classes {np.flatnonzero(sizes == 0)[:10].tolist()} have none "
                f"of the {sizes.sum()} samples of the {split} split; each class needs "
                "one in both splits."
            )


def normalise(images: np.ndarray) -> np.ndarray:
    """(x / 255 - mean) / std, with ImageNet's mean and standard deviation by channel.

    Images of one channel take the mean over the three channels of both: .449 and .226.

    Args:
        images: (N, height, width, 1 or 3), uint8, of NumPy or of JAX.

    Returns:
        An array of the same shape and kind, float32.

    Raises:
        ValueError: if the images are not these.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(
            "images must be uint8 (N, height, width, channels) of 1 or 3 channels; got "
            f"{images.dtype} {images.shape}."
        )
    mean, std = np.array(IMAGENET_MEAN, np.float32), np.array(IMAGENET_STD, np.float32)
    if images.shape[-1] == 1:
        mean, std = mean.mean(keepdims=True), std.mean(keepdims=True)
    return (images.astype(np.float32) / 255 - mean) / std


def _cache_folder(cache_dir: str | PathLike | None) -> Path:
    if cache_dir is not None:
        return Path(cache_dir).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("jatlas") / "datasets"


def _join(name: str, splits: dict[str, Rows], class_names: tuple[str, ...]) -> Dataset:
    """One `Dataset` of the splits "train" and "test"."""
    train, test = splits["train"], splits["test"]
    if train.images.shape[1:] != test.images.shape[1:]:
        raise ValueError(
            f"{name}: training images are {train.images.shape[1:]}, test images "
            f"{test.images.shape[1:]}; they must be of one size."
        )
    return Dataset(
        name=name,
        images=np.concatenate([train.images, test.images]),
        labels=np.concatenate([train.labels, test.labels]).astype(np.int32),
        ids=np.array([f"{split}/{i}" for split in splits for i in splits[split].ids]),
        test=np.repeat([False, True], [len(train.labels), len(test.labels)]),
        class_names=class_names,
    )
