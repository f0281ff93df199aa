"""Encoders whose spaces can be merged: charts, their models and their training.

Most of this page is what the models inherit from Flax. What you call:

- `from_module` makes a `Chart` of a Flax module, `with_preprocessing` one of bytes.
- `fit_charts` trains one a task, and gives `Charts`; it reports `Progress`.
- `embed` gives the embeddings of images by trained charts.
- `adam` and `sgd_cosine` are the paper's optimizers, `flip_and_crop` an augmentation.
- `CNN`, `ResNet20`, `EfficientNetLite` and `Projector` are models for `from_module`.
- `ChartState` is what a chart holds.

`help(jatlas.charts.fit_charts)` has the whole of one.
"""

from jatlas.charts.augment import flip_and_crop
from jatlas.charts.chart import Chart, ChartState, from_module, with_preprocessing
from jatlas.charts.cnn import CNN
from jatlas.charts.efficientnet import EfficientNetLite
from jatlas.charts.embedding import Charts, embed
from jatlas.charts.optimizers import adam, sgd_cosine
from jatlas.charts.projector import Projector
from jatlas.charts.resnet import ResNet20
from jatlas.charts.training import Progress, fit_charts

__all__ = [
    "CNN",
    "Chart",
    "ChartState",
    "Charts",
    "EfficientNetLite",
    "Progress",
    "Projector",
    "ResNet20",
    "adam",
    "embed",
    "fit_charts",
    "flip_and_crop",
    "from_module",
    "sgd_cosine",
    "with_preprocessing",
]
