"""scikit-learn's digits as a TFDS builder: 1,797 images of 8x8x1.

They are of ten classes. Imported only when the set is asked for, since TFDS takes its
time to import.

Pixels. The source counts the dark points of a 4x4 block, 0..16; here 0..255, as
`round(v * 255 / 16)`, which keeps the seventeen values apart.

Split. The source has none. Of each class, the first two thirds of its samples in the
order of the file, rounded down, are the training split, the rest the test split: 1,195
and 602 samples. Nothing is drawn, so the split is the same everywhere.

Source: `sklearn.datasets.load_digits`, the test set of "Optical Recognition of
Handwritten Digits", Alpaydin and Kaynak (1998), UCI, CC BY 4.0.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image


class Digits(tfds.core.GeneratorBasedBuilder):
    """The digits as records of image, label and id.

    The id is the row number in the source.
    """

    # Raise it when anything below changes what is written: a cache of an older version
    # is then no longer read.
    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(shape=(8, 8, 1), encoding_format="png"),
            "label": tfds.features.ClassLabel(
                names=[str(digit) for digit in range(10)]
            ),
            "id": tfds.features.Scalar(np.int64),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description="scikit-learn's digits, pixels in 0..255, split by class.",
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
            license="CC BY 4.0",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        from sklearn.datasets import load_digits

        source = load_digits()
        images = np.rint(source.images * (255 / 16)).astype(np.uint8)
        train = first_two_thirds(source.target)
        return {
            "train": self._generate_examples(
                images, source.target, np.flatnonzero(train)
            ),
            "test": self._generate_examples(
                images, source.target, np.flatnonzero(~train)
            ),
        }

    def _generate_examples(
        self, images: np.ndarray, labels: np.ndarray, rows: np.ndarray
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        # A PIL image is written as PNG; an array there would need TensorFlow.
        for row in rows.tolist():
            image = Image.fromarray(images[row])
            yield row, {"image": image, "label": int(labels[row]), "id": row}


def first_two_thirds(labels: np.ndarray) -> np.ndarray:
    """(N,) boolean: the first two thirds of each class's samples, rounded down."""
    first = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        first[rows[: 2 * len(rows) // 3]] = True
    return first
