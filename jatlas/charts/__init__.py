"""Encoders whose latent spaces can be merged: a chart as pure functions, and models."""

from jatlas.charts.chart import Chart, ChartState, from_module
from jatlas.charts.cnn import CNN

__all__ = ["CNN", "Chart", "ChartState", "from_module"]
