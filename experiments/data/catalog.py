"""Image data sets by name, through `load(name)`.

It gives one of `DATASETS`, or any that TFDS has. A new set is one function and one line
in `DATASETS`; sets of TensorFlow Datasets, and those with a builder of ours, come
through `experiments.data.tfds_reader`.
"""

import difflib
import re
from collections.abc import Callable
from functools import partial
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.data import own_file
from experiments.data.dataset import Dataset, Samples, check
from experiments.data.tfds_reader import read

__all__ = ["DATASETS", "Dataset", "Folders", "Samples", "check", "load", "normalize"]

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


class Folders(NamedTuple):
    """Where the data lie.

    Attributes:
        cache: sets that had to be prepared are kept here.
        manual: files that the user has downloaded, if any.
    """

    cache: Path
    manual: Path | None = None


def load(
    name: str,
    *,
    cache_dir: str | PathLike | None = None,
    manual_dir: str | PathLike | None = None,
) -> Dataset:
    """The data set of this name, checked.

    Args:
        name: one of `DATASETS`, or the name of an image classification set of
            TensorFlow Datasets, such as "cifar100" or "imagenette/160px-v2". Those are
            downloaded and prepared on first use, which needs the extra `prepare`;
            afterwards they are read from the cache. Or a file of one's own, an .npz as
            `own_file.read` takes.
        cache_dir: where sets that must be prepared are kept; `datasets` in the user's
            cache folder of jatlas if None. "fashion_mnist_7k" needs none.
        manual_dir: a folder with files that would otherwise be downloaded. They are
            taken if their checksums are those that TFDS expects. Looked into only when
            a set is prepared.

    Returns:
        A `Dataset`.

    Raises:
        ValueError: if the name is unknown, the set is none of images with class labels,
            the files that it is made from are missing (the message says which, and
            where to put them) or others than expected, the cache is damaged (the
            message names the folder to delete), or the data are not what `check`
            asks for.
        OSError: if the cache folder cannot be written.

    Example:
        >>> load("fashion_mnist_7k").images.shape
        (7000, 28, 28, 1)
    """
    if name.endswith(".npz"):
        dataset = own_file.read(name)
        check(dataset)
        return dataset
    make = DATASETS.get(name) or _of_tfds(name)
    manual = None if manual_dir is None else Path(manual_dir).expanduser()
    if manual is not None and not manual.is_dir():
        raise ValueError(f"the manual_dir {manual} is not a folder.")
    dataset = make(Folders(_cache_folder(cache_dir), manual))
    check(dataset)
    return dataset


def fashion_mnist_7k(folders: Folders) -> Dataset:
    """400 training and 300 test images of each class of Fashion-MNIST, 28x28x1.

    They ship with the code; `fashion_mnist_7k/README.md` says where they come from.
    """
    del folders
    splits = ("train", "test")
    file = resources.files("experiments.data") / "fashion_mnist_7k/fashion_mnist_7k.npz"
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        images, labels, rows = (
            [arrays[f"{split}_{kind}"] for split in splits]
            for kind in ("images", "labels", "index")
        )
    return Dataset(
        name="fashion_mnist_7k",
        images=np.concatenate(images)[..., None],
        labels=np.concatenate(labels).astype(np.int32),
        ids=np.array(
            [f"{s}/{i}" for s, r in zip(splits, rows, strict=True) for i in r]
        ),
        test=np.repeat([False, True], [len(of_split) for of_split in labels]),
        class_names=FASHION_CLASSES,
    )


def digits(folders: Folders) -> Dataset:
    """scikit-learn's digits, 8x8x1, by a TFDS builder: `experiments.data.digits`."""
    from experiments.data.digits import Digits

    return read("digits", Digits, folders.cache)


def tiny_imagenet(folders: Folders) -> Dataset:
    """200 classes of ImageNet, 64x64x3: `experiments.data.tiny_imagenet`.

    Its archive is not downloaded: it must lie in the manual folder.
    """
    from experiments.data.tiny_imagenet import TinyImagenet

    return read("tiny_imagenet", TinyImagenet, folders.cache, manual=folders.manual)


DATASETS: dict[str, Callable[[Folders], Dataset]] = {
    "fashion_mnist_7k": fashion_mnist_7k,
    "digits": digits,
    "tiny_imagenet": tiny_imagenet,
}


def _of_tfds(name: str) -> Callable[[Folders], Dataset]:
    """The function that gives the set of this name in TensorFlow Datasets."""
    import tensorflow_datasets as tfds

    names = tfds.list_builders(with_community_datasets=False)
    if re.split("[/:]", name)[0] not in names:
        known = ", ".join(repr(known) for known in sorted(DATASETS))
        close = difflib.get_close_matches(name, [*names, *DATASETS], cutoff=0.7)
        like = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise ValueError(
            f"unknown data set {name!r}; known are {known}, and the image "
            "classification sets of TensorFlow Datasets by their names there, or a "
            f"file FOLDER/MINE.npz.{like}"
        )
    make_builder = partial(tfds.builder, name)
    return lambda folders: read(
        name, make_builder, folders.cache, manual=folders.manual, tensorflow=True
    )


def normalize(images: np.ndarray) -> np.ndarray:
    """(x / 255 - mean) / std with ImageNet's statistics by channel.

    Images of one channel take the mean over the three channels of both: .449 and .226.

    Args:
        images: (N, height, width, 1 or 3), uint8, of NumPy or of JAX, where it may be
            part of a compiled function: pixels then stay uint8 until they are used.

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
