"""M trained charts, and the embeddings of samples by each of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Real

from jatlas._src import arrays, border
from jatlas._src.arrays import AnyArray
from jatlas._src.layout import on_mesh
from jatlas.charts import placement
from jatlas.charts.chart import Chart, ChartState


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["states", "train_loss", "validation_loss", "best_epoch"],
    meta_fields=["chart"],
)
@dataclass(frozen=True)
class Charts:
    """M trained charts of one architecture; a pytree.

    Attributes:
        chart: the functions that they share.
        states: a `ChartState` stacked along M, each chart's at its best epoch.
        train_loss: (M, E), mean cross-entropy (nats) of each epoch; NaN after a chart
            has stopped.
        validation_loss: (M, E), the same on the chart's own validation samples.
        best_epoch: (M,), counted from 0, the one whose state was kept; -1 if none had
            a finite validation loss, in which case that is the untrained state.
    """

    chart: Chart
    states: ChartState
    train_loss: Float[AnyArray, "M E"]
    validation_loss: Float[AnyArray, "M E"]
    best_epoch: Int[AnyArray, " M"]


@border.border
def embed(
    charts: Charts,
    images: Real[AnyArray, "N *image"],
    *,
    batch_size: int = 200,
    together: bool | None = None,
) -> Float[Array, "M N D"]:
    """The embeddings of N samples by each of M charts.

    Args:
        charts: as from `fit_charts`.
        images: (N, H, W, channels), as in training. NumPy's, memory-mapped ones too, go
            to the device in chunks, integers as they are. Of images that are spread
            over devices each device embeds its own, and nothing is sent. Or features
            (N, F), for a chart that takes such.
        batch_size: samples at a time on each device. Memory above the images and the
            result is that of one chunk.
        together: as in `fit_charts`.

    Returns:
        (M, N, D), along N on the devices where the images are. Every chart embeds every
        sample, whether it knows it or not; which rows count is for a presence mask to
        say.

    Inside of `jax.jit` the chunks are written out one by one, and under automatic mesh
    axes the compiler does not know where the samples are: call it outside.

    Raises:
        ValueError: if images have other axes, are integers and the chart does not take
            those, or are none, or batch_size is below 1.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from functools import partial
        >>> from jatlas import charts
        >>> chart = charts.from_module(partial(charts.CNN, (8, 8, 1), 4))
        >>> states = jax.vmap(chart.init)(jax.random.split(jax.random.key(0), 3))
        >>> none = np.zeros((3, 0))
        >>> untrained = Charts(chart, states, none, none, np.zeros(3, int))
        >>> embed(untrained, np.zeros((5, 8, 8, 1), np.float32)).shape
        (3, 5, 128)
    """
    check_images(charts.chart, images)
    arrays.check_count("the number of images", len(images), 1)
    arrays.check_count("batch_size", batch_size, 1)
    layout = on_mesh(images)
    states = placement.on_all(charts.states, layout)
    num_charts = len(jax.tree.leaves(states)[0])
    groups = [states] if side_by_side(together) else _split(states, num_charts)
    local = images.shape if layout is None else layout.shard_shape(images.shape)
    like = jax.ShapeDtypeStruct(local, jax.dtypes.canonicalize_dtype(images.dtype))
    rows = placement.no_rows(charts.chart, states, like, layout)
    size = min(batch_size, local[0])
    for start in range(0, local[0], size):
        first = start = min(start, local[0] - size)  # the last overlaps: one shape
        chunk = images
        if isinstance(images, np.ndarray):
            # One chunk at a time: those sent ahead would fill the device's memory.
            jax.block_until_ready(rows)
            first, chunk = 0, jnp.asarray(images[start : start + size])
        for m, group in enumerate(groups):
            place = (first, m, start)
            rows = placement.add_rows(
                charts.chart, group, rows, chunk, place, size, layout
            )
    return rows


@partial(jax.jit, static_argnames="num_charts")
def _split(states: ChartState, num_charts: int) -> list[ChartState]:
    """Each chart's state, still with a leading axis."""
    return [
        jax.tree.map(lambda leaf, m=m: leaf[m : m + 1], states)
        for m in range(num_charts)
    ]


def side_by_side(together: bool | None) -> bool:
    """The choice that was given, or else the faster on this backend.

    Measured by experiments/benchmarks/jobs/charts.py on two cores, with 4 charts: side
    by side takes 1.3 times as long at 8 x 8 pixels, 3 to 5 times at 28 x 28 (a vmapped
    convolution is a grouped one), and about twice as long to embed. So on a CPU it is
    one after another, whatever the size. On other backends it is not measured yet.
    """
    return jax.default_backend() != "cpu" if together is None else together


def check_images(chart: Chart, images: AnyArray) -> None:
    """Raise ValueError unless these are images, or features, that the chart takes."""
    given = arrays.described(images)
    message = f"images must be (N, H, W, channels), or features (N, F); got {given}."
    arrays.check(message, chex.assert_rank, images, {2, 4})
    if chart.takes_integers and jnp.issubdtype(images.dtype, jnp.integer):
        return
    message = (
        "images must be floating point, normalised; or let the chart do that, by "
        f"jatlas.charts.with_preprocessing, and give bytes. Got {given}."
    )
    arrays.check(message, chex.assert_type, images, float)


def check_shapes(
    chart: Chart,
    augment: Callable[[Array, Array], Array] | None,
    images: AnyArray,
    num_classes: int,
) -> None:
    """Raise ValueError unless the chart has C logits, of augmented images too.

    Nothing is computed.
    """
    key = jax.eval_shape(lambda: jax.random.key(0))
    dtype = images.dtype
    if jnp.issubdtype(dtype, jnp.floating):
        dtype = jnp.float32
    image = jax.ShapeDtypeStruct((1, *images.shape[1:]), dtype)
    if augment is not None:
        shape = jax.eval_shape(augment, key, image).shape
        if shape != image.shape:
            raise ValueError(
                f"augment must keep the shape of the images; of {image.shape} it makes "
                f"{shape}."
            )
    try:
        state = jax.eval_shape(chart.init, key)
        logits = jax.eval_shape(chart.logits, state, image)
    except Exception as error:
        raise ValueError(
            f"the chart fails on images (B, {', '.join(map(str, image.shape[1:]))}), "
            f"{image.dtype}, which is how it gets yours, {arrays.described(images)}: "
            f"{type(error).__name__}: {' '.join(str(error).split())[:300]}. Make "
            "the chart for images of this shape, or give images of its own."
        ) from error
    if logits.shape != (1, num_classes):
        raise ValueError(
            f"the chart must give logits (B, {num_classes}), one for each class of "
            f"tasks.classes; of one image it gives {logits.shape}."
        )
