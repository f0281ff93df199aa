"""The border of the library: public functions as those who call them see them.

What `jax.jit` gives is no Python function to `help`, and the annotations of arrays take
more lines than the names that they annotate. Shapes and axes are in the docstrings; the
annotations themselves stay, for type checkers.
"""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import jax

P = ParamSpec("P")
R = TypeVar("R")

# What a jitted function offers beside being called.
_METHODS = ("lower", "trace", "eval_shape", "clear_cache", "_cache_size")


def short(function: Callable[P, R]) -> Callable[P, R]:
    """The function itself; its signature shows names and defaults only.

    >>> @short
    ... def scaled(x: jax.Array, *, factor: float | jax.Array = 2.0) -> jax.Array:
    ...     return x * factor
    >>> inspect.signature(scaled)
    <Signature (x, *, factor=2.0)>
    """
    whole = inspect.signature(function)
    names = [
        parameter.replace(annotation=parameter.empty)
        for parameter in whole.parameters.values()
    ]
    bare = whole.replace(parameters=names, return_annotation=whole.empty)
    function.__signature__ = bare  # type: ignore[attr-defined]
    return function


def border(function: Callable[P, R]) -> Callable[P, R]:
    """What every public function of arrays goes through that `jit` does not make."""
    return short(function)


def jit(**options: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """`jax.jit` with these options, as a function with a `short` signature.

    `lower`, `trace`, `eval_shape` and `clear_cache` are those of `jax.jit`, and
    `__wrapped__` is the function without it.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        jitted: Any = jax.jit(function, **options)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return jitted(*args, **kwargs)

        for name in _METHODS:
            setattr(call, name, getattr(jitted, name))
        return short(call)

    return decorate
