"""Data of the page's interactive view: points, images, charts."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from experiments.data.dataset import Dataset
from experiments.paper.plots import figures
from experiments.paper.plots.planes import PROJECTIONS, planes
from experiments.plots.styles import look

_LARGEST_IMAGE = 32  # pixels on a side
_LARGEST_SHEET = 2**20  # bytes, without loss; beyond, with some


class Cell(NamedTuple):
    """One cell of a run, of one seed, as it is shown.

    Attributes:
        name: scenario and setting, "A S4_N2".
        title: in words.
        arrays: from `figures.with_tsne`.
        sample: (T,), which sample of the data set each of their rows is of.
        presence: (M, T), in which charts' tasks it is.
        pictures: files, by what is in them.
    """

    name: str
    title: str
    arrays: Mapping[str, np.ndarray]
    sample: np.ndarray
    presence: np.ndarray
    pictures: Mapping[str, Path]


def points(cells: Sequence[Cell], dataset: Dataset) -> tuple[dict[str, Any], bytes]:
    """The points of all cells as plain data, with images.

    Of each cell those samples are shown of which there is a t-SNE.

    Args:
        cells: one or more.
        dataset: of which the samples are.

    Returns:
        What is to be JSON, and a sheet of images, a WebP.

    Raises:
        ValueError: if a cell's arrays, samples and charts do not belong together.
    """
    for cell in cells:
        _check(cell, dataset)
    shown = [_shown(cell, dataset) for cell in cells]
    samples = np.unique(
        np.concatenate([c.sample[s] for c, s in zip(cells, shown, strict=True)])
    )
    sheet, size = sprites(dataset.images[samples])
    num_looks = max(len(dataset.class_names), len(dataset.superclass_names), 2)
    looks = [look(c) for c in range(num_looks)]
    groups = dataset.superclasses
    data = {
        "classes": list(dataset.class_names),
        "superclasses": list(dataset.superclass_names),
        "groups": [] if groups is None else groups.tolist(),
        "looks": [[a.color, a.symbol] for a in looks],
        "spaces": figures.DRAWN,
        "projections": PROJECTIONS,
        "sheet": size,
        "labels": dataset.labels[samples].tolist(),
        "ids": [str(name) for name in dataset.ids[samples]],
        "cells": [
            _cell(cell, rows, samples, dataset)
            for cell, rows in zip(cells, shown, strict=True)
        ],
    }
    return data, sheet


def sprites(images: np.ndarray) -> tuple[bytes, dict[str, int]]:
    """All images on one sheet, each at most 32 pixels wide.

    They are in order, row by row.

    Args:
        images: (S, height, width, channels), uint8.

    Returns:
        A WebP, and its columns and the size of an image on it.
    """
    height, width = images.shape[1:3]
    scale = min(1.0, _LARGEST_IMAGE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    columns = math.ceil(math.sqrt(len(images)))
    mode, channels = ("RGB", 3) if images.shape[3] >= 3 else ("L", 1)
    rows = math.ceil(len(images) / columns)
    sheet = Image.new(mode, (columns * size[0], rows * size[1]))
    for place, image in enumerate(images):
        pixels = image[..., :channels].squeeze(axis=-1 if channels == 1 else ())
        at = place % columns * size[0], place // columns * size[1]
        sheet.paste(Image.fromarray(pixels).resize(size), at)
    whole = encoded(sheet, lossless=True)
    if len(whole) > _LARGEST_SHEET:
        whole = encoded(sheet, quality=80)
    return whole, {"columns": columns, "width": size[0], "height": size[1]}


def encoded(image: Image.Image, **options: Any) -> bytes:
    """The image as a WebP."""
    stream = io.BytesIO()
    image.save(stream, "WEBP", **options)
    return stream.getvalue()


def _check(cell: Cell, dataset: Dataset) -> None:
    labels = cell.arrays["labels"]
    lengths = [len(labels), len(cell.sample), cell.presence.shape[-1]]
    if len(set(lengths)) > 1:
        raise ValueError(
            f"{cell.name}: arrays, sample and presence must be of the same samples; "
            f"got {lengths} of them."
        )
    if not np.array_equal(labels, dataset.labels[cell.sample]):
        raise ValueError(
            f"{cell.name}: the labels are not those of these samples of "
            f"{dataset.name}; give the data set that the run was made on."
        )


def _shown(cell: Cell, dataset: Dataset) -> np.ndarray:
    """The rows that have coordinates in every space, t-SNE included."""
    missing = [n for n in figures.DRAWN if f"tsne/{n}" not in cell.arrays]
    if missing:
        raise ValueError(
            f"{cell.name}: there is no t-SNE of {missing}; add it by `with_tsne`."
        )
    kept = figures.samples_of(cell.arrays, dataset.class_names).rows
    points = cell.arrays[f"tsne/{next(iter(figures.DRAWN))}"][kept]
    return kept[np.isfinite(points).all(axis=1)]


def _cell(
    cell: Cell, shown: np.ndarray, samples: np.ndarray, dataset: Dataset
) -> dict[str, Any]:
    kept = figures.samples_of(cell.arrays, dataset.class_names)
    among = np.searchsorted(kept.rows, shown)
    flat = {
        name: {
            space: {"points": plane.points[among], "axes": plane.axes}
            for space, plane in planes(kept.spaces, name).items()
        }
        for name in ("own", "shared")
    }
    flat["tsne"] = {
        space: {
            "points": cell.arrays[f"tsne/{space}"][shown],
            "axes": ("t-SNE 1", "t-SNE 2"),
        }
        for space in figures.DRAWN
    }
    return {
        "name": cell.name,
        "title": cell.title,
        "charts": len(cell.presence),
        "samples": np.searchsorted(samples, cell.sample[shown]).tolist(),
        "presence": [
            "".join(map(str, p)) for p in cell.presence[:, shown].T.astype(int)
        ],
        "planes": {
            name: {
                space: {
                    "x": _rounded(of["points"][:, 0]),
                    "y": _rounded(of["points"][:, 1]),
                    "axes": list(of["axes"]),
                }
                for space, of in spaces.items()
            }
            for name, spaces in flat.items()
        },
    }


def _rounded(values: np.ndarray) -> list[float]:
    """To four digits, which is finer than a pixel."""
    return [float(f"{value:.4g}") for value in values]
