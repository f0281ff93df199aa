"""Parts of one's own: functions by MODULE:FUNCTION, found and tried out.

A module is looked for where Python looks, which for `python -m` begins with the folder
that the command is given in.
"""

import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from experiments.data.catalog import normalize
from jatlas.charts import Chart, with_preprocessing
from jatlas.charts.learning import Augment
from jatlas.merging.relative import SIMILARITIES, check_similarity_function


class Trainable(NamedTuple):
    """A chart of one's own, and how the experiments train it.

    The MODULE:FUNCTION of --charts can return one in place of a `Chart`.

    Attributes:
        chart: the architecture.
        optimizer: an optimizer of optax, or a function of the number of steps in all
            epochs that returns one; if None, `jatlas.charts.adam()`.
        max_epochs: the most epochs; --max-epochs replaces it. If None, those of `cnn`.
        batch_size: samples a step.
        augment: a function of a key and a training batch, uint8 (B, H, W, channels),
            that returns as many such images, as `jatlas.charts.flip_and_crop` does.
            The chart's preprocessing comes after it.
    """

    chart: Chart
    optimizer: (
        optax.GradientTransformation
        | Callable[[int], optax.GradientTransformation]
        | None
    ) = None
    max_epochs: int | None = None
    batch_size: int = 100
    augment: Augment | None = None


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
        names = [
            name
            for name, part in vars(module).items()
            if callable(part)
            and not isinstance(part, type)
            and name[0] != "_"
            and getattr(part, "__module__", None) == module_name
        ]
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


def trainable(name: str, shape: tuple[int, ...], num_classes: int) -> Trainable:
    """What one's own function gives, tried on shapes.

    A chart that does not take integers sees images as ours do: scaled to 0..1 and
    normalised by ImageNet's mean and standard deviation. One of `with_preprocessing`
    sees the bytes.

    Raises:
        ValueError: if it gives no chart, one that does not fit the images, or training
            settings that are none.
    """
    made = returned(name, shape, num_classes)
    call = _call(name, shape, num_classes)
    _check_training(call, made, shape)
    chart = made.chart
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
    return made._replace(chart=chart)


def returned(name: str, shape: tuple[int, ...], num_classes: int) -> Trainable:
    """What one's own function gives, before it is tried.

    Raises:
        ValueError: if the function fails, or gives neither a chart nor a `Trainable`.
    """
    make, call = function(name, "--charts"), _call(name, shape, num_classes)
    try:
        value = make(shape, num_classes)
    except Exception as error:
        raise ValueError(f"{call} fails: {_in_a_line(error)}") from error
    made = value if isinstance(value, Trainable) else Trainable(value)
    if not isinstance(made.chart, Chart):
        of = "a Trainable of " if made is value else ""
        raise ValueError(
            f"{call} returns {of}{type(made.chart).__name__}; it must return a "
            "jatlas.charts.Chart, such as `jatlas.charts.from_module` makes, or a "
            "experiments.encoders.plugins.Trainable of one."
        )
    return made


def _call(name: str, shape: tuple[int, ...], num_classes: int) -> str:
    return f"--charts {name}, called with {shape} and {num_classes},"


def _check_training(call: str, made: Trainable, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless a chart can be trained with these settings."""
    for field in ("max_epochs", "batch_size"):
        value = getattr(made, field)
        unset = value is None and field == "max_epochs"
        if not unset and (not isinstance(value, int) or value < 1):
            raise ValueError(
                f"{call} returns a Trainable whose {field} is {value!r}; it must be an "
                "integer of 1 or more."
            )
    if made.optimizer is not None:
        _check_optimizer(call, made.optimizer)
    if made.augment is None:
        return
    images = jax.ShapeDtypeStruct((2, *shape), np.uint8)
    try:
        augmented = jax.eval_shape(made.augment, jax.random.key(0), images).shape
    except Exception as error:
        raise ValueError(
            f"{call} returns a Trainable whose augment fails on images "
            f"{images.shape}, uint8: {_in_a_line(error)}"
        ) from error
    if augmented != images.shape:
        raise ValueError(
            f"{call} returns a Trainable whose augment makes {augmented} of images "
            f"{images.shape}; it must keep their shape."
        )


def _check_optimizer(call: str, optimizer: Any) -> None:
    """Raise ValueError unless it is an optimizer, or makes one."""
    is_function = callable(optimizer)
    try:
        made = optimizer(100) if is_function else optimizer
    except Exception as error:
        raise ValueError(
            f"{call} returns a Trainable whose optimizer, called with 100 steps, "
            f"fails: {_in_a_line(error)}"
        ) from error
    if not isinstance(made, optax.GradientTransformation):
        raise ValueError(
            f"{call} returns a Trainable whose optimizer "
            f"{'returns' if is_function else 'is'} a {type(made).__name__}; it must be "
            "an optimizer of optax, such as optax.adamw(1e-3), or a function of the "
            "number of steps that returns one."
        )


def _in_a_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"
