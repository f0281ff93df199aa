"""Parts of one's own: functions by MODULE:FUNCTION, found and tried out.

A module is looked for where Python looks, which for `python -m` begins with the folder
that the command is given in.
"""

import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.data.catalog import normalize
from jatlas.charts import Chart, with_preprocessing
from jatlas.merging.relative import SIMILARITIES, check_similarity_function


def is_plugin(name: str) -> bool:
    """Whether a name is of the form MODULE:FUNCTION."""
    return re.fullmatch(r"\w+(\.\w+)*:\w+", name) is not None


def function(name: str, flag: str = "--similarity") -> Callable[..., Any]:
    """The function that MODULE:FUNCTION names.

    Raises:
        ValueError: if the module cannot be imported, or has no such function.
    """
    if not is_plugin(name):
        raise ValueError(f"{flag} {name} is not of the form MODULE:FUNCTION.")
    module_name, attribute = name.split(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise ValueError(
            f"{flag} {name}: the module {module_name} cannot be imported "
            f"({_in_a_line(error)}); give one that `python -c 'import {module_name}'` "
            "finds from here."
        ) from error
    value = getattr(module, attribute, None)
    if not callable(value):
        names = [n for n, v in vars(module).items() if callable(v) and n[0] != "_"]
        raise ValueError(
            f"{flag} {name}: the module {module_name} has no function {attribute}; it "
            f"has {', '.join(names) or 'none'}."
        )
    return value


def file_of(name: str) -> Path | None:
    """The file of an imported MODULE:FUNCTION's module, if it has one."""
    module = sys.modules.get(name.split(":")[0])
    path = getattr(module, "__file__", None)
    return None if path is None else Path(path)


def check_similarity(name: str) -> None:
    """Try a similarity on two small arrays.

    Raises:
        ValueError: if there is none of this name, or it does not give (N, A).
    """
    if name in SIMILARITIES:
        return
    if not is_plugin(name):
        raise ValueError(
            f"--similarity has the unknown {name!r}; known are "
            f"{', '.join(SIMILARITIES)}, and your own by MODULE:FUNCTION."
        )
    similarity = function(name, "--similarity")
    try:
        check_similarity_function(name, similarity)
    except ValueError as error:
        raise ValueError(f"--similarity {name} fails: {error}") from error


def make_chart(name: str, shape: tuple[int, ...], num_classes: int) -> Chart:
    """The chart that one's own function gives, tried on shapes.

    A chart that does not take integers looks at images as ours do: scaled to 0..1 and
    normalised by ImageNet's mean and standard deviation.

    Raises:
        ValueError: if it gives no chart, or one that does not fit the images.
    """
    make = function(name, "--charts")
    call = f"--charts {name}, called with {shape} and {num_classes},"
    try:
        chart = make(shape, num_classes)
    except Exception as error:
        raise ValueError(f"{call} fails: {_in_a_line(error)}") from error
    if not isinstance(chart, Chart):
        raise ValueError(
            f"{call} returns {type(chart).__name__}; it must return a "
            "jatlas.charts.Chart, such as `jatlas.charts.from_module` makes."
        )
    if not chart.takes_integers:
        chart = with_preprocessing(chart, normalize)
    images = jax.ShapeDtypeStruct((2, *shape), np.uint8)
    try:
        state = jax.eval_shape(chart.init, jax.random.key(0))
        rows = jax.eval_shape(chart.embed, state, images).shape
        logits = jax.eval_shape(chart.logits, state, images).shape
    except Exception as error:
        raise ValueError(
            f"{call} makes a chart that fails on images {images.shape}: "
            f"{_in_a_line(error)}"
        ) from error
    if len(rows) != 2 or rows[0] != 2 or logits != (2, num_classes):
        raise ValueError(
            f"{call} makes a chart whose embeddings of two images are {rows} and "
            f"whose logits are {logits}; they must be (2, D) and (2, {num_classes})."
        )
    return chart


def _in_a_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"
