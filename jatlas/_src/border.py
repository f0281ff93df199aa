"""The border of the library: the checks before every public function.

A caller may have JAX refuse what the library's own arithmetic relies on
(`jax_numpy_dtype_promotion="strict"`, `jax_numpy_rank_promotion="raise"`), and may give
arrays of NumPy in another order of bytes, which JAX does not take. Both end here, so
that no function below needs to know.
"""

import inspect
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import jax
import numpy as np
from jaxtyping import Bool, Float

from jatlas._src import arrays

# The arguments that hold a space, in which differences of rows matter.
_SPACES = {"embeddings", "anchors", "relative", "x", "y", "queries", "gallery"}
_SPACES |= {"space", "spaces", "other", "means", "source", "target"}

# A feature has to vary by so many steps of float32 to differ from rounding.
STEPS = 64

_ROWS = 1024  # so many are looked at, up to twice as many
_FEW = 8  # fewer rows tell nothing of how a feature varies
_MOST_LOST = 0.02  # of a step from row to row; float32 at 64 steps loses less

# What a jitted function offers beside being called.
_METHODS = ("lower", "trace", "eval_shape", "clear_cache", "_cache_size")

P = ParamSpec("P")
R = TypeVar("R")


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
    """Decorate a function so that the caller's settings do not affect it.

    It goes on top. What is traced below, the functions that a caller gives too, follows
    JAX's defaults of promotion.
    """
    inside = _promoting(function)
    signature = inspect.signature(function)

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        leaves = jax.tree.leaves((args, kwargs))
        if any(_is_unknown(leaf) or _is_masked(leaf) for leaf in leaves):
            _check(signature, args, kwargs, check_known)
        if any(map(_is_rounded, leaves)):
            _check(signature, args, kwargs, check_held)
        if any(map(_is_foreign, leaves)):
            args, kwargs = jax.tree.map(native, (args, kwargs))
        return inside(*args, **kwargs)

    return short(wrapper)


def promoting(function: Callable[P, R]) -> Callable[P, R]:
    """A decorator: the same function under JAX's defaults of promotion.

    For functions that take arrays too large to be converted as a whole.
    """
    inside = _promoting(function)
    signature = inspect.signature(function)

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        leaves = jax.tree.leaves((args, kwargs))
        if any(map(_is_masked, leaves)):
            _check(signature, args, kwargs, check_unmasked)
        if any(map(_is_rounded, leaves)):
            _check(signature, args, kwargs, check_held)
        return inside(*args, **kwargs)

    return short(wrapper)


def _promoting(function: Callable[P, R]) -> Callable[P, R]:
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return function(*args, **kwargs)

    return wrapper


def _check(
    signature: inspect.Signature,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    check: Callable[[str, Any], None],
) -> None:
    """Check every array, by the name of its argument."""
    for name, value in signature.bind_partial(*args, **kwargs).arguments.items():
        for leaf in jax.tree.leaves(value):
            check(name, leaf)


def jit(**options: Any) -> Callable[[Callable[P, R]], Callable[..., R]]:
    """A decorator: `jax.jit` with these options, inside of the border.

    `lower`, `trace`, `eval_shape` and `clear_cache` are those of `jax.jit`, and like
    there arrays of NumPy are welcome to a type checker where the annotation says an
    array of JAX.
    """

    def decorate(function: Callable[P, R]) -> Callable[..., R]:
        compiled: Any = jax.jit(function, **options)
        wrapper = border(compiled)
        attributes = _Attributes(vars(wrapper))
        for name in _METHODS:
            attributes[name] = getattr(compiled, name)
        for name in ("lower", "trace", "eval_shape"):
            attributes[name] = border(getattr(compiled, name))
        wrapper.__dict__ = attributes
        return wrapper

    return decorate


class _Attributes(dict[str, Any]):
    """Attributes of a function, without methods where they are listed.

    JAX copies a function's attributes to what it makes of it: `jax.jit(jax.grad(f))`
    would have the `lower` of f, and compile f instead of its gradient.
    """

    def __iter__(self) -> Iterator[str]:
        return (name for name in super().__iter__() if name not in _METHODS)

    def keys(self) -> Any:  # what `dict.update` asks for, as there is an `__iter__`
        return list(self)


def native(x: Any) -> Any:
    """The NumPy array in native byte order; anything else unchanged.

    >>> native(np.ones(2, ">f4")).dtype.isnative
    True
    """
    return x.astype(x.dtype.newbyteorder("=")) if _is_foreign(x) else x


def on_host(name: str, x: Any, dtype: Any = None) -> np.ndarray:
    """An array of NumPy, in the machine's own order of bytes.

    `np.asarray` drops the mask of a masked array, and what stood below it is then data.

    Raises:
        ValueError: if x is a masked array, or one whose values are not known yet, as in
            `jax.jit`.

    >>> on_host("x", np.ones(2, ">f4"))
    array([1., 1.], dtype=float32)
    """
    check_unmasked(name, x)
    arrays.check_on_host("this function", **{name: x})
    return native(np.asarray(x, dtype))


def check_unmasked(name: str, x: Any) -> None:
    """Refuse a masked array of NumPy, whose mask JAX drops."""
    if _is_masked(x) or (isinstance(x, list | tuple) and any(map(_is_masked, x))):
        raise ValueError(
            f"{name} is a masked array of NumPy, whose mask would be lost. Leave the "
            "masked rows out (`x[~x.mask.any(axis=1)]`) or fill them (`x.filled(0)`), "
            "and give a plain array."
        )


def check_known(name: str, x: Any) -> None:
    """Refuse masked arrays, and dtypes that JAX does not hold."""
    check_unmasked(name, x)
    if _is_unknown(x):
        raise ValueError(
            f"{name} is {x.dtype}{x.shape}, which JAX does not hold; convert it first, "
            "with `.astype(np.float32)`, say."
        )


def check_held(name: str, x: Any) -> None:
    """Refuse a float64 space that is lost in float32.

    Values near 1e7 that differ by less than 1 are the same in float32. Some rows of
    each chart are looked at.
    """
    if name not in _SPACES or not _is_rounded(x):
        return
    for chart in x.reshape(-1, *x.shape[-2:]):
        lost, num_features = _lost(native(chart[:: max(len(chart) // _ROWS, 1)]))
        if lost:
            raise ValueError(
                f"{name} is float64, and {lost} of its {num_features} features vary by "
                "less than float32 holds beside their size. JAX would round it to "
                "float32, and what it says would be lost. Take the mean off in NumPy, "
                'or call `jax.config.update("jax_enable_x64", True)`.'
            )


def _lost(rows: Float[np.ndarray, "N D"]) -> tuple[int, int]:
    """How many features are lost in float32, of how many.

    None are if the rows as a whole are not. What is lost is measured, not guessed from
    the size: what float32 holds exactly is not lost. Rows of zeros are of absent
    samples, and hide nothing. A feature varies by the median step from row to row,
    which neither an outlier nor two sessions hide. The rows are lost if most features
    are, or if what is lost is much of the whole.
    """
    rows = rows[np.isfinite(rows).all(axis=1) & rows.any(axis=1)]
    if len(rows) < _FEW:
        return 0, rows.shape[1]
    with np.errstate(over="ignore"):
        errors = rows - rows.astype(np.float32)
    steps = np.abs(np.diff(rows, axis=0))
    # A feature that seldom changes is told by its changes.
    step = np.array([np.median(c[c > 0]) if c.any() else 0.0 for c in steps.T])
    error = np.sqrt(np.mean(errors**2, axis=0))
    vary = step > STEPS * np.spacing(np.abs(rows).max(axis=0))
    lost = vary & (error > _MOST_LOST * step)
    whole = np.sum(error[vary] ** 2) > _MOST_LOST**2 * np.sum(step[vary] ** 2)
    return int(lost.sum()) * bool(whole or 2 * lost.sum() > vary.sum()), lost.size


def is_hidden(
    size: Float[np.ndarray, "*axes"], varies: Float[np.ndarray, "*axes"]
) -> Bool[np.ndarray, "*axes"]:
    """Whether a feature of this size varies by less than float32 holds.

    >>> is_hidden(np.array([1e7, 1.0, 1.0]), np.array([0.5, 0.5, 0.0]))
    array([ True, False, False])
    """
    with np.errstate(over="ignore", invalid="ignore"):
        step = np.spacing(size.astype(np.float32)).astype(np.float64)
    return (varies > 0) & (varies < STEPS * step)


def check_all_known(name: str, tree: Any) -> None:
    """`check_known` of every array of a tree."""
    for leaf in jax.tree.leaves(tree):
        check_known(name, leaf)


def _is_masked(x: Any) -> bool:
    return isinstance(x, np.ma.MaskedArray)


def _is_unknown(x: Any) -> bool:
    """Objects, texts, times, records, and floats of more than 64 bits."""
    if not isinstance(x, np.ndarray):
        return False
    wide = x.dtype.type in (np.longdouble, np.clongdouble) and x.dtype.itemsize > 8
    return wide or x.dtype.kind in "OSUMm" or x.dtype.type is np.void


def _is_rounded(x: Any) -> bool:
    """Whether JAX makes float32 of this space of float64."""
    if not isinstance(x, np.ndarray) or x.dtype.type is not np.float64 or x.ndim < 2:
        return False
    return x.size > 0 and jax.dtypes.canonicalize_dtype(np.float64) == np.float32


def _is_foreign(x: Any) -> bool:
    return isinstance(x, np.ndarray) and not x.dtype.isnative
