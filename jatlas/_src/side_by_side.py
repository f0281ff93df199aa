"""Products of many charts' rows, side by side, with one matrix."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jatlas._src import layout
from jatlas._src.arrays import Precision

_TOGETHER = 8  # charts that are written out one after another; more go in a loop


def contracted(
    rows: Callable[..., Array],
    charts: tuple[Any, ...],
    side: Float[Array, "_ A"],
    precision: Precision,
) -> Float[Array, "n A"]:
    """Contract the charts' rows, side by side, with their anchors or weights.

    Many stacked charts go through a loop: 64 written out one after another take ten
    times as long to compile, and 400 MB.

    Args:
        rows: gives those of a chart, of what is of the chart in `charts`.
        charts: stacked arrays or sequences: embeddings, presence, shares, and others.
        side: of all charts, one beneath another.
        precision: of the product.
    """
    dtype = charts[2].dtype
    many = not isinstance(charts[0], Sequence) and len(charts[0]) > _TOGETHER
    x = _in_groups(rows, charts) if many else _side_by_side(rows, charts)
    return jnp.matmul(x, side.astype(dtype), precision=precision)


def _side_by_side(
    rows: Callable[..., Array], charts: tuple[Any, ...]
) -> Float[Array, "n _"]:
    """The charts' rows, next to each other.

    Written chart by chart: transposing (M, n, D) is slower on a CPU.
    """
    x = [rows(*chart) for chart in zip(*charts, strict=True)]
    return jnp.concatenate(x, axis=1).astype(charts[2].dtype)


def _in_groups(
    rows: Callable[..., Array], charts: tuple[Any, ...]
) -> Float[Array, "n _"]:
    """`_side_by_side` of stacked charts, in a loop."""
    stacked = [jnp.stack(x) if isinstance(x, Sequence) else x for x in charts]
    num_charts, num_rows, width = stacked[0].shape

    def add(group: int | Array, x: Array) -> Array:
        # The last group overlaps the one before.
        start = jnp.minimum(group * _TOGETHER, num_charts - _TOGETHER)
        some = [jax.lax.dynamic_slice_in_dim(x, start, _TOGETHER) for x in stacked]
        new = _side_by_side(rows, tuple(some))
        return jax.lax.dynamic_update_slice_in_dim(x, new, start * width, 1)

    x = jnp.zeros((num_rows, num_charts * width), stacked[2].dtype)
    groups = -(-num_charts // _TOGETHER)
    return jax.lax.fori_loop(0, groups, add, layout.varying(x, stacked))
