"""A chart as four pure functions of a state."""

from collections.abc import Callable
from typing import Any, NamedTuple

from flax import nnx
from jaxtyping import Array, Float, Real

from jatlas._src import border


class ChartState(NamedTuple):
    """What a chart holds; stacked along M for M charts.

    Attributes:
        params: the pytree that the optimizer changes.
        statistics: the pytree that training changes besides (of batch norm, say).
    """

    params: Any
    statistics: Any


class Chart(NamedTuple):
    """An encoder with a classifier on top.

    It can be of any framework that is built on JAX. A chart is a constant to `jax.jit`:
    make it once and pass it on, for a second one of the same architecture compiles
    anew.

    Attributes:
        init: a key to a `ChartState`.
        train: (state, images (B, H, W, channels)) to logits (B, C) and new
            `statistics`.
        embed: (state, images) to embeddings (B, D).
        logits: (state, images) to logits (B, C), outside of training.
        takes_integers: whether the images may be integers, bytes as they are on disk;
            if not, they are refused, lest they go in without being normalised.
    """

    init: Callable[[Array], ChartState]
    train: Callable[[ChartState, Array], tuple[Float[Array, "B C"], Any]]
    embed: Callable[[ChartState, Array], Float[Array, "B D"]]
    logits: Callable[[ChartState, Array], Float[Array, "B C"]]
    takes_integers: bool = False


@border.short
def from_module(build: Callable[..., nnx.Module]) -> Chart:
    """The chart of a Flax NNX module with `embed(images)` and `__call__(images)`.

    Args:
        build: `build(rngs=nnx.Rngs(key))` makes the module; it must not depend on
            anything else that changes.

    Returns:
        A `Chart`. Its `train` runs the module in training mode (`module.train()`), the
        other two in evaluation mode.

    Example:
        >>> import jax
        >>> from functools import partial
        >>> from jatlas.charts import CNN
        >>> chart = from_module(partial(CNN, (8, 8, 1), 10, num_features=4))
        >>> state = chart.init(jax.random.key(0))
        >>> images = jax.numpy.zeros((2, 8, 8, 1))
        >>> chart.embed(state, images).shape, chart.logits(state, images).shape
        ((2, 4), (2, 10))
    """
    graph = nnx.split(nnx.eval_shape(lambda: build(rngs=nnx.Rngs(0))), nnx.Param, ...)[
        0
    ]

    def state(module: nnx.Module) -> ChartState:
        # Plain arrays: a merged module's Variables would be changed in place.
        return ChartState(*nnx.as_pure(nnx.split(module, nnx.Param, ...)[1:]))

    def init(key: Array) -> ChartState:
        return state(build(rngs=nnx.Rngs(key)))

    def train(start: ChartState, images: Array) -> tuple[Array, Any]:
        module = nnx.merge(graph, *start)
        module.train()
        logits = module(images)
        return logits, state(module).statistics

    def evaluate(fitted: ChartState) -> Any:
        module = nnx.merge(graph, *fitted)
        module.eval()
        return module

    return Chart(
        init=init,
        train=train,
        embed=lambda fitted, images: evaluate(fitted).embed(images),
        logits=lambda fitted, images: evaluate(fitted)(images),
    )


@border.short
def with_preprocessing(chart: Chart, function: Callable[[Array], Array]) -> Chart:
    """The chart of raw images: `function` first, then the chart.

    So images stay bytes, in a quarter of the memory, and become numbers a batch at a
    time, in the compiled program.

    `function` gets the images exactly as `fit_charts` and `embed` get them. Give these
    functions raw bytes then: images that are normalised before are normalised twice,
    and no error says so. In the experiments, such a chart gets the uint8 of the data
    set; any other chart gets float32 that is normalised already.

    Args:
        chart: of images as `function` makes them.
        function: pure; a batch of images (B, H, W, channels), integers too, to another.

    Returns:
        A `Chart` with the same states, whose `takes_integers` is true.

    Example:
        >>> import jax
        >>> from functools import partial
        >>> from jatlas.charts import CNN
        >>> cnn = from_module(partial(CNN, (8, 8, 1), 10, num_features=4))
        >>> chart = with_preprocessing(cnn, lambda images: images / 255 - 0.5)
        >>> state = chart.init(jax.random.key(0))
        >>> images = jax.numpy.zeros((2, 8, 8, 1), "uint8")
        >>> chart.embed(state, images).shape
        (2, 4)
    """

    def train(
        state: ChartState, images: Real[Array, "B *image"]
    ) -> tuple[Float[Array, "B C"], Any]:
        return chart.train(state, function(images))

    return Chart(
        init=chart.init,
        train=train,
        embed=lambda state, images: chart.embed(state, function(images)),
        logits=lambda state, images: chart.logits(state, function(images)),
        takes_integers=True,
    )
