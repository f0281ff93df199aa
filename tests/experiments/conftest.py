"""A run so small that it takes seconds: what the tests of the main job share."""

import os
from functools import partial

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from experiments.data.catalog import normalize
from experiments.data.dataset import Dataset
from experiments.runs import terminal
from jatlas.charts import CNN, Chart, from_module, with_preprocessing

WIDTH = 10
# They train the same charts and measure the same spaces. What is compiled is used once
# or twice, on tiny arrays, and only what it gives matters here.
ALIKE = (
    "test_metrics", "test_paper_experiment", "test_paper_measure", "test_benches",
    "test_anchors_experiment", "test_blind_present", "test_blind_scores",
    "test_blind_spaces", "test_blind_trust", "test_few_labels_experiment",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def programs(request, tmp_path_factory):
    """What is compiled for one of these files is read by the next, in any process."""
    if request.module.__name__.rpartition(".")[2] not in ALIKE:
        yield
        return
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # that of all processes
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(folder / "programs"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    jax.config.update("jax_disable_most_optimizations", True)
    compilation_cache.reset_cache()
    yield
    jax.config.update("jax_disable_most_optimizations", False)
    jax.config.update("jax_compilation_cache_dir", before)
    compilation_cache.reset_cache()


@pytest.fixture(scope="session", autouse=True)
def no_lines_between():
    """On a busy machine a run would say in between that it is at work."""
    before, terminal.PAUSE = terminal.PAUSE, 3600.0
    yield
    terminal.PAUSE = before


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
    return with_preprocessing(cnn, normalize)
