"""A data set: uint8 images, labels, ids and a fixed split.

It is on the host.
"""

from typing import NamedTuple

import numpy as np


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
        ids: (N,), unique strings, "train/123": the split, as the source calls it, and
            the sample's number in the full set it comes from (or the id that the source
            gives it).
        test: (N,), boolean: the sample is of the test split.
        class_names: C names.
        superclasses: (C,), int32: the superclass of each class, where there are any.
        superclass_names: their names.
        notes: sentences that who reads a result must know, such as that the test split
            is the source's validation split.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    test: np.ndarray
    class_names: tuple[str, ...]
    superclasses: np.ndarray | None = None
    superclass_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

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


def with_first(dataset: Dataset, num_training: int) -> Dataset:
    """The data set with only the first training samples.

    All test samples stay.

    Raises:
        ValueError: if there are not so many, or a class has none among them.
    """
    there = int(np.sum(~dataset.test))
    if not 1 <= num_training <= there:
        raise ValueError(
            f"{dataset.name} has {there} training samples; got {num_training} to keep."
        )
    kept = dataset.test | (np.arange(dataset.test.size) < num_training)
    fewer = dataset._replace(
        images=dataset.images[kept],
        labels=dataset.labels[kept],
        ids=dataset.ids[kept],
        test=dataset.test[kept],
        notes=(*dataset.notes, f"Only the first {num_training} training samples."),
    )
    check(fewer)
    return fewer


def check(dataset: Dataset) -> None:
    """Raise ValueError unless every promise of `Dataset` holds.

    And unless each class has a sample in both splits, which all experiments need.
    """
    name, images, labels, ids, test, class_names = dataset[:6]
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
    _check_superclasses(dataset)


def _check_superclasses(dataset: Dataset) -> None:
    """Check for no superclasses, or one per class, none empty."""
    name, names = dataset.name, dataset.superclass_names
    num_classes, groups = len(dataset.class_names), dataset.superclasses
    if groups is None:
        if names:
            raise ValueError(
                f"{name}: there are {len(names)} superclass names, but no superclasses."
            )
        return
    if groups.dtype != np.int32 or groups.shape != (num_classes,):
        raise ValueError(
            f"{name}: superclasses must be int32 ({num_classes},), one a class; got "
            f"{groups.dtype} {groups.shape}."
        )
    # Sorted and without repeats, hence equal where all are used and none is beyond.
    if np.unique(groups).tolist() != list(range(len(names))):
        raise ValueError(
            f"{name}: superclasses must be all of 0..{len(names) - 1}, there being "
            f"{len(names)} superclass names; got {np.unique(groups)[:20].tolist()}."
        )
