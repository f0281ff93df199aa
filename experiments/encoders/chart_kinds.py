"""The kinds of charts: encoders, inputs, and training."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import optax

import jatlas
from experiments.data.catalog import normalize
from experiments.data.dataset import Dataset
from experiments.encoders import plugins
from jatlas.charts import Chart
from jatlas.charts.learning import Augment

# Sets whose pictures are as good mirrored and shifted, and large enough to gain by it.
_AUGMENTED = ("cifar10", "cifar100", "tiny_imagenet")


class Kind(NamedTuple):
    """A kind of chart.

    Attributes:
        title: in words.
        epochs: the most epochs by default.
        make: (shape of an input, C) to the chart.
        optimizer: the number of steps of all epochs to the optimizer.
        variant: of the frozen encoder whose features the chart looks at; None if it
            looks at the images.
    """

    title: str
    epochs: int
    make: Callable[[tuple[int, ...], int], Chart]
    optimizer: Callable[[int], optax.GradientTransformation]
    variant: int | None = None


class Encoder(NamedTuple):
    """A kind of chart on one data set.

    Attributes:
        kind: the kind.
        inputs: (N, ...), what the charts look at.
        chart: the architecture.
        augment: what training images go through, if anything.
        batch_size: samples a step; 100 is the paper's.
        max_epochs: what a chart of one's own says of it, if anything.
    """

    kind: Kind
    inputs: np.ndarray
    chart: Chart
    augment: Augment | None
    batch_size: int = 100
    max_epochs: int | None = None


def _adam(num_steps: int) -> optax.GradientTransformation:
    del num_steps
    return jatlas.charts.adam()


def _of_images(module: Callable) -> Callable[[tuple[int, ...], int], Chart]:
    """Keep images as bytes; the compiled program converts each batch."""

    def make(image_shape: tuple[int, ...], num_classes: int) -> Chart:
        chart = jatlas.charts.from_module(partial(module, image_shape, num_classes))
        return jatlas.charts.with_preprocessing(chart, normalize)

    return make


def _of_features(shape: tuple[int, ...], num_classes: int) -> Chart:
    return jatlas.charts.from_module(
        partial(jatlas.charts.Projector, *shape, num_classes)
    )


def _frozen(variant: int) -> Kind:
    title = f"EfficientNet-Lite{variant} of ImageNet, frozen, and a projector"
    return Kind(title, 20, _of_features, _adam, variant)


KINDS = {
    "cnn": Kind("vanilla CNN", 6, _of_images(jatlas.charts.CNN), _adam),
    "resnet": Kind(
        "ResNet-20", 30, _of_images(jatlas.charts.ResNet20), jatlas.charts.sgd_cosine
    ),
    **{f"efficientnet-lite{k}": _frozen(k) for k in (0, 1, 2)},
}


def kind(name: str) -> Kind:
    """The kind of this name, or one's own of MODULE:FUNCTION.

    Raises:
        KeyError: if it is neither.
    """
    if not plugins.is_plugin(name):
        return KINDS[name]

    def make(shape: tuple[int, ...], num_classes: int) -> Chart:
        return plugins.trainable(name, shape, num_classes).chart

    return Kind(f"chart of your own, {name}", 6, make, _adam)


def asked_epochs(name: str, dataset: Dataset) -> int | None:
    """The most epochs that one's own chart asks for, if any.

    Raises:
        ValueError: if it is none.
    """
    if not plugins.is_plugin(name):
        return None
    return plugins.returned(name, *_sizes(dataset)).max_epochs


def notes(name: str, dataset: Dataset) -> list[str]:
    """What who reads the results must know of a kind.

    Raises:
        ValueError: if it is a chart of one's own, and none.
    """
    if not plugins.is_plugin(name):
        return []
    shape, num_classes = _sizes(dataset)
    chart = plugins.returned(name, shape, num_classes).chart
    if chart.takes_integers:
        how = "as uint8, 0 to 255, without any scaling: its own preprocessing does that"
    else:
        how = (
            "as float32, (x / 255 - mean) / std with ImageNet's mean and standard "
            "deviation of each channel"
        )
    return [f"{name} gets images (B, {', '.join(map(str, shape))}) {how}."]


def _sizes(dataset: Dataset) -> tuple[tuple[int, ...], int]:
    """The shape of an image, and the number of classes."""
    return dataset.images.shape[1:], len(dataset.class_names)


def prepare(
    name: str,
    dataset: Dataset,
    *,
    feature_size: int,
    cache_dir: Path | None,
    report: Callable[[str, float], None],
) -> Encoder:
    """Prepare a kind of chart on a data set.

    Features of a frozen encoder are computed or read.

    Raises:
        ValueError: if the images are too small for it, the encoder's weights are not
            those they should be, or a chart of one's own is none.
        OSError: if its weights are not there.
    """
    if plugins.is_plugin(name):
        return _of_plugin(name, dataset)
    of_name = kind(name)
    inputs = dataset.images
    if of_name.variant is not None:
        from experiments.encoders.features import frozen_features

        inputs = frozen_features(
            inputs,
            variant=of_name.variant,
            size=feature_size,
            cache_dir=None if cache_dir is None else cache_dir / "features",
            report=lambda share: report(f"features of {name}", share),
        )
    chart = of_name.make(inputs.shape[1:], len(dataset.class_names))
    augmented = of_name.variant is None and dataset.name in _AUGMENTED
    return Encoder(
        of_name, inputs, chart, jatlas.charts.flip_and_crop if augmented else None
    )


def _of_plugin(name: str, dataset: Dataset) -> Encoder:
    """A chart of one's own on a data set, and its training."""
    made = plugins.trainable(name, *_sizes(dataset))
    of_name, optimizer = kind(name), made.optimizer
    if isinstance(optimizer, optax.GradientTransformation):
        of_name = of_name._replace(optimizer=lambda num_steps: optimizer)
    elif optimizer is not None:
        # One object for a number of steps: another would be compiled anew.
        of_name = of_name._replace(optimizer=cache(optimizer))
    return Encoder(
        of_name,
        dataset.images,
        made.chart,
        made.augment,
        made.batch_size,
        made.max_epochs,
    )


def chart(name: str, dataset: Dataset) -> Chart:
    """A chart of a kind for a data set, from shapes alone."""
    kind = KINDS[name]
    shape = dataset.images.shape[1:]
    if kind.variant is not None:
        from experiments.encoders.features import NUM_FEATURES

        shape = (NUM_FEATURES,)
    return kind.make(shape, len(dataset.class_names))
