"""Encoders whose latent spaces can be merged: a chart as pure functions, and models."""

from jatlas.charts.augment import flip_and_crop
from jatlas.charts.chart import Chart, ChartState, from_module, with_preprocessing
from jatlas.charts.cnn import CNN
from jatlas.charts.efficientnet import EfficientNetLite, tensor_shapes
from jatlas.charts.projector import Projector
from jatlas.charts.resnet import ResNet20

__all__ = [
    "CNN",
    "Chart",
    "ChartState",
    "EfficientNetLite",
    "Projector",
    "ResNet20",
    "flip_and_crop",
    "from_module",
    "tensor_shapes",
    "with_preprocessing",
]
