"""Charts on samples that are spread over devices.

A chunk is cut from what each device holds: cut from the whole, it would have to be sent
to all. Nothing is sent, and each device keeps the rows of its own samples.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Real

from jatlas.charts.chart import Chart, ChartState


@contextmanager
def automatic_axes(layout: NamedSharding | None) -> Iterator[NamedSharding | None]:
    """The layout on automatic axes, their mesh being the current one."""
    if layout is None:
        yield None
        return
    mesh = Mesh(layout.mesh.devices, layout.mesh.axis_names)
    with jax.set_mesh(mesh):
        yield NamedSharding(mesh, layout.spec)


def on_all(tree: Any, layout: NamedSharding | None) -> Any:
    """The tree, whole on every device of the layout."""
    if layout is None or not isinstance(layout.mesh, Mesh):
        return tree  # in `jax.jit` it is there already
    return jax.device_put(tree, NamedSharding(layout.mesh, PartitionSpec()))


@partial(jax.jit, static_argnames=("chart", "images", "layout"))
def no_rows(
    chart: Chart,
    states: ChartState,
    images: jax.ShapeDtypeStruct,
    layout: NamedSharding | None,
) -> Float[Array, "M N D"]:
    """Zeros, for `add_rows` to put embeddings in.

    `images` is what a device holds.
    """

    def body(states: ChartState) -> Array:
        rows = jax.eval_shape(_each_chart(chart), states, images)
        return jnp.zeros(rows.shape, rows.dtype)

    return _by_device(body, layout, None)(states)


@partial(jax.jit, static_argnames=("chart", "size", "layout"), donate_argnames="rows")
def add_rows(
    chart: Chart,
    states: ChartState,
    rows: Float[Array, "M N D"],
    images: Real[Array, "K *image"],
    place: tuple[int | Array, int | Array, int | Array],
    size: int,
    layout: NamedSharding | None,
) -> Float[Array, "M N D"]:
    """The rows with embeddings of each device's own `size` images.

    In place: memory is that of the rows and of one chunk.

    Args:
        chart: what the charts share.
        states: of one chart or more, that come one after another.
        rows: those so far, whose memory is given away.
        images: all N, or of one device a part of them.
        place: the first image, and the chart and the sample that the rows begin with.
        size: images at a time.
        layout: how the samples lie, from `on_mesh`.
    """

    def body(states: ChartState, place: Any, images: Array, rows: Array) -> Array:
        first, chart_number, row = place
        images = jax.lax.dynamic_slice_in_dim(images, first, size)
        new = _each_chart(chart)(states, images)
        return jax.lax.dynamic_update_slice(rows, new, (chart_number, row, 0))

    return _by_device(body, layout, None, None, 0, 1)(states, place, images, rows)


def _each_chart(chart: Chart) -> Callable[[ChartState, Array], Array]:
    return jax.vmap(chart.embed, in_axes=(0, None))


def _by_device(
    body: Callable[..., Array], layout: NamedSharding | None, *sample_axes: int | None
) -> Callable[..., Array]:
    """`body` by each device on its part of the samples.

    What comes back is (M, N, D).
    """
    if layout is None:
        return body

    def spec(axis: int | None) -> PartitionSpec:
        after = () if axis is None else (layout.spec[0],)
        return PartitionSpec(*[None] * (axis or 0), *after)

    return jax.shard_map(
        body,
        mesh=layout.mesh,
        in_specs=tuple(spec(axis) for axis in sample_axes),
        out_specs=spec(1),
        check_vma=False,  # a chart may hold loops that do not say what varies
    )
