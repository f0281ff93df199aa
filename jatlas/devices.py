"""Samples spread over the devices of one host or of many: the mesh, and padding.

What is computed on such arrays is computed by the library's other functions, and what
several hosts need besides is JAX's own: `jax.distributed.initialize` before all else,
and `jax.experimental.multihost_utils.process_allgather(x, tiled=True)` for all rows.
"""

import zlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jatlas._src import arrays, border

__all__ = ["local_rows", "place", "sample_mesh"]

AXIS = "samples"

# Rows on a device are a multiple of a power of two in these bounds, so that they can be
# cut into equal chunks: 8 when they are few, 128 from 2048 on.
_LEAST, _MOST = 8, 128


def sample_mesh(
    devices: Sequence[jax.Device] | None = None, *, explicit: bool = False
) -> Mesh:
    """A mesh of one axis, "samples", over the devices of all hosts.

    Args:
        devices: those to use, some of each process; all of them if None.
        explicit: whether the layout over devices is part of an array's type, as it is
            by default in `jax.make_mesh`, or left to the compiler. jatlas gives the
            same values under both; other code may expect one of them.

    Returns:
        A `jax.sharding.Mesh`.

    Raises:
        ValueError: if devices is empty.

    Example:
        >>> import jax
        >>> mesh = sample_mesh()
        >>> mesh.axis_names, mesh.size == len(jax.devices())
        (('samples',), True)
    """
    devices = jax.devices() if devices is None else list(devices)
    if not devices:
        raise ValueError("devices is empty; give one at least, or None for all.")
    kind = AxisType.Explicit if explicit else AxisType.Auto
    return jax.make_mesh((len(devices),), (AXIS,), axis_types=(kind,), devices=devices)


@border.border
def place(
    mesh: Mesh, tree: Any, *, axis: int = 0, rows_per_device: int | None = None
) -> Any:
    """Arrays with their samples spread over a mesh, padded with zeros. On the host.

    Each process gives the rows that it has, no matter how many, and pads them to
    `rows_per_device` times its number of devices: N is then that times all devices.
    Padding comes after a process's own rows; it is zero, or False, so a padded row of
    a presence mask is present nowhere. To know which rows are real, place
    `np.ones(N, bool)` along with the rest, and give it as `where`.

    Args:
        mesh: from `sample_mesh`.
        tree: a pytree of arrays, NumPy's or of this process, all with the same N; the
            same tree in every process, N aside.
        axis: which axis N is, in all of them: 1 for embeddings and presence of M
            charts.
        rows_per_device: the same in every process. If None, the processes tell each
            other how many rows they have (so all must call), and it is the least
            multiple of q that all rows fit in: q is 8, or a sixteenth of the rows if
            that is more, at most 128, rounded down to a power of two. So the padding is
            little, and the rows of every device can be cut into equal chunks.

    Returns:
        The tree with arrays over the devices of all processes, in JAX's dtypes (without
        x64, float64 becomes float32). Nothing of it is shared with what was given.

    Raises:
        ValueError: if the mesh is not one of samples or has no device of this process,
            there are no arrays, they hold no numbers, have no such axis or differ in N,
            they do not fit in rows_per_device, or the processes give different trees.

    Example:
        >>> import numpy as np
        >>> mesh = sample_mesh()
        >>> embeddings = np.ones((2, 1001, 16), np.float32)
        >>> placed = place(mesh, embeddings, axis=1)
        >>> real = place(mesh, np.ones(1001, bool))
        >>> placed.shape[1] == real.size >= 1001, int(real.sum())
        (True, 1001)
    """
    num_devices = _local_devices(mesh)
    arrays.check_count("axis", axis, 0)
    if rows_per_device is not None:
        arrays.check_count("rows_per_device", rows_per_device, 1)
    leaves, structure = jax.tree.flatten(tree)
    leaves = [_on_host(leaf) for leaf in leaves]
    num_rows = _check_leaves(leaves, axis)
    needed = -(-num_rows // num_devices)
    if rows_per_device is None:
        rows_per_device = _agreed(needed, structure, leaves, axis)
    if needed > rows_per_device:
        raise ValueError(
            f"{num_rows} rows do not fit on {num_devices} devices with "
            f"rows_per_device={rows_per_device}; it must be {needed} or more, the same "
            "in every process, or None."
        )
    sharding = NamedSharding(mesh, _spec(axis))
    padding = rows_per_device * num_devices - num_rows

    def put(x: np.ndarray) -> jax.Array:
        # It copies even where there is nothing to pad: JAX on a CPU may else go on
        # using the caller's memory.
        widths = [(0, padding if i == axis else 0) for i in range(x.ndim)]
        return jax.make_array_from_process_local_data(sharding, np.pad(x, widths))

    return jax.tree.unflatten(structure, [put(leaf) for leaf in leaves])


@border.border
def local_rows(mesh: Mesh, tree: Any, num_rows: int, *, axis: int = 0) -> Any:
    """The rows that this process gave to `place`, without the padding. On the host.

    Every process must call it, for arrays that lie otherwise are moved first.

    Args:
        mesh: from `sample_mesh`.
        tree: a pytree of arrays on it, of N padded samples each.
        num_rows: how many rows this process gave.
        axis: which axis N is, in all of them.

    Returns:
        The tree with NumPy arrays of num_rows along the axis, in their order.

    Raises:
        ValueError: if the mesh is not one of samples or has no device of this process,
            an array has no such axis, N is not divisible by the number of devices, or
            this process has fewer rows than num_rows.

    Example:
        >>> import numpy as np
        >>> mesh = sample_mesh()
        >>> x = place(mesh, np.arange(5.0))
        >>> local_rows(mesh, x**2, 5)
        array([ 0.,  1.,  4.,  9., 16.], dtype=float32)
    """
    num_devices = _local_devices(mesh)
    arrays.check_counts(0, axis=axis, num_rows=num_rows)

    def take(x: jax.Array) -> np.ndarray:
        _check_axis(x, axis)
        rows, rest = divmod(x.shape[axis], mesh.size)
        if rest or num_rows > rows * num_devices:
            raise ValueError(
                f"an array of {x.shape[axis]} rows on {mesh.size} devices has no "
                f"{num_rows} rows on the {num_devices} of this process; give arrays of "
                "the padded N, and the number of rows that went into `place`."
            )
        own = multihost_utils.global_array_to_host_local_array(x, mesh, _spec(axis))
        return np.asarray(own)[(slice(None),) * axis + (slice(num_rows),)]

    return jax.tree.map(take, tree)


def _spec(axis: int) -> PartitionSpec:
    return PartitionSpec(*[None] * axis, AXIS)


def _local_devices(mesh: Mesh) -> int:
    """How many devices of the mesh are this process's; ValueError of a bad mesh."""
    if mesh.axis_names != (AXIS,):
        raise ValueError(
            f"the mesh must have the one axis {AXIS!r}, got {mesh.axis_names}; make it "
            "with `sample_mesh`."
        )
    here = jax.process_index()
    count = sum(device.process_index == here for device in mesh.devices.flat)
    if count == 0:
        raise ValueError(f"the mesh has none of the devices of process {here}.")
    return count


def _on_host(leaf: Any) -> np.ndarray:
    """The leaf as NumPy's; ValueError of what other hosts have parts of, or text."""
    if not arrays.is_concrete(leaf):
        raise ValueError(
            "place takes arrays that this process has the whole of, outside of jit; "
            "what is on several hosts already is moved by `jax.device_put`."
        )
    x = np.asarray(leaf)
    if x.dtype.kind in "OSUMm":
        raise ValueError(f"place takes arrays of numbers or of booleans, got {x.dtype}")
    return x


def _check_axis(x: arrays.AnyArray, axis: int) -> None:
    if axis >= x.ndim:
        raise ValueError(
            f"an array of shape {x.shape} has no axis {axis}; give arrays with other "
            "axes of samples in another call."
        )


def _check_leaves(leaves: list[np.ndarray], axis: int) -> int:
    """N, or a ValueError unless all have the axis, and one N."""
    if not leaves:
        raise ValueError("there are no arrays to place; give one at least.")
    for leaf in leaves:
        _check_axis(leaf, axis)
    sizes = [leaf.shape[axis] for leaf in leaves]
    advice = f"They are spread over the devices along axis {axis}."
    arrays.check_equal("the number of samples N of the arrays", sizes, advice)
    return sizes[0]


def _agreed(needed: int, structure: Any, leaves: list[np.ndarray], axis: int) -> int:
    """Rows on a device that are enough in every process; each asks all others."""
    kinds = [
        (leaf.dtype.str, *leaf.shape[:axis], *leaf.shape[axis + 1 :]) for leaf in leaves
    ]
    mark = zlib.crc32(repr((structure, axis, kinds)).encode())
    told = np.array([needed, mark], np.uint32)
    all_told = multihost_utils.process_allgather(told)
    different = np.flatnonzero(all_told[:, 1] != mark)
    if different.size:
        raise ValueError(
            f"processes {different[:10].tolist()} place other arrays than process "
            f"{jax.process_index()}, which has {structure} of {kinds} (dtype, shape "
            "without N); all must give the same but for N."
        )
    rows = int(all_told[:, 0].max())
    multiple = 2 ** int(np.log2(np.clip(rows // 16, _LEAST, _MOST)))
    return max(-(-rows // multiple), 1) * multiple
