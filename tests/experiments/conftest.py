"""A run so small that it takes seconds: what the tests of the main job share."""

from functools import partial

import numpy as np
import pytest

from experiments.data import normalise
from experiments.dataset import Dataset
from jatlas import CNN, Chart, from_module, with_preprocessing

WIDTH = 10


@pytest.fixture(scope="session")
def tiny() -> Dataset:
    """Noisy patterns, 8x8x1: 40 training and 20 test images of each of ten classes."""
    rng = np.random.default_rng(0)
    labels = np.concatenate([np.arange(400), np.arange(200)]) % 10
    patterns = rng.uniform(0, 255, size=(10, 8, 8, 1))
    images = patterns[labels] + rng.normal(scale=40, size=(600, 8, 8, 1))
    numbers = np.concatenate([np.arange(400), np.arange(200)])
    splits = np.repeat(["train", "test"], [400, 200])
    return Dataset(
        name="tiny",
        images=images.clip(0, 255).astype(np.uint8),
        labels=labels.astype(np.int32),
        ids=np.array([f"{s}/{i}" for s, i in zip(splits, numbers, strict=True)]),
        test=np.arange(600) >= 400,
        class_names=tuple("abcdefghij"),
    )


@pytest.fixture(scope="session")
def chart() -> Chart:
    """Narrower than the paper's, so that with as many anchors few widths compile.

    One object for all tests: another of the same architecture would compile anew.
    """
    cnn = from_module(partial(CNN, (8, 8, 1), 10, num_features=WIDTH))
    return with_preprocessing(cnn, normalise)
