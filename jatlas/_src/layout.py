"""Functions whose bodies leave the layout over devices to the compiler.

Under automatic mesh axes the compiler decides how every intermediate array lies on the
devices. Under explicit ones each operation must be able to tell from its inputs, and
sums over samples, loops over them and sorting cannot. `automatic` makes the axes
automatic inside a function, and says how its result lies: as the samples do, or the
same on all devices.
"""

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import ParamSpec, TypeVar

import jax
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec

from jatlas._src import arrays

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def automatic(
    samples: str | None = None, axis: int = 0
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function work for arrays on explicit mesh axes too.

    It goes below `jax.jit`, where the layout of every array is known to its type.

    Args:
        samples: the argument that says how the samples lie; the leading axis of all
            that comes back lies like it. If None, what comes back is on all devices.
        axis: the axis of samples in that argument; in a list of arrays, of the first.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        parameters = signature(function)

        @wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            leaves, tree = jax.tree.flatten((args, kwargs))
            meshes = [_explicit_mesh(leaf) for leaf in leaves]
            mesh = next((mesh for mesh in meshes if mesh is not None), None)
            if mesh is None:
                return function(*args, **kwargs)
            out = PartitionSpec()
            if samples is not None:
                like = jax.tree.leaves(
                    parameters.bind(*args, **kwargs).arguments[samples]
                )
                out = PartitionSpec(jax.typeof(like[0]).sharding.spec[axis])
            placed = [
                leaf for leaf, on_axes in zip(leaves, meshes, strict=True) if on_axes
            ]

            def body(placed: list[jax.Array]) -> R:
                remaining = iter(placed)
                both = zip(leaves, meshes, strict=True)
                filled = [
                    next(remaining) if on_axes else leaf for leaf, on_axes in both
                ]
                args, kwargs = jax.tree.unflatten(tree, filled)
                return function(*args, **kwargs)

            # The mesh is that of the arrays, whether or not it is the current one.
            with jax.sharding.use_abstract_mesh(mesh):
                return jax.sharding.auto_axes(
                    body, axes=mesh.explicit_axes, out_sharding=out
                )(placed)

        return wrapper

    return decorate


def of_samples(x: object, axis: int) -> NamedSharding | None:
    """How samples are spread over devices; None if they are not.

    Where it can be seen: of arrays, not of what stands for them in `jax.jit`.

    Args:
        x: an array.
        axis: of its samples.

    Returns:
        The mesh, and the mesh axes over which the samples are spread.
    """
    if not isinstance(x, jax.Array) or isinstance(x, jax.core.Tracer):
        return None
    result = _along(x.sharding, x.ndim, axis)
    return None if result is None or result.spec[0] is None else result


def on_mesh(x: object, axis: int = 0) -> NamedSharding | None:
    """As `of_samples`, and for all arrays on explicit mesh axes.

    Of these the layout is a part of the type, in `jax.jit` too. Samples that are not
    spread have the spec (None,).
    """
    if not isinstance(x, jax.Array):
        return None
    sharding = x.sharding if arrays.is_concrete(x) else jax.typeof(x).sharding
    result = _along(sharding, x.ndim, axis)
    if result is None or (result.spec[0] is None and not result.mesh.explicit_axes):
        return None
    return result


def _along(sharding: object, ndim: int, axis: int) -> NamedSharding | None:
    """The mesh, and the mesh axes over which one axis is spread."""
    if not isinstance(sharding, NamedSharding):
        return None
    axes = (*sharding.spec, *[None] * (ndim - len(sharding.spec)))[axis]
    return NamedSharding(sharding.mesh, PartitionSpec(axes))


def varying(start: T, *others: object) -> T:
    """A loop's initial value, with the type of the loop's result.

    In `jax.shard_map` an array is of a type that says over which axes of the mesh it
    differs from device to device. What a loop carries has to keep its type, and a start
    of zeros is the same on all devices.

    Args:
        start: a pytree of arrays.
        others: what else goes into the loop.

    Returns:
        The start; outside of `jax.shard_map` as it is.
    """
    axes = frozenset().union(*map(_differs, jax.tree.leaves((start, others))))

    def one(x: jax.Array) -> jax.Array:
        missing = tuple(axes - _differs(x))
        return jax.lax.pcast(x, missing, to="varying") if missing else x

    return jax.tree.map(one, start)


def manual() -> bool:
    """Whether this is traced in `jax.shard_map`.

    There a device sees its own rows only.
    """
    return bool(jax.sharding.get_abstract_mesh().manual_axes)


def alone() -> bool:
    """Whether there is one device, and all arrays are seen whole."""
    return jax.device_count() == 1 and not manual()


def _differs(x: jax.Array) -> frozenset:
    """The mesh axes over which an array differs from device to device."""
    kind = jax.typeof(x)
    manual = getattr(kind, "manual_axis_type", None)  # before jax 0.10.2: vma
    return getattr(kind, "vma", frozenset()) if manual is None else manual.varying


def _explicit_mesh(leaf: object) -> AbstractMesh | None:
    """The mesh that an array is on, if it has explicit axes."""
    if not isinstance(leaf, jax.Array):
        return None
    mesh = jax.typeof(leaf).sharding.mesh
    return mesh if mesh.explicit_axes else None
