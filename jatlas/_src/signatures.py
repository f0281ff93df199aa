"""Public functions as `help` shows them: short signatures, by names.

What `jax.jit` gives is no Python function to `help`, and the annotations of arrays take
more lines than the names that they annotate. Shapes and axes are in the docstrings; the
annotations themselves stay, for type checkers.
"""

import inspect
from collections.abc import Callable, Sequence
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


def jit(
    *, static_argnames: str | Sequence[str] = ()
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """`jax.jit` as a decorator for public functions: a function with `short` signature.

    `lower`, `trace`, `eval_shape` and `clear_cache` are those of `jax.jit`, and
    `__wrapped__` is the function without it.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        jitted: Any = jax.jit(function, static_argnames=static_argnames)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return jitted(*args, **kwargs)

        for name in _METHODS:
            setattr(call, name, getattr(jitted, name))
        return short(call)

    return decorate
